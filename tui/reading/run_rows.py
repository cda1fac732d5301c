"""The list of runs as rows of text: what is in a row, which rows a filter lets through, which rates are out of date.

It counts in the thread it is called from and knows no widgets; ``tui.screens.runs`` shows it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlxintro.analysis.rates import run_rates
from mlxintro.store.records import Run
from mlxintro.store.store import Store

from . import wording

GRADER = "rules"
RATES = ("detects", "false alarms", "names it")
_SECONDS = 0.05
"""How long runs are counted before what has been counted is shown."""

RunRow = dict[str, str]
"""Text by the name of its column."""


@dataclass(frozen=True, slots=True)
class Counted:
    run: str
    done: int
    """Trials that there were."""
    rates: RunRow


class RunRows:
    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        """By id, the newest first."""
        self.marked: list[str] = []
        """Ids of two runs at most, to be compared."""
        self._rates: dict[str, Counted] = {}

    def update(self, runs: Iterable[Run], regraded: Iterable[str]) -> None:
        """Take in the runs as they are now, and which have new verdicts."""
        self.runs = {run.id: run for run in runs}
        for run in regraded:
            self._rates.pop(run, None)

    def outdated(self) -> list[Run]:
        """Runs whose rates have to be counted."""
        known = self._rates
        return [
            one for one in self.runs.values() if one.done and (one.id not in known or known[one.id].done != one.done)
        ]

    def counted(self, found: Iterable[Counted]) -> None:
        self._rates.update((one.run, one) for one in found)

    def mark(self, run: str) -> None:
        """Mark a run, or take its mark away; of three the first is forgotten."""
        rest = [one for one in self.marked if one != run]
        self.marked = rest if run in self.marked else [*rest, run][-2:]

    def rows(self, wanted: str, *, bars: bool) -> dict[str, RunRow]:
        """Rows by run in which every wanted word occurs somewhere, whatever the case."""
        sought = wanted.casefold().split()
        rows = {run.id: self._row(run, bars) for run in self.runs.values()}
        return {i: row for i, row in rows.items() if all(_holds(row.values(), word) for word in sought)}

    def _row(self, run: Run, bars: bool) -> RunRow:
        known = self._rates.get(run.id)
        failed = f" ✗{run.errors}" if run.errors else ""
        bar = f"{wording.bar(run.done, run.planned, 6)} " if bars else ""
        return {
            "name": ("◆ " if run.id in self.marked else "") + run.name,
            "state": wording.state(run),
            "trials": f"{bar}{run.done}/{run.planned}{failed}",
            **(known.rates if known else dict.fromkeys(RATES, "…" if run.done else "–")),
            "model": wording.model(run),
            "experiment": run.experiment,
            "created (UTC)": run.created[:16].replace("T", " "),
        }


def count(runs: Sequence[Run], store: Store) -> list[Counted]:
    """Rates of some runs with their intervals, for as many as are counted in a moment."""
    started = time.monotonic()
    found = []
    for run in runs:
        rates = run_rates(store.grades.counts(run.id, GRADER))
        shown = (rates.injected.detection, rates.controls.detection, rates.injected.identification)
        found.append(Counted(run.id, run.done, dict(zip(RATES, map(wording.rate, shown), strict=True))))
        if time.monotonic() - started > _SECONDS:
            break
    return found


def about(run: Run | None, row: Mapping[str, str] | None, *, narrow: bool) -> str:
    """A line that says what a row has no room for; empty when there is nothing to say."""
    if run is None:
        return ""
    if run.error:
        return f"{run.name} failed: {run.error}"
    if run.state == "interrupted":
        return f"{run.name}: its process is gone; {run.remaining} trials are left, {{runs.resume}} resumes it"
    if row is not None and narrow:
        return f"{row['name']}: names it {row['names it']}; {row['model']}; {row['experiment']}"
    return ""


def _holds(texts: Iterable[str], word: str) -> bool:
    return any(word in text.casefold() for text in texts)
