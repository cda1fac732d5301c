"""Grades: what graders said of trials. Grades are only ever added; the latest of each grader counts."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mlxintro.replies.grade_terms import GradeState, NamingLevel
from mlxintro.store.database import Database
from mlxintro.store.latest import LATEST, known_trials, moments, restrict
from mlxintro.store.records import GRADE_FIELDS, GradeRecord, plain_json, reading, storable
from mlxintro.store.searching.verdict_code import verdict_of

_GRADE = f"key, grader, version, {', '.join(GRADE_FIELDS)}, state, naming, reason, evidence, raw, created"


@dataclass(frozen=True, slots=True)
class VerdictCount:
    """How many trials of one cell have one and the same verdict."""

    condition: str
    layer: int | None
    strength: float | None
    trials: int
    graded: bool
    """False: these trials have no verdict of this grader, or it failed on them."""
    state: GradeState = GradeState.UNSCORED
    naming: NamingLevel | None = None
    affirms: bool | None = None
    identifies: bool | None = None
    named_before_affirming: bool | None = None
    coherent: bool | None = None
    refuses: bool | None = None


class GradeTable:
    """Grades in the store: every verdict that was given, the latest ones, and counts of those."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, run: str, grades: Iterable[GradeRecord]) -> None:
        """Add verdicts in one transaction; earlier ones stay.

        Raises:
            UsageError: a trial that is not in this run.
        """
        with known_trials(), self._database.write() as db:
            insert_grades(db, run, grades)

    def latest(
        self, run: str, *, grader: str | None = None, key: str | None = None, keys: Sequence[str] | None = None
    ) -> list[GradeRecord]:
        """The verdicts that count, ordered by trial and grader.

        Args:
            run: id.
            grader: only this one's.
            key: only on this trial (its full key).
            keys: only on these.
        """
        more, values = restrict(keys, grader=grader, key=key)
        sql = LATEST.format(columns=_GRADE, table="grades", who="grader", more=more)
        return [_grade(row) for row in self._database.rows(sql, run, *values)]

    def history(self, run: str, key: str) -> list[GradeRecord]:
        """Every verdict on one trial, oldest first."""
        rows = self._database.rows(
            f"SELECT {_GRADE} FROM grades WHERE run = ? AND key = ? ORDER BY created, id", run, key
        )
        return [_grade(row) for row in rows]

    def graders(self, run: str) -> list[str]:
        """Return who has graded any trial of a run."""
        rows = self._database.rows("SELECT DISTINCT grader FROM tallies WHERE run = ? AND grader <> '' ORDER BY 1", run)
        return [row["grader"] for row in rows]

    def counts(self, run: str, grader: str) -> list[VerdictCount]:
        """The finished trials of a run's main arm by condition, layer, strength and latest verdict.

        From the store's tallies: as fast for a million trials as for ten.
        """
        rows = self._database.rows(
            "SELECT condition, layer, strength, grader, class, sum(trials) AS trials FROM tallies WHERE run = ? "
            "AND arm = '' AND (grader = ? OR grader = '' AND class = 'done') AND trials > 0 "
            "GROUP BY condition, layer, strength, grader, class",
            *(run, grader),
        )
        counts = []
        ungraded: dict[tuple[str, int | None, float | None], int] = defaultdict(int)
        for row in rows:
            cell = (row["condition"], row["layer"], row["strength"])
            if not row["grader"]:
                ungraded[cell] += row["trials"]
                continue
            verdict = verdict_of(row["class"])
            if verdict.state is GradeState.UNSCORED:
                continue
            ungraded[cell] -= row["trials"]
            fields = {name: getattr(verdict, name) for name in GRADE_FIELDS}
            counts.append(VerdictCount(*cell, row["trials"], True, verdict.state, verdict.naming, **fields))
        return [*counts, *(VerdictCount(*cell, trials, False) for cell, trials in ungraded.items() if trials > 0)]

    def graded_since(self, last: int) -> tuple[int, set[str]]:
        """The newest grade's number, and the runs that have grades newer than number ``last``."""
        row = self._database.row("SELECT max(id) AS newest FROM grades")
        newest = int(row["newest"] or 0) if row else 0
        if newest <= last:
            return newest, set()
        if last == 0:
            return newest, {row["id"] for row in self._database.rows("SELECT id FROM runs")}
        return newest, {row["run"] for row in self._database.rows("SELECT DISTINCT run FROM grades WHERE id > ?", last)}


def insert_grades(db: sqlite3.Connection, run: str, grades: Iterable[GradeRecord]) -> None:
    """Add verdicts inside the caller's transaction."""
    given = list(grades)
    times = moments(db, "grades", "grader", run, [(grade.key, grade.grader) for grade in given])
    rows = [
        (
            *(run, grade.key, grade.grader, grade.version),
            *(_bit(getattr(grade, name)) for name in GRADE_FIELDS),
            *(grade.state.value, grade.naming, storable(grade.reason)),
            None if grade.evidence is None else plain_json(grade.evidence),
            None if grade.raw is None else storable(grade.raw),
            moment,
        )
        for grade, moment in zip(given, times, strict=True)
    ]
    db.executemany(f"INSERT INTO grades (run, {_GRADE}) VALUES ({', '.join('?' * 15)})", rows)


def _bit(value: bool | None) -> int | None:
    return None if value is None else int(value)


def _grade(row: sqlite3.Row) -> GradeRecord:
    values: dict[str, Any] = dict(row)
    for name in GRADE_FIELDS:
        values[name] = None if values[name] is None else bool(values[name])
    values["state"] = GradeState(values["state"])
    with reading(f"a verdict of {values['grader']} on trial {values['key']}", "evidence"):
        values["evidence"] = None if values["evidence"] is None else json.loads(values["evidence"])
    return GradeRecord(**values)
