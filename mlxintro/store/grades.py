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
from mlxintro.store.searching.verdict_code import LABELLED, class_of, verdict_of

_GRADE = f"key, grader, version, {', '.join(GRADE_FIELDS)}, state, naming, reason, evidence, raw, created"


@dataclass(frozen=True, slots=True)
class VerdictCount:
    """Says how many trials of one cell have one and the same verdict."""

    condition: str
    layer: int | None
    strength: float | None
    trials: int
    graded: bool
    """False: these trials have no verdict of this grader, or it failed on them."""
    arm: str = ""
    concept: str | None = None
    """Word of the concept; ``None`` also where concepts are counted together."""
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
        """Return the verdicts that count, ordered by trial and grader.

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
        """Return every verdict on one trial, oldest first."""
        rows = self._database.rows(
            f"SELECT {_GRADE} FROM grades WHERE run = ? AND key = ? ORDER BY created, id", run, key
        )
        return [_grade(row) for row in rows]

    def graders(self, run: str) -> list[str]:
        """Return who has graded any trial of a run."""
        rows = self._database.rows("SELECT DISTINCT grader FROM tallies WHERE run = ? AND grader <> '' ORDER BY 1", run)
        return [row["grader"] for row in rows]

    def counts(self, run: str, grader: str) -> list[VerdictCount]:
        """Return the finished trials of a run's main arm by condition, layer, strength and latest verdict.

        From the store's tallies: as fast for a million trials as for ten.
        """
        return self._counts(run, grader, "condition, layer, strength", " AND arm = ''")

    def counts_by_concept(self, run: str, grader: str) -> list[VerdictCount]:
        """Return the finished trials of a run by arm, condition, concept, layer, strength and latest verdict."""
        return self._counts(run, grader, "condition, layer, strength, arm, concept", "")

    def _counts(self, run: str, grader: str, columns: str, more: str) -> list[VerdictCount]:
        names = columns.split(", ")
        rows = self._database.rows(
            f"SELECT {columns}, grader, class, sum(trials) AS trials FROM tallies WHERE run = ?{more} "
            f"AND (grader = ? OR grader = '' AND class = 'done') AND trials > 0 GROUP BY {columns}, grader, class",
            *(run, grader),
        )
        counts = []
        ungraded: dict[tuple[Any, ...], int] = defaultdict(int)
        for row in rows:
            cell = tuple(row[name] for name in names)
            if not row["grader"]:
                ungraded[cell] += row["trials"]
                continue
            verdict = verdict_of(row["class"])
            if verdict.state is GradeState.UNSCORED:
                continue
            ungraded[cell] -= row["trials"]
            fields = {name: getattr(verdict, name) for name in ("state", "naming", *GRADE_FIELDS)}
            counts.append(
                VerdictCount(**dict(zip(names, cell, strict=True)), trials=row["trials"], graded=True, **fields)
            )
        left = [
            VerdictCount(**dict(zip(names, cell, strict=True)), trials=trials, graded=False)
            for cell, trials in ungraded.items()
            if trials > 0
        ]
        return counts + left

    def classes_of_run(self, run: str, grader: str) -> list[str]:
        """Return which classes of verdicts a grader's latest ones are of."""
        rows = self._database.rows(
            "SELECT DISTINCT class FROM tallies WHERE run = ? AND grader = ? AND trials > 0 ORDER BY class", run, grader
        )
        return [row["class"] for row in rows]

    def classes(self, run: str, grader: str, keys: Sequence[str]) -> dict[str, str]:
        """Return the class (``searching.verdict_code``) of a grader's latest verdict by trial key."""
        more, values = restrict(keys, grader=grader)
        sql = LATEST.format(columns=f"key, {class_of('g')} AS class", table="grades", who="grader", more=more)
        return {row["key"]: row["class"] for row in self._database.rows(sql, run, *values)}

    def versions(self, run: str, grader: str) -> dict[str, int]:
        """Return how many of a grader's latest verdicts each of its versions gave; the most frequent first."""
        # In the order of the table: by way of an index each row is looked up alone, which takes ten times as long.
        found = self._database.rows(
            "SELECT version FROM grades NOT INDEXED WHERE run = ? AND grader = ? GROUP BY version", run, grader
        )
        if len(found) < 2:
            return {row["version"]: 0 for row in found}
        sql = LATEST.format(columns="version", table="grades", who="grader", more=" AND grader = ?")
        rows = self._database.rows(
            f"SELECT version, count(*) AS trials FROM ({sql}) GROUP BY version ORDER BY trials DESC, version",
            *(run, grader),
        )
        return {row["version"]: row["trials"] for row in rows}

    def waiting(self, run: str) -> int:
        """Count the trials that some grader left open, that no other grader decided, and that nobody labelled."""
        found = self._database.rows(
            "SELECT DISTINCT grader, class FROM tallies WHERE run = ? AND grader <> '' AND trials > 0", run
        )
        is_open: dict[bool, list[tuple[str, str]]] = {True: [], False: []}
        for row in found:
            verdict = verdict_of(row["class"])
            is_open[verdict.state is not GradeState.SCORED].append((row["grader"], row["class"]))
        if not is_open[True]:
            return 0
        settled = [*is_open[False], ("", LABELLED)]
        there = "s.run = ? AND s.grader = json_extract(c.value, '$[0]') AND s.class = json_extract(c.value, '$[1]')"
        counted = self._database.row(
            "SELECT count(DISTINCT o.trial) AS n FROM "
            f"(SELECT s.ordinal, s.trial FROM json_each(?) c JOIN standing s ON {there}) o WHERE NOT EXISTS "
            f"(SELECT 1 FROM json_each(?) c JOIN standing s ON {there} AND s.ordinal = o.ordinal "
            "AND s.trial = o.trial)",
            *(plain_json(is_open[True]), run, plain_json(settled), run),
        )
        return int(counted["n"]) if counted else 0

    def graded_since(self, last: int) -> tuple[int, set[str]]:
        """Return the newest grade's number, and the runs that have grades newer than number ``last``."""
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
