"""Labels: what people said of trials, and the sets of trials that were drawn to be labelled."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence

from mlxintro.backends.errors import UsageError
from mlxintro.protocol.spelling import composed
from mlxintro.store.database import Database, now
from mlxintro.store.latest import LATEST, known_trials, moments, restrict
from mlxintro.store.records import Label, LabelSet, plain_json, reading, storable


class LabelSetTable:
    """Keeps label sets in the store. A frozen set takes no more labels."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_run(self, run: str) -> list[LabelSet]:
        """Return the label sets of a run, oldest first."""
        rows = self._database.rows(
            "SELECT name, seed, keys, created, frozen FROM label_sets WHERE run = ? ORDER BY created, name", run
        )
        return [_label_set(row) for row in rows]

    def draw(self, run: str, name: str, seed: int, keys: Sequence[str]) -> LabelSet:
        """Draw a label set; one of that name that is there already stays as it is and is returned."""
        name = composed(name)
        with self._database.write() as db:
            db.execute(
                "INSERT OR IGNORE INTO label_sets (run, name, seed, keys, created) VALUES (?, ?, ?, ?, ?)",
                (run, name, seed, plain_json(list(keys)), now()),
            )
        return next(found for found in self.of_run(run) if composed(found.name) == name)

    def freeze(self, run: str, name: str) -> None:
        """Let a set take no more labels, for good. Freezing twice keeps the first moment."""
        with self._database.write() as db:
            db.execute(
                "UPDATE label_sets SET frozen = coalesce(frozen, ?) WHERE run = ? AND name = ?",
                (now(), run, composed(name)),
            )


class LabelTable:
    """Keeps labels. They are only ever added; the latest of each person counts."""

    def __init__(self, database: Database, sets: LabelSetTable) -> None:
        self._database = database
        self._sets = sets

    def add(self, run: str, labels: Iterable[Label]) -> None:
        """Add what a person said, in one transaction; earlier labels stay.

        Raises:
            UsageError: a trial that is not in this run, or that belongs to a frozen label set.
        """
        given = list(labels)
        named = {label.key for label in given}
        for labels_of in self._sets.of_run(run):
            if labels_of.frozen and named.intersection(labels_of.keys):
                raise UsageError(f"the label set {labels_of.name} is frozen: draw another with --set NAME")
        with known_trials(), self._database.write() as db:
            times = moments(db, "labels", "labeller", run, [(label.key, composed(label.labeller)) for label in given])
            db.executemany(
                "INSERT INTO labels (run, key, labeller, fields, note, created) VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (run, label.key, composed(label.labeller), plain_json(label.fields), storable(label.note), moment)
                    for label, moment in zip(given, times, strict=True)
                ],
            )

    def latest(
        self, run: str, *, labeller: str | None = None, key: str | None = None, keys: Sequence[str] | None = None
    ) -> list[Label]:
        """Return the labels that count, ordered by trial and labeller.

        Of one labeller, of one trial, of some trials.
        """
        more, values = restrict(keys, labeller=None if labeller is None else composed(labeller), key=key)
        columns = "key, labeller, fields, note, created"
        sql = LATEST.format(columns=columns, table="labels", who="labeller", more=more)
        return [_label(row) for row in self._database.rows(sql, run, *values)]


def _label(row: sqlite3.Row) -> Label:
    with reading(f"a label of {row['labeller']} on trial {row['key']}", "fields"):
        return Label(**{**dict(row), "fields": dict(json.loads(row["fields"]).items())})


def _label_set(row: sqlite3.Row) -> LabelSet:
    with reading(f"label set {row['name']}", "keys"):
        return LabelSet(**{**dict(row), "keys": tuple(json.loads(row["keys"]))})
