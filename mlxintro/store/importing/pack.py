"""A store with its vectors as one file: packed while it is in use, and not trusted when it is unpacked."""

from __future__ import annotations

import re
import shutil
import sqlite3
import tempfile
import zipfile
import zlib
from contextlib import closing
from pathlib import Path

from mlxintro.backends.errors import KnownError, UsageError
from mlxintro.paths import DATABASE, vectors_beside
from mlxintro.rendering.whole_file import whole_file
from mlxintro.store.database import translated
from mlxintro.store.records import Imported
from mlxintro.store.store import Store

_VECTOR = re.compile(r"vectors/[0-9A-Za-z_-]{1,200}\.safetensors")
_MOST_FILES = 1_000_000


def pack(store: Store, target: Path) -> tuple[int, int]:
    """Write a consistent copy of a store and the vectors that it knows into one file.

    Whatever is written to the store meanwhile is in the copy as a whole or not at all.

    Args:
        store: open, with a run under way or not.
        target: a zip file, which is written whole or not at all.

    Returns:
        How many runs and how many vector files are in it.

    Raises:
        KnownError: it cannot be written, e.g. for want of space.
    """
    with whole_file(target) as place, tempfile.TemporaryDirectory(dir=place.parent) as folder:
        copy = Path(folder) / DATABASE
        with translated(store.path), closing(sqlite3.connect(copy)) as db:
            store.database.connection.backup(db, pages=1000)
            # One file, without a log beside it.
            db.execute("PRAGMA journal_mode = DELETE")
            (runs,) = db.execute("SELECT count(*) FROM runs").fetchone()
            names = [str(name) for (name,) in db.execute("SELECT DISTINCT file FROM vectors ORDER BY file")]
        vectors = vectors_beside(store.path)
        kept = [name for name in names if _VECTOR.fullmatch(f"vectors/{name}") and (vectors / name).is_file()]
        with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as packed:
            packed.write(copy, DATABASE)
            for name in kept:
                packed.write(vectors / name, f"vectors/{name}")
    return int(runs), len(kept)


def unpack(store: Store, source: Path) -> Imported:
    """Bring in what was packed elsewhere; nothing in it is trusted.

    Only the store and vector files are looked at, under names that are made here; every row is checked, and every
    vector's content against what its store recorded.

    Raises:
        UsageError: there is no such file.
        KnownError: it is no packed store, is damaged, or a row of it is not as it should be.
    """
    if not source.is_file():
        raise UsageError(f"there is no file {source}: `mlxintro runs pack FILE` writes one")
    try:
        with zipfile.ZipFile(source) as packed, tempfile.TemporaryDirectory(dir=store.path.parent) as folder:
            _extract(packed, source, Path(folder))
            return store.import_from(Path(folder) / DATABASE)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise KnownError(f"{source}: it is no packed store, or damaged ({reason}): pack it again") from error
    except OSError as error:
        raise KnownError(f"{source}: {error.strerror or error}: free some space, or pack it again") from error


def _extract(packed: zipfile.ZipFile, source: Path, folder: Path) -> None:
    wanted = [one for one in packed.infolist() if one.filename == DATABASE or _VECTOR.fullmatch(one.filename)]
    if sum(one.filename == DATABASE for one in wanted) != 1 or len(packed.infolist()) > _MOST_FILES:
        raise KnownError(f"{source}: it is no packed store: `mlxintro runs pack FILE` writes one")
    needed, free = sum(one.file_size for one in wanted), shutil.disk_usage(folder).free
    if needed > free:
        raise KnownError(
            f"{source}: unpacked it takes {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free: free some space"
        )
    (folder / "vectors").mkdir()
    for one in wanted:
        # The name has passed the pattern above: it has no folder but this one, and no more bytes come than it declares.
        with packed.open(one) as data, (folder / one.filename).open("wb") as file:
            shutil.copyfileobj(data, file)
