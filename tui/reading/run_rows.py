"""The list of runs as rows of text: what is in a row, which rows a filter lets through, which rates are out of date.

It counts in the thread it is called from and knows no widgets; ``tui.screens.runs`` shows it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlxintro.analysis.run import tally_of
from mlxintro.backends.errors import KnownError
from mlxintro.protocol.spelling import comparable
from mlxintro.store.records import Run
from mlxintro.store.store import Store

from . import head_text, wording

GRADER = "rules"
RATES = ("result", "against", "more")
"""The first head figure of the run's experiment, what it is set against, and its second head figure."""
NOT_KNOWN = "–"
_SECONDS = 0.05
"""How long runs are counted before what has been counted is shown."""

RunCells = dict[str, str]
"""Text by the name of its column."""


@dataclass(frozen=True, slots=True)
class Counted:
    run: str
    done: int
    """Trials that there were."""
    rates: RunCells


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

    def rows(self, wanted: str, *, bars: bool) -> dict[str, RunCells]:
        """Rows by run in which every wanted word occurs somewhere, whatever the case."""
        sought = comparable(wanted).split()
        rows = {run.id: self._row(run, bars) for run in self.runs.values()}
        return {i: row for i, row in rows.items() if all(_holds(row.values(), word) for word in sought)}

    def _row(self, run: Run, bars: bool) -> RunCells:
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
        found.append(Counted(run.id, run.done, _figures(store, run)))
        if time.monotonic() - started > _SECONDS:
            break
    return found


def _figures(store: Store, run: Run) -> RunCells:
    try:
        tally = tally_of(store, run, GRADER)
    except (KnownError, ValueError) as error:
        # An experiment that is not installed here, or a study of another version.
        return {"result": NOT_KNOWN, "against": NOT_KNOWN, "more": str(error)}
    figures = tally.case.figures
    if not figures:
        return dict.fromkeys(RATES, NOT_KNOWN)
    first, base = figures[0], figures[0].figure.baseline
    more = [f"{one.figure.label} {head_text.counted(one)}" for one in figures[1:]]
    return {
        "result": f"{first.figure.label} {head_text.counted(first)}",
        "against": f"{base.label} {head_text.counted(tally.baseline.figures[0])}" if base is not None else NOT_KNOWN,
        "more": "; ".join(more) or NOT_KNOWN,
    }


def about(run: Run | None, row: Mapping[str, str] | None) -> str:
    """What a row has no room for: figures in full, the study, and what is wrong; empty when there is nothing to say."""
    if run is None:
        return ""
    lines = [wording.identity(run)]
    if row is not None:
        lines.append("   ".join(one for one in (row["result"], row["against"], row["more"]) if one != NOT_KNOWN))
    study = run.study
    grid = [
        f"{name} {', '.join(map(str, value)) if isinstance(value, list) else value}"
        for name in ("layers", "strengths", "trials", "controls", "window", "seed")
        if (value := study.get(name)) is not None
    ]
    lines.append("   ".join(grid))
    if run.error:
        lines.append(f"✗ failed: {run.error}")
    if run.state == "interrupted":
        lines.append(f"! its process is gone; {run.remaining} trials are left, {{runs.resume}} resumes it")
    return "\n".join(line for line in lines if line)


def _holds(texts: Iterable[str], word: str) -> bool:
    return any(word in comparable(text) for text in texts)
