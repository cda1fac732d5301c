"""Two runs as a pair: base and instruct, plain and with an adapter, two dialogue formats; concept by concept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mlxintro.analysis.across.units import (
    ComparedRun,
    Tested,
    case_totals,
    combined,
    estimate,
    mean_tested,
    total,
)
from mlxintro.analysis.head_figures import HeadFigure
from mlxintro.analysis.results import Cell, Row, Table
from mlxintro.analysis.stats import Difference, Rate, difference

NOTE = (
    "concepts as the units: each concept's rate in one run minus its rate in the first, over the cells both runs "
    "have; Student's interval and two-sided test (statsmodels DescrStatsW). Where all concepts differ by the "
    "same: Newcombe's interval over trials, sign test. False alarms have no concept: Newcombe's interval, score "
    "test (statsmodels proportions_ztest). Net: the difference of the differences, interval after Zou, Huang and "
    "Zhang 2009"
)


@dataclass(frozen=True, slots=True)
class Paired:
    """Says how one figure differs between two runs."""

    label: str
    gap: Difference
    concepts: int | None
    """Number of concepts in both runs; ``None`` for what has no concept."""
    p: float | None


def paired(first: ComparedRun, later: ComparedRun) -> list[Paired]:
    """Compare the head figures of two runs of one experiment that are rates; ``later`` minus ``first``."""
    found = []
    for figure in first.display.figures:
        if figure.kind != "rate":
            continue
        gap = _by_concept(figure, first, later)
        if gap is None:
            continue
        at = f"{figure.label}, {figure.case.label}"
        found.append(Paired(at, _points(gap), gap.mean.count, gap.p))
        if figure.baseline is not None:
            found += _against(figure, gap, first, later)
    return found


def _by_concept(figure: HeadFigure, first: ComparedRun, later: ComparedRun) -> Tested | None:
    keep = _shared_cells(first.rows, later.rows)
    one, two = (case_totals(figure, run.rows, keep) for run in (first, later))
    words = {word for word in one if word in two}
    if not words:
        return None
    gap = mean_tested([two[word].mean - one[word].mean for word in one if word in words])
    if gap.mean.low is not None:
        return gap
    # Every concept shows the same: the interval over trials stands in for the one over concepts.
    totals = [total(figure, run.rows, keep=lambda row: keep(row) and row.concept in words) for run in (later, first)]
    later_rate, first_rate = (one for one in totals if isinstance(one, Rate))
    wide = difference(later_rate, first_rate)
    return replace(gap, mean=replace(gap.mean, low=wide.low, high=wide.high))


def _shared_cells(one: Sequence[Row], two: Sequence[Row]) -> Callable[[Row], bool]:
    """Keep what both runs did at the same layer and strength; everything where they share no cell."""
    places = [
        {(row.layer, row.strength) for row in rows if not row.arm and row.layer is not None} for rows in (one, two)
    ]
    shared = places[0] & places[1]
    return lambda row: not shared or (row.layer, row.strength) in shared


def _points(gap: Tested) -> Difference:
    low, high = gap.mean.low, gap.mean.high
    return Difference(gap.mean.value, -1.0 if low is None else max(-1.0, low), 1.0 if high is None else min(1.0, high))


def _against(figure: HeadFigure, gap: Tested, first: ComparedRun, later: ComparedRun) -> list[Paired]:
    """Compare what the figure is set against, and the difference of both differences."""
    assert figure.baseline is not None
    alarms = [total(figure, run.rows, baseline=True) for run in (first, later)]
    if not all(isinstance(one, Rate) and one.trials for one in alarms):
        return []
    before, after = (one for one in alarms if isinstance(one, Rate))
    change = difference(after, before)
    found = [Paired(f"{figure.label}, {figure.baseline.label}", change, None, _score_test(after, before))]
    injected, without = estimate(gap.mean), estimate(change)
    if injected and without:
        net = combined([(1.0, *injected), (-1.0, *without)])
        found.append(Paired(f"{figure.label}, net of {figure.baseline.label}", net.as_difference(), None, None))
    return found


def _score_test(one: Rate, two: Rate) -> float:
    if one.successes + two.successes in (0, one.trials + two.trials):
        return 1.0
    from statsmodels.stats.proportion import proportions_ztest

    return float(proportions_ztest([one.successes, two.successes], [one.trials, two.trials])[1])


def pair_table(first: ComparedRun, later: ComparedRun) -> Table:
    """Return the comparison of a pair as a table; without rows where they share no concept."""
    rows: list[tuple[Cell, ...]] = [
        (one.label, one.gap, one.concepts, None if one.p is None else f"{one.p:.2g}") for one in paired(first, later)
    ]
    title = f"{later.run.name} minus {first.run.name}, paired by concept"
    return Table(f"paired_{later.run.name}", title, ("figure", "difference", "concepts", "p"), tuple(rows), NOTE)
