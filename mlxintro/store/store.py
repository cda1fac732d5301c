"""The store: runs, trials, grades, labels and vectors in one SQLite file.

It knows nothing of models, experiments or graders beyond the shape of a trial, and never loads a numerical library to
list what it holds. Each kind of record has a table object of its own on one open database; the schema is in
``mlxintro.store.schema.migrations``.
"""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from mlxintro.backends.errors import KnownError, UsageError
from mlxintro.store.calls import CallTable
from mlxintro.store.database import Database, OlderFormat, translated
from mlxintro.store.grades import GradeTable
from mlxintro.store.importing import merge
from mlxintro.store.labels import LabelSetTable, LabelTable
from mlxintro.store.prompts import PromptTable
from mlxintro.store.records import Imported
from mlxintro.store.runs import RunTable
from mlxintro.store.searching.browse import TrialBrowser
from mlxintro.store.trials import TrialTable
from mlxintro.store.vectors import VectorTable


class Store:
    """A store's file, opened. Use as a context manager; one instance per thread and per process.

    Attributes:
        path: of the file, absolute.
        database: the connection, transactions and error handling that all tables share.
        runs: what was asked for, how far it is, and which process works on it.
        prompts: dialogues that trials refer to.
        trials: what ran, in the order of the plan.
        grades: what graders said of trials.
        labels: what people said of trials.
        label_sets: trials drawn to be labelled.
        vectors: which concept vectors are in which file.
        calls: questions to paid graders, and their cost.
        browse: filters over runs that are too long to be held.
    """

    def __init__(self, path: str | Path, *, read_only: bool = False) -> None:
        """Open a store, creating it or bringing it up to date unless ``read_only``.

        Raises:
            UsageError: ``read_only`` and there is no such file.
            KnownError: it cannot be opened, is damaged, is another program's, or comes from a newer version.
        """
        self.database = Database(path, read_only=read_only)
        self.path = self.database.path
        self.runs = RunTable(self.database)
        self.prompts = PromptTable(self.database)
        self.trials = TrialTable(self.database)
        self.grades = GradeTable(self.database)
        self.label_sets = LabelSetTable(self.database)
        self.labels = LabelTable(self.database, self.label_sets)
        self.vectors = VectorTable(self.database)
        self.calls = CallTable(self.database)
        self.browse = TrialBrowser(self.database, self.grades, self.labels)

    def close(self) -> None:
        """Close the file. Closing twice is harmless."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

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
            merge.attached(self.database.connection, other.database.uri),
            self.database.write() as db,
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
