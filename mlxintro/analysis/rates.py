"""Rates of a run and of its cells from counts, for displays that refresh while it goes on.

The definitions are the grader's (``Grade.detects``, ``Grade.success``); ``mlxintro.statistics`` makes the full summary.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from mlxintro.analysis import stats
from mlxintro.analysis.stats import Rate
from mlxintro.grading.base import Grade
from mlxintro.store.grades import VerdictCount

Cell = tuple[int | None, float | None]
"""Layer and strength."""

_rate = lru_cache(maxsize=10_000)(stats.rate)
"""An interval takes a tenth of a millisecond, and displays ask for the same hundreds of them every second."""


@dataclass(slots=True)
class LiveTally:
    """Counts of some trials."""

    trials: int = 0
    decided: int = 0
    detected: int = 0
    nameable: int = 0
    """Decided, and if detected then it is also decided whether the concept is named."""
    identified: int = 0

    def add(self, count: VerdictCount) -> None:
        self.trials += count.trials
        grade = Grade(
            affirms=count.affirms,
            identifies=count.identifies,
            named_before_affirming=count.named_before_affirming,
            coherent=count.coherent,
            refuses=count.refuses,
            abstained=count.abstained,
        )
        if not count.graded or grade.detects is None:
            return
        self.decided += count.trials
        self.detected += count.trials * (grade.detects is True)
        self.nameable += count.trials * (grade.detects is False or grade.success is not None)
        self.identified += count.trials * (grade.detects is True and grade.success is True)

    @property
    def detection(self) -> Rate:
        return _rate(self.detected, self.decided)

    @property
    def identification(self) -> Rate:
        return _rate(self.identified, self.nameable)


@dataclass(frozen=True, slots=True)
class RunRates:
    injected: LiveTally
    controls: LiveTally
    cells: dict[Cell, LiveTally]
    """Injected trials by layer and strength."""


def run_rates(counts: Iterable[VerdictCount]) -> RunRates:
    """Add counts up."""
    injected, controls = LiveTally(), LiveTally()
    cells: dict[Cell, LiveTally] = defaultdict(LiveTally)
    for count in counts:
        if count.condition == "injected":
            injected.add(count)
            cells[count.layer, count.strength].add(count)
        else:
            controls.add(count)
    return RunRates(injected, controls, dict(cells))
