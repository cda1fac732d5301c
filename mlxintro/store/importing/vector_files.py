"""Files of concept vectors that come with another store: only what it recorded, only if the content is that."""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from pathlib import Path

from mlxintro.backends.errors import KnownError
from mlxintro.paths import vectors_beside
from mlxintro.store.database import Database

_IMPORTED_NAME = re.compile(r"sha256-[0-9a-f]{64}\.safetensors")
_LARGEST = 2**31
"""Bytes. A vector of a model with 100 layers of width 16,384 has 7 million."""


def take_vector_files(database: Database, source: Path) -> tuple[str, ...]:
    """Copy files of recorded vectors that are missing beside this store. Links are not followed.

    Args:
        database: of this store, into which the other's records have been brought.
        source: the other store.

    Returns:
        A line for each file that was not taken, though it is there.

    Raises:
        KnownError: a file cannot be written here.
    """
    theirs, ours = vectors_beside(source), vectors_beside(database.path)
    if not theirs.is_dir() or theirs.is_symlink() or theirs.resolve() == ours.resolve():
        return ()
    problems = []
    for row in database.rows("SELECT hash, file, content FROM vectors ORDER BY hash"):
        name = str(row["file"])
        if Path(name).name != name or not os.path.lexists(theirs / name) or (ours / name).exists():
            continue
        try:
            data = _read(theirs / name)
            _verify(theirs / name, data, str(row["hash"]), str(row["content"]))
        except (OSError, KnownError) as error:
            problems.append(f"the vector file {name} is not taken: {getattr(error, 'strerror', None) or error}")
            continue
        try:
            _keep(ours / name, data)
        except OSError as error:
            raise KnownError(f"runs are imported, vector files are not: {error}: import once more") from error
    return tuple(problems)


def _read(path: Path) -> bytes:
    """Read a regular file, which is never waited for."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(handle, "rb") as file:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise KnownError("it is no regular file")
        if facts.st_size > _LARGEST:
            raise KnownError("it is larger than any vector")
        return file.read()


def _verify(path: Path, data: bytes, key: str, content: str) -> None:
    """Check that a file is whole and holds the numbers that were recorded.

    Raises:
        KnownError: it does not.
    """
    from mlxintro.vectors.cache import directions_of, parse
    from mlxintro.vectors.vector import content_hash

    if _IMPORTED_NAME.fullmatch(path.name):
        # Imported directions lie under their content, since they belong to no model and no recipe.
        directions = directions_of(parse(data, content))
        if directions is None or directions.content_hash != content:
            raise KnownError("its numbers are not those that its store recorded")
        return
    tensors = parse(data, key).tensors
    if tensors.keys() != {"direction", "resid_norms"} or content_hash(**tensors) != content:
        raise KnownError("its numbers are not those that its store recorded")


def _keep(place: Path, data: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        part.write_bytes(data)
        part.replace(place)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
