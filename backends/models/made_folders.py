"""Model folders that are made from something else, once, and kept in the user's cache.

A folder appears under its name only when it is complete, and carries checksums of its files: one that was damaged is
made again. Two processes that ask at once wait for one another.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import ModelError
from . import digests
from .places import cache_folder

_MARKER = "complete.json"
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def materialise(
    name: str, write: Callable[[Path], None], *, what: str, space_needed: int, cache: Path | None = None
) -> Path:
    """Give a folder by name, writing it unless it is there and intact.

    Args:
        write: fills an empty folder on the same disk; it may put what it removes again beside that folder.
        what: what is made, for errors.
        space_needed: bytes.
        cache: parent folder, ``cache_folder()`` when ``None``.

    Raises:
        ModelError: the disk is full or the cache cannot be written.
    """
    from filelock import FileLock

    parent = cache or cache_folder()
    folder = parent / name
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with FileLock(parent / f"{name}.lock"):
            if not is_intact(folder):
                if shutil.disk_usage(parent).free < space_needed:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                _replace(folder, write)
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise ModelError(
                f"no space left for {what} in {parent} ({space_needed / 1e9:.1f} GB): free some, or point "
                "MLXINTRO_HOME elsewhere"
            ) from None
        raise ModelError(
            f"cannot write {parent} ({error.strerror or error}): set MLXINTRO_HOME to a writable folder"
        ) from None
    return folder


def is_intact(folder: Path) -> bool:
    """Tell whether a folder holds exactly what was written into it."""
    try:
        expected = json.loads((folder / _MARKER).read_text("utf-8"))
        return bool(expected) and all(digests.sha256(folder / name) == value for name, value in expected.items())
    except (OSError, ValueError, AttributeError):
        return False


def write_json(folder: Path, files: Mapping[str, Any]) -> None:
    """Write configuration and tokenizer files, by name."""
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, ensure_ascii=False, indent=1), "utf-8")


def save_weights(tensors: dict[str, Any], file: Path, framework: str) -> None:
    """Write NumPy arrays as one safetensors file.

    Raises:
        OSError: the disk is full or cannot be written; the library reports it as text only.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        save_file(tensors, file, metadata={"format": framework})
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error)) from error


def _replace(folder: Path, write: Callable[[Path], None]) -> None:
    """Fill a temporary folder beside the target and move it into place."""
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        fresh = staging / "fresh"
        fresh.mkdir()
        write(fresh)
        sums = {path.name: digests.hash_file(path, "sha256") for path in sorted(fresh.iterdir())}
        (fresh / _MARKER).write_text(json.dumps(sums), "utf-8")
        if folder.exists():
            # A process that still reads the damaged folder keeps its open files.
            os.replace(folder, staging / "damaged")
        os.replace(fresh, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
