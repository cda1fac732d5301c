"""Trials by place: which ones a filter lets through, stretch by stretch of the plan, and the few that are in sight."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mlxintro.store.database import Database
from mlxintro.store.grades import GradeTable
from mlxintro.store.labels import LabelTable
from mlxintro.store.records import GradeRecord, Label, Trial, TrialFilter, plain_json
from mlxintro.store.searching.filter_plan import FilterPlanner, Route
from mlxintro.store.searching.filters import condition
from mlxintro.store.trials import COLUMNS, trial_of

OrderColumn = Literal["ordinal", "concept", "layer", "strength"]
"""Columns that trials can be ordered by without reading them."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Holds a trial with what was last said of it."""

    row: int
    """Number of the trial in the store."""
    trial: Trial
    grades: tuple[GradeRecord, ...]
    """Latest grades by grader, in the order of their names."""
    labels: tuple[Label, ...]
    """Labels by labeller; those withdrawn are left out."""


@dataclass(frozen=True, slots=True)
class Choices:
    """Holds values that a run's trials have."""

    arms: tuple[str, ...]
    concepts: tuple[str, ...]
    layers: tuple[int, ...]
    strengths: tuple[float, ...]
    graders: tuple[str, ...]


class TrialBrowser:
    """Serves lists of trials that are too long to be held: matches by stretch of the plan, and the few in sight."""

    def __init__(self, database: Database, grades: GradeTable, labels: LabelTable) -> None:
        self._database = database
        self._grades = grades
        self._labels = labels
        self._planner = FilterPlanner(database)

    def route(self, run: str, where: TrialFilter) -> Route:
        """Return where the matches of a filter can be."""
        return self._planner.route(run, where)

    def matching(self, run: str, where: TrialFilter, route: Route) -> list[int]:
        """Return the rows of the trials on a route that a filter lets through, in the order of the plan.

        A short stretch bounds the time, however few match. Rows are numbers for ``seen``, valid while the run exists.
        """
        more, values = condition(where)
        place = "run = ? AND ordinal >= ? AND ordinal < ?"
        if route.rows is not None:
            # The plus keeps SQLite from walking through the whole stretch instead of taking these rows.
            place = "+run = ? AND +ordinal >= ? AND +ordinal < ? AND id IN (SELECT value FROM json_each(?))"
            values.insert(0, plain_json(list(route.rows)))
        # One value instead of a hundred thousand rows: fetching those takes several times as long as finding them.
        row = self._database.row(
            "SELECT json_group_array(id) AS ids FROM (SELECT id FROM trials "
            f"WHERE {place}{more} ORDER BY ordinal, key)",
            *(run, route.start, route.stop, *values),
        )
        found: list[int] = json.loads(row["ids"]) if row else []
        return found

    def seen(self, run: str, rows: Sequence[int]) -> list[Seen]:
        """Return the trials by row, in the order of the plan, with grades and labels.

        Rows that are gone are left out.
        """
        # The plus keeps SQLite from walking through the whole run for the sake of its order.
        found = self._database.rows(
            f"SELECT {COLUMNS}, id AS row FROM trials WHERE +run = ? AND id IN (SELECT value FROM json_each(?)) "
            "ORDER BY ordinal, key",
            *(run, plain_json(list(rows))),
        )
        trials = {row["row"]: trial_of(row) for row in found}
        keys = [trial.key for trial in trials.values()]
        grades: dict[str, list[GradeRecord]] = {key: [] for key in keys}
        for grade in self._grades.latest(run, keys=keys):
            grades[grade.key].append(grade)
        labels: dict[str, list[Label]] = {key: [] for key in keys}
        for label in self._labels.latest(run, keys=keys):
            if label.fields:
                labels[label.key].append(label)
        return [Seen(row, one, tuple(grades[one.key]), tuple(labels[one.key])) for row, one in trials.items()]

    def rows_by(self, run: str, column: OrderColumn, *, descending: bool) -> list[int]:
        """Sort the rows of a run's trials by a column, rows without a value last, equal ones as planned."""
        if column not in ("ordinal", "concept", "layer", "strength"):
            raise ValueError(column)
        way = "DESC" if descending else "ASC"
        found = self._database.rows(
            f"SELECT id FROM trials WHERE run = ? ORDER BY {column} IS NULL, {column} {way}, ordinal", run
        )
        return [row["id"] for row in found]

    def injected_concepts(self, run: str) -> list[str]:
        """Return what the injected trials of a run are about."""
        rows = self._database.rows(
            "SELECT DISTINCT concept FROM tallies WHERE run = ? AND grader = '' AND condition = 'injected' "
            "AND concept IS NOT NULL AND trials > 0 ORDER BY concept",
            run,
        )
        return [row["concept"] for row in rows]

    def newest_verdicts(self) -> tuple[int, int]:
        """Return the numbers of the newest grade and the newest label in the store: whether to look again."""
        row = self._database.row("SELECT (SELECT max(id) FROM grades) AS grade, (SELECT max(id) FROM labels) AS label")
        return (int(row["grade"] or 0), int(row["label"] or 0)) if row else (0, 0)

    def choices(self, run: str) -> Choices:
        """Return what can be filtered by."""

        def values(column: str) -> list[object]:
            rows = self._database.rows(
                f"SELECT DISTINCT {column} AS value FROM tallies WHERE run = ? AND grader = ''", run
            )
            return [row["value"] for row in rows if row["value"] is not None]

        return Choices(
            arms=tuple(sorted(map(str, values("arm")))),
            concepts=tuple(sorted(map(str, values("concept")))),
            layers=tuple(sorted(int(str(value)) for value in values("layer"))),
            strengths=tuple(sorted(float(str(value)) for value in values("strength"))),
            graders=tuple(self._grades.graders(run)),
        )
