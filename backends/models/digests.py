"""SHA-256 of whole files, computed once per file and remembered.

A model of many gigabytes is read completely the first time it is opened. Afterwards its digest is found by path, as
long as size, inode, modification time and change time are what they were; an edit changes at least the last, which no
program can set. The memory is a small SQLite file in the cache folder. Where it cannot be kept or is damaged, files are
hashed anew, which is slower and never wrong.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from .places import cache_folder

_NAME = "file-digests.sqlite"
_TABLE = (
    "CREATE TABLE IF NOT EXISTS file_digest (path TEXT, algorithm TEXT, size INTEGER, inode INTEGER, modified INTEGER, "
    "changed INTEGER, digest TEXT NOT NULL, PRIMARY KEY (path, algorithm)) WITHOUT ROWID"
)
_SETTLED_NS = 50_000_000
"""A file changed less than 50 ms ago may change again within the same tick of the file system's clock."""
_COARSE_NS = 2_000_000_000
"""Tick of file systems that keep whole seconds (FAT: two)."""
_CHUNK = 4 * 2**20

Stamp = tuple[int, int, int, int]
"""Size in bytes, inode, modification time and change time in nanoseconds."""


def sha256(path: Path) -> str:
    """Digest a file's content (hexadecimal), from memory where the file has not changed since.

    Raises:
        OSError: the file cannot be read.
    """
    return _digest(path, "sha256", b"")


def git_sha1(path: Path) -> str:
    """Digest a file as git names its blobs: SHA-1 over a header with the size, and the content.

    Raises:
        OSError: the file cannot be read.
    """
    return _digest(path, "sha1", f"blob {path.stat().st_size}\0".encode())


def _digest(path: Path, algorithm: str, opening: bytes) -> str:
    where = path.resolve()
    stamp, settled = _settle(where)
    known = _recall(where, algorithm, stamp)
    if known is not None:
        return known
    digest = hash_file(where, algorithm, opening)
    if settled and _stamp(where) == stamp:
        _remember(where, algorithm, stamp, digest)
    return digest


def hash_file(path: Path, algorithm: str, opening: bytes = b"") -> str:
    """Read a file from beginning to end and digest it."""
    state = hashlib.new(algorithm, opening, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            state.update(chunk)
    return state.hexdigest()


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def _settle(path: Path) -> tuple[Stamp, bool]:
    """The stamp of a file, and whether a later change would show in it; waits a moment for a file just written."""
    stamp = _stamp(path)
    newest = max(stamp[2:])
    coarse = newest % 1_000_000_000 == 0
    age = time.time_ns() - newest
    if 0 <= age < _SETTLED_NS and not coarse:
        time.sleep(_SETTLED_NS / 1e9)
        return _stamp(path), _stamp(path) == stamp
    return stamp, age >= (_COARSE_NS if coarse else _SETTLED_NS)


def _recall(path: Path, algorithm: str, stamp: Stamp) -> str | None:
    with contextlib.suppress(sqlite3.Error, OSError), _memory() as memory:
        row = memory.execute(
            "SELECT digest FROM file_digest WHERE path = ? AND algorithm = ? AND size = ? AND inode = ? "
            "AND modified = ? AND changed = ?",
            (os.fsencode(path).hex(), algorithm, *stamp),
        ).fetchone()
        if row is not None and isinstance(row[0], str):
            return row[0]
    return None


def _remember(path: Path, algorithm: str, stamp: Stamp, digest: str) -> None:
    row = (os.fsencode(path).hex(), algorithm, *stamp, digest)
    try:
        with _memory() as memory, memory:
            memory.execute("INSERT OR REPLACE INTO file_digest VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    except sqlite3.DatabaseError as error:
        # Busy or unwritable: done without. Damaged: nothing in it is worth keeping.
        if not isinstance(error, sqlite3.OperationalError):
            with contextlib.suppress(OSError):
                (cache_folder() / _NAME).unlink()
    except OSError:
        pass


@contextlib.contextmanager
def _memory() -> Iterator[sqlite3.Connection]:
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(folder / _NAME, timeout=5)
    try:
        connection.execute(_TABLE)
        yield connection
    finally:
        connection.close()
