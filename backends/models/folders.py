"""A local folder of model files: what is in it, whether it is all there, and what identifies it.

Reads JSON, headers and, once, every byte for the identity; knows no framework.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import ModelError
from . import digests, side_files, weights
from .side_files import read_config
from .weights import IncompleteError, weight_files

__all__ = [
    "TOKENIZER_FILES",
    "check_complete",
    "content_hash",
    "describe_quantization",
    "is_complete",
    "read_config",
    "snapshot_identity",
    "weight_files",
]

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json")


def check_complete(folder: Path) -> None:
    """See that configuration, weights and tokenizer are there, are readable, and belong together.

    Raises:
        IncompleteError: naming what is missing.
        ModelError: naming what is wrong.
    """
    if not (folder / "config.json").exists():
        raise IncompleteError(
            f"{folder} holds no config.json: give the folder of one model as saved by save_pretrained or mlx_lm.convert"
        )
    side_files.check(folder)
    config = read_config(folder)
    weights.check(folder, config)
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise IncompleteError(f"{folder} holds no tokenizer.json: save the tokenizer into it as well")


def is_complete(folder: Path) -> bool:
    """Tell whether nothing is missing.

    Raises:
        ModelError: what is there cannot be a model, so that fetching the rest would not help.
    """
    try:
        check_complete(folder)
    except IncompleteError:
        return False
    return True


def describe_quantization(config: Mapping[str, Any]) -> str:
    """Return ``none``, or bits and group size as configured, e.g. ``4-bit (group 64)``."""
    settings = config.get("quantization") or config.get("quantization_config")
    if not isinstance(settings, dict):
        return "none"
    bits, group = settings.get("bits"), settings.get("group_size")
    if bits is None:
        return str(settings.get("quant_method", "unknown"))
    return f"{bits}-bit (group {group})" if group is not None else f"{bits}-bit"


def content_hash(folder: Path) -> str:
    """Digest the names and every byte of the files that make a model; ``sha256:`` and 64 hexadecimal digits.

    Each file is read once and remembered, see ``digests``.

    Raises:
        ModelError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in _files(folder):
        digest.update(f"{path.name}\0{_sha256(path)}\n".encode("utf-8", "surrogateescape"))
    return f"sha256:{digest.hexdigest()}"


def snapshot_identity(folder: Path) -> str:
    """Identify a snapshot in the hub's cache: by its commit, after its files were held against their names.

    The hub's cache keeps a snapshot's files as links to blobs, each named by the digest of its content, so a snapshot
    whose blobs hold what their names say is that of its commit. Files that are not linked so (a cache copied without
    links) cannot be held against anything: their own digest is added to the commit.

    Raises:
        ModelError: a file is not what was downloaded.
    """
    blobs = folder.resolve().parent.parent / "blobs"
    linked = True
    for path in _files(folder):
        real = path.resolve()
        if real.parent != blobs or len(real.name) not in (40, 64):
            linked = False
            continue
        found = digests.git_sha1(real) if len(real.name) == 40 else _sha256(real)
        if found != real.name:
            raise ModelError(
                f"{path.name} in {folder} is not what was downloaded (its content has another checksum): remove "
                f"{real} and fetch the model again; to use an edited model, copy the folder and give its path"
            )
    return folder.name if linked else f"{folder.name}+{content_hash(folder)[:23]}"


def _files(folder: Path) -> Iterator[Path]:
    """The files that make a model, by name."""
    named = {path.name for path in weight_files(folder)}
    named |= {path.name for path in folder.iterdir() if path.suffix in side_files.SUFFIXES}
    for name in sorted(named):
        yield folder / name


def _sha256(path: Path) -> str:
    try:
        return digests.sha256(path)
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror or error}): check the disk") from None
