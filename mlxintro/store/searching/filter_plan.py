"""Where the matches of a filter can be: the stretch of a run's plan, and the few trials in it if they are few.

A route never leaves out a match; it spares looking at a million trials for the sake of three.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mlxintro.protocol.spelling import spellings
from mlxintro.store.database import Database, translated
from mlxintro.store.records import TrialFilter, plain_json
from mlxintro.store.searching.text_index import candidates
from mlxintro.store.searching.verdict_code import DISPUTED, IS_GRADED, LABELLED, classes_of

FEW = 10_000
"""Trials that are looked at one by one within a tenth of a second or two; for more, a stretch is gone through."""


@dataclass(frozen=True, slots=True)
class Route:
    start: int
    stop: int
    """Places of the plan: matches lie in ``start <= ordinal < stop``."""
    rows: tuple[int, ...] | None = None
    """Rows of the store; ``None``: any in that stretch."""


class FilterPlanner:
    """Finds out where in a run the matches of a filter can be."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def route(self, run: str, where: TrialFilter) -> Route:
        """Return where the matches of a filter can be."""
        route = self._stretch(run, where)
        if route.start == route.stop:
            return route
        few: set[int] | None = None
        for class_, wanted in ((DISPUTED, where.disputed), (LABELLED, where.labelled)):
            if wanted:
                few = _both(few, self._standing(run, "", (class_,)))
        if where.verdict is not None and where.grader is not None:
            found = (
                self._ungraded(run, where.grader)
                if where.verdict == "ungraded"
                else self._standing(run, where.grader, classes_of(where.verdict))
            )
            few = _both(few, found)
        if where.status == "error":
            few = _both(few, self._failed(run))
        for text in where.sought:
            if few is None or len(few) > FEW // 10:
                with translated(self._database.path):
                    few = _both(few, candidates(self._database.connection, text, FEW))
        return route if few is None else replace(route, rows=tuple(sorted(few)))

    def _stretch(self, run: str, where: TrialFilter) -> Route:
        """From the first to the last trial of the cells that a filter speaks of."""
        graded = where.verdict not in (None, "ungraded") and where.grader is not None
        parts = ["run = ?", "grader = ?", "trials > 0"]
        values: list[object] = [run, where.grader if graded else ""]
        if where.concept is not None:
            parts.append("concept IN (?, ?)")
            values += spellings(where.concept)
        for name in ("arm", "condition", "layer", "strength"):
            if (value := getattr(where, name)) is not None:
                parts.append(f"{name} = ?")
                values.append(value)
        classes: tuple[str, ...] = () if where.status is None else (where.status,)
        if graded and where.verdict is not None:
            classes = classes_of(where.verdict)
        if classes:
            parts.append("class IN (SELECT value FROM json_each(?))")
            values.append(plain_json(list(classes)))
        row = self._database.row(
            f"SELECT min(first) AS first, max(last) AS last FROM tallies WHERE {' AND '.join(parts)}", *values
        )
        return Route(0, 0) if row is None or row["first"] is None else Route(row["first"], row["last"] + 1)

    def _standing(self, run: str, grader: str, classes: tuple[str, ...]) -> set[int] | None:
        rows = self._database.rows(
            "SELECT trial FROM standing WHERE run = ? AND grader = ? AND class IN (SELECT value FROM json_each(?)) "
            "LIMIT ?",
            *(run, grader, plain_json(list(classes)), FEW + 1),
        )
        return None if len(rows) > FEW else {row["trial"] for row in rows}

    def _failed(self, run: str) -> set[int] | None:
        rows = self._database.rows("SELECT id FROM trials WHERE run = ? AND status = 'error' LIMIT ?", run, FEW + 1)
        return None if len(rows) > FEW else {row["id"] for row in rows}

    def _ungraded(self, run: str, grader: str) -> set[int] | None:
        """Trials without a verdict of this grader, if they are few."""
        row = self._database.row(
            "SELECT coalesce(sum(CASE WHEN grader = '' THEN trials ELSE -trials END), 0) AS left FROM tallies "
            f"WHERE run = ? AND (grader = '' OR grader = ? AND {IS_GRADED})",
            *(run, grader),
        )
        if row is not None and row["left"] > FEW:
            return None
        if row is not None and row["left"] == 0:
            return set()
        found = self._database.rows(
            "SELECT id FROM trials WHERE run = ? "
            f"AND id NOT IN (SELECT trial FROM standing WHERE run = ? AND grader = ? AND {IS_GRADED})",
            *(run, run, grader),
        )
        return {row["id"] for row in found}


def _both(first: set[int] | None, second: set[int] | None) -> set[int] | None:
    return second if first is None else first if second is None else first & second
