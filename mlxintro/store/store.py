"""The store: runs, trials, grades, labels and vectors in one SQLite file.

It knows nothing of models, experiments or graders beyond the shape of a trial, and never loads a numerical library to
list what it holds. Each kind of record has a table object of its own on one open database; the schema is in
``mlxintro.store.schema.migrations``.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from mlxintro.store.calls import CallTable
from mlxintro.store.database import Database
from mlxintro.store.grades import GradeTable
from mlxintro.store.labels import LabelSetTable, LabelTable
from mlxintro.store.prompts import PromptTable
from mlxintro.store.records import Imported
from mlxintro.store.runs import RunTable
from mlxintro.store.searching.browse import TrialBrowser
from mlxintro.store.studies import StudyTable
from mlxintro.store.trials import TrialTable
from mlxintro.store.vectors import VectorTable


class Store:
    """Opens a store's file. Use as a context manager; one instance per thread and per process.

    Attributes:
        path: of the file, absolute.
        database: the connection, transactions and error handling that all tables share.
        runs: what was asked for, how far it is, and which process works on it.
        studies: what was asked for in one file, and the runs that it came to.
        prompts: dialogues that trials refer to.
        trials: what ran, in the order of the plan.
        grades: what graders said of trials.
        labels: what people said of trials.
        label_sets: trials drawn to be labelled.
        vectors: which concept vectors are in which file.
        calls: questions to paid graders, and their cost.
        browse: filters over runs that are too long to be held.
    """

    def __init__(self, path: str | Path, *, read_only: bool = False, create: bool = True) -> None:
        """Open a store, creating it (unless told not to) or bringing it up to date unless ``read_only``.

        Raises:
            UsageError: ``read_only`` and there is no such file.
            KnownError: it cannot be opened, is damaged, is another program's, or comes from a newer version.
        """
        self.database = Database(path, read_only=read_only, create=create)
        self.path = self.database.path
        self.runs = RunTable(self.database)
        self.studies = StudyTable(self.database, self.runs)
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
        """Add everything another store holds; see ``mlxintro.store.importing.merge.import_store``.

        Raises:
            UsageError: no such file, or this very store.
            KnownError: the other file cannot be read as a store, or a row of it is not as it should be.
        """
        from mlxintro.store.importing.merge import import_store

        return import_store(self.database, path)
