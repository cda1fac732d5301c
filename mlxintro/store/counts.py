"""Counts over a run, made by SQLite: for displays, which cannot read a million trials to show one rate."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from mlxintro.store.records import GRADE_FIELDS, Run, Trial
from mlxintro.store.trials import COLUMNS
from mlxintro.store.verdict_code import verdict_of
from mlxintro.store.verdicts import Verdicts

_LAST = 200


@dataclass(frozen=True, slots=True)
class VerdictCount:
    """How many trials of one cell have one and the same verdict."""

    condition: str
    layer: int | None
    strength: float | None
    trials: int
    graded: bool
    """False: these trials have no verdict of this grader."""
    abstained: bool = False
    affirms: bool | None = None
    identifies: bool | None = None
    named_before_affirming: bool | None = None
    coherent: bool | None = None
    refuses: bool | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    ordinal: int
    error: str


class Counts(Verdicts):
    """The part of the store that counts."""

    def verdict_counts(self, run: str, grader: str) -> list[VerdictCount]:
        """The finished trials of a run's main arm by condition, layer, strength and latest verdict.

        From the store's tallies: as fast for a million trials as for ten.
        """
        rows = self._rows(
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
            ungraded[cell] -= row["trials"]
            verdict = verdict_of(row["class"])
            fields = {name: getattr(verdict, name) for name in GRADE_FIELDS}
            counts.append(VerdictCount(*cell, row["trials"], True, verdict.abstained, **fields))
        return [*counts, *(VerdictCount(*cell, trials, False) for cell, trials in ungraded.items() if trials > 0)]

    def graded_since(self, last: int) -> tuple[int, set[str]]:
        """The newest grade's number, and the runs that have grades newer than number ``last``."""
        row = self._row("SELECT max(id) AS newest FROM grades")
        newest = int(row["newest"] or 0) if row else 0
        if newest <= last:
            return newest, set()
        if last == 0:
            return newest, {row["id"] for row in self._rows("SELECT id FROM runs")}
        return newest, {row["run"] for row in self._rows("SELECT DISTINCT run FROM grades WHERE id > ?", last)}

    def failures(self, run: Run, *, limit: int) -> list[Failure]:
        """The failed trials of a run, those late in the plan first."""
        if not run.errors:
            return []
        rows = self._rows(
            "SELECT ordinal, error FROM trials WHERE run = ? AND status = 'error' ORDER BY ordinal DESC LIMIT ?",
            *(run.id, limit),
        )
        return [Failure(row["ordinal"], row["error"]) for row in rows]

    def last_trial(self, run: str) -> Trial | None:
        """The trial latest in the plan that is there: one with a reply, if there is one among the last few hundred."""
        row = self._row(
            f"SELECT {COLUMNS} FROM trials WHERE id = (SELECT id FROM (SELECT id, ordinal, key, response <> '' AS said "
            f"FROM trials WHERE run = ? ORDER BY ordinal DESC, key DESC LIMIT {_LAST}) "
            "ORDER BY said DESC, ordinal DESC, key DESC LIMIT 1)",
            run,
        )
        return None if row is None else Trial(**dict(row))
