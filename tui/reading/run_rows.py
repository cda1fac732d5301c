"""The list of runs as rows of text: what is in a row, which rows there are and in what order, which are out of date.

It counts in the thread it is called from and knows no widgets; ``tui.screens.runs`` shows it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from rich.cells import cell_len

from mlxintro.analysis.run import tally_of
from mlxintro.analysis.tally import RunTally
from mlxintro.backends.errors import KnownError
from mlxintro.protocol.spelling import comparable
from mlxintro.store.records import Run
from mlxintro.store.store import Store

from . import head_text, wording
from .curve_marks import MARKS

GRADER = "rules"
RATES = ("result", "against", "more")
"""The first head figure of the run's experiment, what it is set against, and its second head figure."""
NOT_KNOWN = "–"
NO_STUDY = "no study"
"""Heading of the runs that belong to none."""
GROUP = "group:"
"""Begins the id of a row that is the heading of a group."""
ORDERS = ("created (UTC)", "name", "state", "trials", "result", "model", "experiment")
"""Columns by which the list can be sorted, in the order in which a key goes through them."""
GROUPINGS = ("", "model", "experiment", "study")
_SECONDS = 0.05
"""How long runs are counted before what has been counted is shown."""

RunCells = dict[str, str]
"""Text by the name of its column; a heading has one column, ``heading``."""


@dataclass(frozen=True, slots=True)
class Counted:
    run: str
    done: int
    """Number of trials that there were."""
    rates: RunCells
    value: float | None = None
    """The first head figure, for sorting."""
    tally: RunTally | None = None
    """Tally of everything that was counted."""


@dataclass(slots=True)
class Arrangement:
    """Says how the list is ordered, grouped and filtered; what is remembered of it."""

    order: str = ORDERS[0]
    turned: bool = False
    """Whether the order is reversed: the oldest first, names from Z to A."""
    grouping: str = ""
    folded: set[str] = field(default_factory=set)
    """Groups of which only the heading is shown."""

    def next_order(self, wanted: str | None = None) -> None:
        """Sort by the next column or a certain one; by the same one again: the other way round."""
        if wanted == self.order:
            self.turned = not self.turned
            return
        self.order = wanted or ORDERS[(ORDERS.index(self.order) + 1) % len(ORDERS)]
        self.turned = False

    def next_grouping(self) -> None:
        self.grouping = GROUPINGS[(GROUPINGS.index(self.grouping) + 1) % len(GROUPINGS)]

    def fold(self, group: str) -> None:
        """Hide the runs of a group, or show them again."""
        self.folded ^= {group}

    @property
    def title(self) -> str:
        """Return the column of the order with the arrow that stands behind its name."""
        falling = (self.order in ("created (UTC)", "trials", "result")) != self.turned
        return f"{self.order} {'▼' if falling else '▲'}"

    def kept(self) -> dict[str, Any]:
        return {"order": self.order, "turned": self.turned, "grouping": self.grouping, "folded": sorted(self.folded)}

    @classmethod
    def restored(cls, kept: Mapping[str, Any]) -> Arrangement:
        """Take up what was kept, as far as it means something."""
        order, grouping = str(kept.get("order")), str(kept.get("grouping"))
        return cls(
            order if order in ORDERS else ORDERS[0],
            bool(kept.get("turned")),
            grouping if grouping in GROUPINGS else "",
            {str(one) for one in kept.get("folded", ())},
        )


