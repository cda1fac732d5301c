"""Grades, labels and vectors. Grades and labels are only ever added; the latest of each grader or person counts."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mlxintro.backends.errors import UsageError
from mlxintro.store.database import now
from mlxintro.store.records import GRADE_FIELDS, Grade, Label, LabelSet, VectorRecord, plain_json
from mlxintro.store.trials import Trials

_GRADE = f"key, grader, version, {', '.join(GRADE_FIELDS)}, abstained, reason, evidence, raw, created"
_LATEST = """
    SELECT {columns} FROM {table} g WHERE run = ?{more} AND NOT EXISTS (
        SELECT 1 FROM {table} h WHERE h.run = g.run AND h.key = g.key AND h.{who} = g.{who}
        AND (h.created, h.id) > (g.created, g.id))
    ORDER BY key, {who}
"""


class Verdicts(Trials):
    """The part of the store that holds what graders and people said, and which vectors exist."""

    def add_grades(self, run: str, grades: Iterable[Grade]) -> None:
        """Add verdicts in one transaction; earlier ones stay.

        Raises:
            UsageError: a trial that is not in this run.
        """
        moment = now()
        with _known_trials(), self._write() as db:
            insert_grades(db, run, grades, moment)

    def latest_grades(
        self, run: str, *, grader: str | None = None, key: str | None = None, keys: Sequence[str] | None = None
    ) -> list[Grade]:
        """The verdicts that count, ordered by trial and grader.

        Args:
            run: id.
            grader: only this one's.
            key: only on this trial (its full key).
            keys: only on these.
        """
        more, values = _restrict(grader=grader, key=key)
        if keys is not None:
            more += " AND key IN (SELECT value FROM json_each(?))"
            values.append(plain_json(list(keys)))
        sql = _LATEST.format(columns=_GRADE, table="grades", who="grader", more=more)
        return [_grade(row) for row in self._rows(sql, run, *values)]

    def grade_history(self, run: str, key: str) -> list[Grade]:
        """Every verdict on one trial, oldest first."""
        rows = self._rows(f"SELECT {_GRADE} FROM grades WHERE run = ? AND key = ? ORDER BY created, id", run, key)
        return [_grade(row) for row in rows]

    def graders(self, run: str) -> list[str]:
        """Who has graded any trial of a run."""
        rows = self._rows("SELECT DISTINCT grader FROM tallies WHERE run = ? AND grader <> '' ORDER BY 1", run)
        return [row["grader"] for row in rows]

    def add_labels(self, run: str, labels: Iterable[Label]) -> None:
        """Add what a person said, in one transaction; earlier labels stay.

        Raises:
            UsageError: a trial that is not in this run, or that belongs to a frozen label set.
        """
        moment = now()
        rows = [(run, x.key, x.labeller, plain_json(x.fields), x.note, moment) for x in labels]
        named = {row[1] for row in rows}
        for labels_of in self.label_sets(run):
            if labels_of.frozen and named.intersection(labels_of.keys):
                raise UsageError(f"the label set {labels_of.name} is frozen: draw another with --set NAME")
        self._append("INSERT INTO labels (run, key, labeller, fields, note, created) VALUES (?, ?, ?, ?, ?, ?)", rows)

    def latest_labels(
        self, run: str, *, labeller: str | None = None, key: str | None = None, keys: Sequence[str] | None = None
    ) -> list[Label]:
        """The labels that count, ordered by trial and labeller; of one labeller, of one trial, of some trials."""
        more, values = _restrict(labeller=labeller, key=key)
        if keys is not None:
            more += " AND key IN (SELECT value FROM json_each(?))"
            values.append(plain_json(list(keys)))
        columns = "key, labeller, fields, note, created"
        sql = _LATEST.format(columns=columns, table="labels", who="labeller", more=more)
        return [Label(**{**dict(row), "fields": json.loads(row["fields"])}) for row in self._rows(sql, run, *values)]

    def label_sets(self, run: str) -> list[LabelSet]:
        """The label sets of a run, oldest first."""
        rows = self._rows(
            "SELECT name, seed, keys, created, frozen FROM label_sets WHERE run = ? ORDER BY created, name", run
        )
        return [LabelSet(**{**dict(row), "keys": tuple(json.loads(row["keys"]))}) for row in rows]

    def add_label_set(self, run: str, name: str, seed: int, keys: Sequence[str]) -> LabelSet:
        """Draw a label set; one of that name that is there already stays as it is and is returned."""
        with self._write() as db:
            db.execute(
                "INSERT OR IGNORE INTO label_sets (run, name, seed, keys, created) VALUES (?, ?, ?, ?, ?)",
                (run, name, seed, plain_json(list(keys)), now()),
            )
        return next(found for found in self.label_sets(run) if found.name == name)

    def freeze_label_set(self, run: str, name: str) -> None:
        """Let a set take no more labels, for good. Freezing twice keeps the first moment."""
        with self._write() as db:
            db.execute(
                "UPDATE label_sets SET frozen = coalesce(frozen, ?) WHERE run = ? AND name = ?", (now(), run, name)
            )

    def add_vector(self, vector: VectorRecord) -> None:
        """Record a vector whose file is in place; the same recipe extracted anew replaces the record."""
        with self._write() as db:
            db.execute(
                "INSERT INTO vectors (hash, recipe, file, content, created) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (hash) DO UPDATE SET file = excluded.file, content = excluded.content, "
                "created = excluded.created",
                (vector.hash, plain_json(vector.recipe), vector.file, vector.content, now()),
            )

    def vector(self, hash: str) -> VectorRecord | None:
        """The record of a vector by its recipe's hash; ``None`` when it has not been extracted."""
        row = self._row("SELECT hash, recipe, file, content, created FROM vectors WHERE hash = ?", hash)
        return None if row is None else _vector(row)

    def vectors(self) -> list[VectorRecord]:
        """All vectors, newest first."""
        rows = self._rows("SELECT hash, recipe, file, content, created FROM vectors ORDER BY created DESC, hash")
        return [_vector(row) for row in rows]

    def _append(self, sql: str, rows: list[tuple[Any, ...]]) -> None:
        with _known_trials(), self._write() as db:
            db.executemany(sql, rows)


