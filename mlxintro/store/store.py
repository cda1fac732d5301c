"""The store: runs, trials, grades, labels and vectors in one SQLite file.

It knows nothing of models, experiments or graders beyond the shape of a trial, and never loads a numerical library to
list what it holds. The parts are ``Runs``, ``Trials``, ``Verdicts`` and ``Calls``; the schema is in ``migrations``.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlxintro.backends.errors import KnownError, UsageError
from mlxintro.store import merge
from mlxintro.store.browse import Pages
from mlxintro.store.calls import Calls
from mlxintro.store.database import OlderFormat, translated
from mlxintro.store.export import export_rows
from mlxintro.store.records import Imported


class Store(Pages, Calls):
    """A store's file, opened. Use as a context manager; one instance per thread and per process."""

    def export_rows(self, run: str) -> Iterator[dict[str, Any]]:
        """One flat row per trial; see ``mlxintro.store.export``."""
        return export_rows(self, run)

    def import_from(self, path: str | Path) -> Imported:
        """Add everything another store holds, vector files included; what is here already stays as it is.

        A run keeps its id; when its name is taken by another run it gets a number. A failed trial is replaced by the
        other store's result. All rows arrive in one transaction.

        Raises:
            UsageError: no such file, or this very store.
            KnownError: the other file cannot be read as a store.
        """
        source = Path(path).expanduser().absolute()
        if source.exists() and self.path.exists() and source.samefile(self.path):
            raise UsageError(f"{source} is this store itself: name the one to bring in")
        with (
            tempfile.TemporaryDirectory(prefix="mlxintro-") as scratch,
            _current(source, Path(scratch)) as other,
            translated(self.path),
            merge.attached(self._db, other.uri),
            self._write() as db,
        ):
            imported = merge.merge(db)
        try:
            merge.copy_vectors(source, self.path)
        except OSError as error:
            raise KnownError(f"runs are imported, vector files are not: {error}: import once more") from error
        return imported


def _current(source: Path, scratch: Path) -> Store:
    """Open a store for reading; one in an older format is copied and brought up to date there."""
    try:
        return Store(source, read_only=True)
    except OlderFormat:
        copy = scratch / "copy.db"
        with translated(source):
            old, new = sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True), sqlite3.connect(copy)
            try:
                old.backup(new)
            finally:
                old.close()
                new.close()
        return Store(copy)