class RunRows:
    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        """By id, the newest first."""
        self.marks: dict[str, int] = {}
        """Marked runs, each with the number of its mark and its colour, which it keeps as others come and go."""
        self.arrangement = Arrangement()
        self.studies: Mapping[str, str] = {}
        """Study by run."""
        self._rates: dict[str, Counted] = {}
        self.longest: dict[str, int] = {}
        """Columns that the longest text of a column takes, over all runs."""

    def update(
        self, runs: Iterable[Run], regraded: Iterable[str], studies: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Take in the runs as they are now, which have new verdicts, and to which studies they belong (run -> name)."""
        self.studies = studies
        self.runs = {run.id: run for run in runs}
        self.marks = {run: slot for run, slot in self.marks.items() if run in self.runs}
        for run in regraded:
            self._rates.pop(run, None)
        self._measure()

    def tally(self, run: str) -> RunTally | None:
        """Return what was counted of a run, if anything was."""
        return self._rates[run].tally if run in self._rates else None

    def _measure(self) -> None:
        rows = [self._row(run, bars=False) for run in self.runs.values()]
        self.longest = {name: max(cell_len(row[name]) for row in rows) for name in rows[0]} if rows else {}

    def outdated(self) -> list[Run]:
        """Return the runs whose rates have to be counted."""
        known = self._rates
        return [
            one for one in self.runs.values() if one.done and (one.id not in known or known[one.id].done != one.done)
        ]

    def counted(self, found: Iterable[Counted]) -> None:
        self._rates.update((one.run, one) for one in found)
        self._measure()

    def mark(self, run: str) -> None:
        """Mark a run, or take its mark away; one too many takes the place of the first."""
        if self.marks.pop(run, None) is not None:
            return
        if len(self.marks) == len(MARKS):
            del self.marks[next(iter(self.marks))]
        self.marks[run] = next(slot for slot in range(len(MARKS)) if slot not in self.marks.values())

    def rows(self, wanted: str, *, bars: bool) -> dict[str, RunCells]:
        """Return the rows by run that hold every wanted word, whatever the case, in order and in groups."""
        sought = comparable(wanted).split()
        rows = {run.id: self._row(run, bars) for run in self._ordered()}
        found = {i: row for i, row in rows.items() if all(_holds(row.values(), word) for word in sought)}
        grouping = self.arrangement.grouping
        if not grouping:
            return found
        groups: dict[str, dict[str, RunCells]] = {}
        for run, row in found.items():
            groups.setdefault(row[grouping], {})[run] = row
        grouped: dict[str, RunCells] = {}
        for name in sorted(groups):
            folded = name in self.arrangement.folded
            count = len(groups[name])
            runs = f"{count} run" if count == 1 else f"{count} runs"
            grouped[f"{GROUP}{name}"] = {"heading": f"{'▸' if folded else '▾'} {name}   {runs}"}
            grouped |= {} if folded else groups[name]
        return grouped

    def _ordered(self) -> list[Run]:
        runs = list(self.runs.values())
        order = self.arrangement.order
        if order == "created (UTC)":
            return runs[::-1] if self.arrangement.turned else runs
        falling = order in ("trials", "result")

        def key(run: Run) -> tuple[Any, ...]:
            match order:
                case "trials":
                    return (-run.done,)
                case "result":
                    value = self._rates[run.id].value if run.id in self._rates else None
                    return (value is None, -(value or 0.0))
                case "state":
                    return (run.state, run.name)
                case "model":
                    return (wording.model(run).casefold(),)
                case "experiment":
                    return (run.experiment,)
            return (run.name.casefold(),)

        found = sorted(runs, key=key)
        if self.arrangement.turned:
            known = [run for run in found if order != "result" or key(run)[0] is False]
            return [*reversed(known), *(run for run in found if run not in known)] if falling else found[::-1]
        return found

    def _row(self, run: Run, bars: bool) -> RunCells:
        known = self._rates.get(run.id)
        failed = f" ✗{run.errors}" if run.errors else ""
        bar = f"{wording.bar(run.done, run.planned, 6)} " if bars else ""
        slot = self.marks.get(run.id)
        return {
            "name": ("" if slot is None else f"{MARKS[slot]} ") + run.name,
            "state": wording.state(run),
            "trials": f"{bar}{run.done}/{run.planned}{failed}",
            **(known.rates if known else dict.fromkeys(RATES, "…" if run.done else "–")),
            "model": wording.model(run),
            "experiment": run.experiment,
            "study": self.studies.get(run.id, NO_STUDY),
            "created (UTC)": run.created[:16].replace("T", " "),
        }


def count(runs: Sequence[Run], store: Store) -> list[Counted]:
    """Return the rates of some runs with their intervals, for as many as are counted in a moment."""
    started = time.monotonic()
    found = []
    for run in runs:
        found.append(_figures(store, run))
        if time.monotonic() - started > _SECONDS:
            break
    return found


def _figures(store: Store, run: Run) -> Counted:
    try:
        tally = tally_of(store, run, GRADER)
    except (KnownError, ValueError) as error:
        # An experiment that is not installed here, or a study of another version.
        return Counted(run.id, run.done, {"result": NOT_KNOWN, "against": NOT_KNOWN, "more": str(error)})
    figures = tally.case.figures
    if not figures:
        return Counted(run.id, run.done, dict.fromkeys(RATES, NOT_KNOWN))
    first, base = figures[0], figures[0].figure.baseline
    more = [f"{one.figure.label} {head_text.counted(one)}" for one in figures[1:]]
    rates = {
        "result": f"{first.figure.label} {head_text.counted(first)}",
        "against": f"{base.label} {head_text.counted(tally.baseline.figures[0])}" if base is not None else NOT_KNOWN,
        "more": "; ".join(more) or NOT_KNOWN,
    }
    return Counted(run.id, run.done, rates, first.value.value, tally)


def _holds(texts: Iterable[str], word: str) -> bool:
    return any(word in comparable(text) for text in texts)