def insert_grades(db: sqlite3.Connection, run: str, grades: Iterable[Grade], moment: str) -> None:
    """Add verdicts inside the caller's transaction."""
    rows = [
        (
            *(run, grade.key, grade.grader, grade.version),
            *(_bit(getattr(grade, name)) for name in GRADE_FIELDS),
            *(int(grade.abstained), grade.reason),
            None if grade.evidence is None else plain_json(grade.evidence),
            grade.raw,
            moment,
        )
        for grade in grades
    ]
    db.executemany(f"INSERT INTO grades (run, {_GRADE}) VALUES ({', '.join('?' * 14)})", rows)


@contextmanager
def _known_trials() -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError as error:
        if getattr(error, "sqlite_errorname", "") != "SQLITE_CONSTRAINT_FOREIGNKEY":
            raise
        raise UsageError("a verdict names a trial that is not in this run: nothing was stored") from error


def _restrict(**wanted: str | None) -> tuple[str, list[str]]:
    given = {name: value for name, value in wanted.items() if value is not None}
    return "".join(f" AND {name} = ?" for name in given), list(given.values())


def _bit(value: bool | None) -> int | None:
    return None if value is None else int(value)


def _grade(row: sqlite3.Row) -> Grade:
    values: dict[str, Any] = dict(row)
    for name in GRADE_FIELDS:
        values[name] = None if values[name] is None else bool(values[name])
    values["abstained"] = bool(values["abstained"])
    values["evidence"] = None if values["evidence"] is None else json.loads(values["evidence"])
    return Grade(**values)


def _vector(row: sqlite3.Row) -> VectorRecord:
    return VectorRecord(**{**dict(row), "recipe": json.loads(row["recipe"])})
