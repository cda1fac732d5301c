"""A GGUF model as a folder that the backends load like any other, made once and kept in the user's cache.

``float32`` holds the numbers of the file as float32, for PyTorch and for exact arithmetic on MLX. ``mlx`` holds them in
MLX's own quantised layout wherever that rounds nothing, and as float32 elsewhere; scales are float32, and so is the
residual stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from ..errors import ModelError
from ..models.foreign import line
from ..models.made_folders import materialise, save_weights, write_json
from . import container, families, packing, vocabulary
from .container import GGUFContent, GGUFFiles, GGUFTensor

GGUFForm = Literal["float32", "mlx"]

LAYOUT = 1
"""Part of the folder's name: raise it when what is written changes, and old folders are left behind."""

_ADVICE = "take another file, or give the model's folder or hub id"
_SHARD = 2**30
"""Bytes of one weight file, about."""
_LARGEST_RATIO = {"float32": 8.0, "mlx": 2.0}
"""Bytes written per byte read, at most as far as usual files go; for the question whether the disk has room."""


def folder_of(files: GGUFFiles, form: GGUFForm, *, cache: Path | None = None) -> Path:
    """Return the model as a folder; written on first use, checked and reused afterwards.

    Raises:
        ModelError: the file is damaged, is of another family, or the disk is full.
    """
    digest = files.revision.removeprefix("sha256:")[:16]
    stem = "".join(letter if letter.isalnum() or letter in "-." else "-" for letter in files.name)[:60]
    return materialise(
        f"gguf-{stem}-{digest}-{form}-v{LAYOUT}",
        lambda folder: _write(files, form, folder),
        what=f"{files.name} as a folder",
        space_needed=int(files.bytes * _LARGEST_RATIO[form]),
        cache=cache,
    )


def _write(files: GGUFFiles, form: GGUFForm, folder: Path) -> None:
    with container.opened(files, folder.parent) as content:
        families.check(content, files.name)
        try:
            bits = write_weights(content, form, folder)
            config = families.configuration(content)
        except (KeyError, ValueError, IndexError, TypeError) as error:
            raise ModelError(f"{files.name} cannot be converted ({line(error)}): {_ADVICE}") from error
        if bits:
            config["quantization"] = quantization(bits)
        generation: dict[str, Any] = {name: config[name] for name in ("bos_token_id", "pad_token_id") if name in config}
        generation["eos_token_id"] = vocabulary.end_ids(content)
        write_json(folder, {"config.json": config, "generation_config.json": generation})
        vocabulary.write(content, folder)


def write_weights(content: GGUFContent, form: GGUFForm, folder: Path) -> dict[str, int]:
    """Write all tensors into files of about ``_SHARD`` bytes.

    Returns:
        Bits per number by module path, 0 for maps that are not quantised; empty where none is.
    """
    held: dict[str, Any] = {}
    places: dict[str, int] = {}
    bits: dict[str, int] = {}
    number = size = 0
    for tensor in families.weight_tensors(content):
        for name, array in _arrays(content, tensor, form, bits):
            if size and size + array.nbytes > _SHARD:
                save_weights(held, folder / f"part-{number}", _framework(form))
                held, size, number = {}, 0, number + 1
            held[name] = array
            places[name] = number
            size += array.nbytes
    save_weights(held, folder / f"part-{number}", _framework(form))
    _name_shards(folder, places, number + 1)
    return bits if any(bits.values()) else {}


def _arrays(
    content: GGUFContent, tensor: GGUFTensor, form: GGUFForm, bits: dict[str, int]
) -> Iterator[tuple[str, Any]]:
    """Arrays of one tensor by name; notes how its module is quantised."""
    name, part = families.target_name(tensor.name)
    heads = families.rotary_heads(content, part)

    def ordered(array: Any) -> Any:
        return families.unpermuted(array, heads) if heads else array

    affine = packing.repacked(tensor) if form == "mlx" else None
    if affine is None:
        array = packing.dequantised(tensor)
        if form == "mlx" and array.ndim == 2:
            bits[name.removesuffix(".weight")] = 0
        yield name, ordered(array)
        return
    path = name.removesuffix(".weight")
    bits[path] = packing.AFFINE[tensor.kind]
    yield f"{path}.weight", ordered(affine.packed)
    yield f"{path}.scales", ordered(affine.scales)
    yield f"{path}.biases", ordered(affine.biases)


def quantization(bits: dict[str, int]) -> dict[str, Any]:
    """Return what mlx-lm reads: the commonest number of bits for all, and each module that has another."""
    quantised = [count for count in bits.values() if count]
    usual = max(sorted(set(quantised)), key=quantised.count)
    settings: dict[str, Any] = {"group_size": packing.GROUP, "bits": usual, "mode": "affine"}
    for path, count in bits.items():
        if count == 0:
            settings[path] = False
        elif count != usual:
            settings[path] = {"group_size": packing.GROUP, "bits": count, "mode": "affine"}
    return settings


def _framework(form: GGUFForm) -> str:
    return "pt" if form == "float32" else "mlx"


def _name_shards(folder: Path, places: dict[str, int], count: int) -> None:
    """Give the weight files the names that libraries look for, with an index where there are several."""
    if count == 1:
        (folder / "part-0").rename(folder / "model.safetensors")
        return
    names = [f"model-{number + 1:05}-of-{count:05}.safetensors" for number in range(count)]
    for number, name in enumerate(names):
        (folder / f"part-{number}").rename(folder / name)
    total = sum((folder / name).stat().st_size for name in names)
    index = {"metadata": {"total_size": total}, "weight_map": {name: names[at] for name, at in places.items()}}
    write_json(folder, {"model.safetensors.index.json": index})
