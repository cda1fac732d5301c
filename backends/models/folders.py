"""A local folder of model files: what is in it, and whether it is all there.

Reads JSON and file sizes; loads no weights and knows no framework.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import ModelError

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json")

_WHOLE = 32 * 2**20
"""Files up to this size enter a content hash completely; larger ones by size and samples."""
_SAMPLES = 16
_SAMPLE_BYTES = 64 * 2**10


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
    if not index.is_file():
        paths = tuple(sorted(folder.glob("model*.safetensors")))
        if not paths:
            raise ModelError(
                f"{folder} holds no model*.safetensors: save the model with safe serialisation or fetch it"
            )
        return paths
    try:
        names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        raise ModelError(f"{index} is damaged: fetch the model again") from None
    paths = tuple(folder / name for name in names)
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise ModelError(f"{folder} lacks {len(missing)} of {len(paths)} weight files ({missing[0]}): fetch it again")
    return paths


def check_complete(folder: Path) -> None:
    """Configuration, weights and tokenizer are all there.

    Raises:
        ModelError: naming what is missing.
    """
    read_config(folder)
    weight_files(folder)
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise ModelError(f"{folder} holds no tokenizer.json: save the tokenizer into it as well")


def is_complete(folder: Path) -> bool:
    try:
        check_complete(folder)
    except ModelError:
        return False
    return True


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
    kinds = {".json", ".jinja", ".model", ".txt", ".safetensors"}
    for path in sorted(p for p in folder.iterdir() if p.suffix in kinds and p.is_file()):
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
