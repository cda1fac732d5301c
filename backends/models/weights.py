"""The weight files of a model folder: which they are, and whether they are those of this model and no more.

Torch and MLX answer "which files are the weights" differently where a folder holds more than one model's. Here the
answer is given once; a folder about which they would disagree is refused. Only headers are read, and no library for
models is needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelError
from . import side_files

INDEX = "model.safetensors.index.json"

_LAYER = re.compile(r"^(?P<before>.*?)(?:^|\.)(?:layers|h|blocks)\.(?P<number>\d+)\.")
_OTHER_PARTS = re.compile(r"vision|visual|audio|image|mtp|nextn|draft|eagle|encoder", re.IGNORECASE)
_LAYER_COUNTS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")


class IncompleteError(ModelError):
    """Files of a model are missing; fetching it goes on where it stopped."""


@dataclass(frozen=True, slots=True)
class WeightFile:
    """Describes one safetensors file and the tensors that its header names."""

    path: Path
    tensors: frozenset[str]


def weight_files(folder: Path) -> tuple[Path, ...]:
    """List the safetensors files of a model: those its index names, or the only one there is.

    Raises:
        IncompleteError: there are none, or one that the index names is missing.
        ModelError: a file lies outside the folder or belongs to something else, or the index is damaged.
    """
    beside = {path.name for path in folder.glob("model*.safetensors")}
    index = folder / INDEX
    if not index.exists():
        if not beside:
            raise IncompleteError(
                f"{folder} holds no model*.safetensors: save the model with safe serialisation or fetch it"
            )
        if len(beside) > 1:
            raise ModelError(
                f"{folder} holds {len(beside)} weight files ({', '.join(sorted(beside)[:3])}) and no {INDEX} that says "
                "which belong together: keep those of one model, or fetch it again"
            )
        names = beside
    else:
        names = set(_weight_map(index).values())
        _refuse_other_names(folder, names, beside)
    paths = tuple(folder / name for name in sorted(names))
    missing = [path.name for path in paths if not path.exists()]
    if missing:
        raise IncompleteError(
            f"{folder} lacks {len(missing)} of {len(paths)} weight files ({missing[0]}): fetch it again"
        )
    if "model.safetensors" in names and len(names) > 1:
        raise ModelError(
            f"{index} names model.safetensors among other files, which torch and MLX read differently: "
            "save the model again"
        )
    for path in paths:
        _refuse_outside(folder, path)
        side_files.require_regular(path)
    return paths


def check(folder: Path, config: Mapping[str, Any]) -> None:
    """Hold the headers of the weight files against the index and the number of layers in the configuration.

    Raises:
        ModelError: a file is damaged, tensors are missing, stand twice, or belong to layers that the configuration
            does not have.
    """
    files = [_read_header(path) for path in weight_files(folder)]
    held: dict[str, str] = {}
    for file in files:
        for name in file.tensors:
            if name in held:
                raise ModelError(
                    f"{name} stands in {held[name]} and in {file.path.name} of {folder}: "
                    "keep the weight files of one model, or fetch it again"
                )
            held[name] = file.path.name
    if (folder / INDEX).exists():
        absent = sorted(name for name, file in _weight_map(folder / INDEX).items() if held.get(name) != file)
        if absent:
            raise ModelError(
                f"{len(absent)} weights that {INDEX} names, {absent[0]} first, are not in the files of {folder} it "
                "names for them: fetch the model again"
            )
    _check_layers(folder, config, held)


def total_bytes(folder: Path) -> int:
    """Add up the sizes of the weight files."""
    return sum(path.stat().st_size for path in weight_files(folder))


def _weight_map(index: Path) -> dict[str, str]:
    found = side_files.read_object(index).get("weight_map")
    if not isinstance(found, dict) or not found or not all(isinstance(name, str) for name in found.values()):
        raise ModelError(f"{index} is damaged: fetch the model again")
    return found


def _refuse_other_names(folder: Path, named: set[str], beside: set[str]) -> None:
    for name in sorted(named):
        if Path(name).name != name or not re.fullmatch(r"model.*\.safetensors", name):
            raise ModelError(
                f"{folder / INDEX} names the weight file {name!r:.120}, which is not a model*.safetensors inside the "
                "folder: fetch or save the model again"
            )
    strays = sorted(beside - named)
    if strays:
        raise ModelError(
            f"{folder} holds {strays[0]}, which {INDEX} does not name: two models may lie in one folder; remove "
            f"{'it' if len(strays) == 1 else 'the files not named'}, or the index if it is the old one"
        )


def _refuse_outside(folder: Path, path: Path) -> None:
    """Weights that lie elsewhere change without this folder. The hub's cache keeps them beside its snapshots."""
    home = folder.resolve()
    allowed = [home, home.parent.parent / "blobs"] if home.parent.name == "snapshots" else [home]
    real = path.resolve()
    if not any(real.is_relative_to(place) for place in allowed):
        raise ModelError(
            f"{path.name} in {folder} is a link to {real}, outside the folder: copy the file into it, or give the "
            "folder that it lies in"
        )


def _read_header(path: Path) -> WeightFile:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return WeightFile(path, frozenset(file.keys()))
    except (SafetensorError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ModelError(f"{path} is damaged or cut short ({reason}): remove it and fetch the model again") from None


def _check_layers(folder: Path, config: Mapping[str, Any], names: Mapping[str, str]) -> None:
    text = config.get("text_config") or config
    said = next((text[key] for key in _LAYER_COUNTS if isinstance(text.get(key), int)), None)
    held = 1 + max(_layer_numbers(names), default=-1)
    # Layers that predict several tokens ahead stand behind the others, and no library runs them here.
    ahead = text.get("num_nextn_predict_layers")
    if said is None or held == 0 or said <= held <= said + (ahead if isinstance(ahead, int) else 0):
        return
    raise ModelError(
        f"config.json in {folder} says {said} layers, its weights hold {held}: the two belong to different models, or "
        "one of them was edited; fetch or save the model again"
    )


def _layer_numbers(names: Mapping[str, str]) -> Iterator[int]:
    for name in names:
        found = _LAYER.match(name)
        if found is not None and not _OTHER_PARTS.search(found["before"]):
            yield int(found["number"])
