"""Values per concept, their means with intervals and tests, and intervals of sums of independent estimates."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mlxintro.analysis.contrasts import NOTHING
from mlxintro.analysis.head_figures import Display, HeadFigure
from mlxintro.analysis.results import Row
from mlxintro.analysis.stats import Difference, Mean, Rate
from mlxintro.analysis.tally import FigureTally
from mlxintro.store.records import Run


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """Holds a run as comparisons see it."""

    run: Run
    display: Display
    rows: Sequence[Row]
    size: float | None = None
    """Parameters in billions; ``None`` where it is not known."""

    @property
    def layers(self) -> int:
        """Tell how many layers the model has."""
        return int(self.run.model.get("layers") or 1)


class ConceptTotal(NamedTuple):
    """Adds up the trials of one concept."""

    total: float
    trials: int

    @property
    def mean(self) -> float:
        """Return the concept's mean."""
        return self.total / self.trials


def concept_totals(
    rows: Iterable[Row], value: Callable[[Row], float | None], keep: Callable[[Row], bool] = lambda row: True
) -> dict[str, ConceptTotal]:
    """Add up what trials contribute, by concept; a row that stands for several trials counts as often."""
    found: dict[str, ConceptTotal] = {}
    for row in rows:
        if row.concept and keep(row) and (one := value(row)) is not None:
            before = found.get(row.concept, ConceptTotal(0.0, 0))
            found[row.concept] = ConceptTotal(before.total + one * row.times, before.trials + row.times)
    return found


def case_totals(
    figure: HeadFigure, rows: Iterable[Row], keep: Callable[[Row], bool] = lambda row: True
) -> dict[str, ConceptTotal]:
    """Add up what the trials in question contribute to a head figure, by concept."""
    return concept_totals(rows, figure.value, lambda row: figure.case.holds(row) and keep(row))


def total(
    figure: HeadFigure, rows: Iterable[Row], *, baseline: bool = False, keep: Callable[[Row], bool] = lambda row: True
) -> Rate | Mean:
    """Return a head figure over all trials in question, or over those it is set against."""
    group = figure.baseline if baseline else figure.case
    tally = FigureTally(figure)
    for row in rows:
        if group is not None and group.holds(row) and keep(row):
            tally.add(row, row.times)
    return tally.value


@dataclass(frozen=True, slots=True)
class Tested:
    """Holds a mean over concepts with its interval and a two-sided p value."""

    mean: Mean
    p: float | None
    """Two-sided p value that the mean is 0; ``None`` with fewer than two concepts."""


def mean_tested(numbers: Sequence[float]) -> Tested:
    """Test that a mean over concepts is 0: Student's t, interval and test by statsmodels' ``DescrStatsW``.

    Where all concepts show the very same value there is no spread to test with: the sign test bounds the p value, and
    there is no interval.
    """
    # What is left of equal numbers after a subtraction is no difference.
    values = [0.0 if abs(number) < NOTHING else number for number in numbers]
    if len(values) < 2:
        return Tested(Mean(values[0], None, None, 1) if values else Mean(None, None, None, 0), None)
    if statistics.pstdev(values) <= 1e-12 * max(1.0, max(map(abs, values))):
        p = 1.0 if values[0] == 0 else min(1.0, 2 * 0.5 ** len(values))
        return Tested(Mean(values[0], None, None, len(values)), p)
    from statsmodels.stats.weightstats import DescrStatsW

    found = DescrStatsW(values)
    low, high = found.tconfint_mean()
    return Tested(Mean(float(found.mean), float(low), float(high), len(values)), float(found.ttest_mean()[1]))


@dataclass(frozen=True, slots=True)
class Combined:
    """Holds a weighted sum of independent estimates with its interval."""

    value: float
    low: float
    high: float

    def as_difference(self) -> Difference:
        """Return it as a difference of rates; its interval is cut where rates cannot reach."""
        return Difference(self.value, self.low, self.high)


def combined(parts: Sequence[tuple[float, float, float, float]]) -> Combined:
    """Add up independent estimates, by the method of variance estimates recovery.

    Distances from each estimate to the ends of its own interval take the place of standard errors, so the interval is
    as good at 0 % and 100 % as Wilson's. Source: Zou, Huang and Zhang 2009, "A note on confidence interval estimation
    for a linear function of binomial proportions", Computational Statistics & Data Analysis 53.

    Args:
        parts: for each estimate its weight, value, lower and upper end.
    """
    value = math.fsum(weight * middle for weight, middle, _, _ in parts)
    below = above = 0.0
    for weight, middle, low, high in parts:
        down, up = weight * (middle - low), weight * (high - middle)
        if weight < 0:
            down, up = -up, -down
        below, above = below + down * down, above + up * up
    return Combined(value, value - math.sqrt(below), value + math.sqrt(above))


def estimate(value: Rate | Mean | Difference) -> tuple[float, float, float] | None:
    """Return value and ends of an estimate; ``None`` where it is unknown or has no interval."""
    if value.value is None or value.low is None or value.high is None:
        return None
    return value.value, value.low, value.high
