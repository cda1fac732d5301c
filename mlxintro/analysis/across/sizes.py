"""Trend over the size of models: by how much a rate changes with every doubling of the parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
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
from mlxintro.analysis.results import Cell, Table
from mlxintro.analysis.stats import Difference, Rate, rate

FEWEST_SIZES = 3
NOTE = (
    "change of the rate with every doubling of the parameters, in points. Injected: each concept's slope over "
    "log2 size, Student's interval and two-sided test over concepts (statsmodels DescrStatsW). False alarms: "
    "interval after Zou, Huang and Zhang 2009, trend test of Cochran and Armitage (statsmodels Table). Models are"
    " few and chosen, so this is about these models, not about size as such"
)


@dataclass(frozen=True, slots=True)
class Trend:
    """Says how one figure changes with size."""

    label: str
    slope: Difference
    """Change with every doubling of the parameters, as a difference of rates."""
    concepts: int | None
    """Number of concepts in every run; ``None`` for what has no concept."""
    p: float | None


def have_sizes(runs: Sequence[ComparedRun]) -> bool:
    """Tell whether there are enough sizes for a trend."""
    sizes = [run.size for run in runs]
    return all(size for size in sizes) and len(set(sizes)) >= FEWEST_SIZES


def why_no_trend(runs: Sequence[ComparedRun], *, asked: bool = False) -> str | None:
    """Say what a trend over size is missing.

    Args:
        asked: a trend was asked for; otherwise models of one size, or of unknown ones, are no occasion to speak of it.

    Returns:
        A sentence; ``None`` where there is a trend.
    """
    known = sorted({run.size for run in runs if run.size})
    if have_sizes(runs) or (len(known) < 2 and not asked):
        return None
    unknown = ", ".join(run.run.name for run in runs if not run.size)
    if unknown:
        return f"no trend over size: how large the models of {unknown} are is not known; say so by --sizes"
    sizes = ", ".join(f"{size:.3g}B" for size in known)
    return f"no trend over size: it takes {FEWEST_SIZES} sizes or more, and these models have {len(known)} ({sizes})"


def trends(runs: Sequence[ComparedRun]) -> list[Trend]:
    """Return the trend of every head figure that is a rate, of what it is set against, and of the net rate."""
    weights = _weights(runs)
    found = []
    for figure in runs[0].display.figures:
        if figure.kind != "rate":
            continue
        slopes = concept_slopes(figure, runs)
        if not slopes:
            continue
        slope = mean_tested([one.value or 0.0 for one in slopes.values()])
        if slope.mean.low is None:
            # Every concept shows the same: the interval over trials stands in for the one over concepts.
            wide = _over_trials(figure, runs, weights, slopes.keys())
            if wide is not None:
                slope = replace(slope, mean=replace(slope.mean, low=wide.low, high=wide.high))
        found.append(Trend(f"{figure.label}, {figure.case.label}", _points(slope), len(slopes), slope.p))
        if figure.baseline is not None:
            found += _against(figure, slope, runs, weights)
    return found


def _over_trials(
    figure: HeadFigure, runs: Sequence[ComparedRun], weights: Sequence[float], words: Set[str]
) -> Difference | None:
    totals = [total(figure, run.rows, keep=lambda row: row.concept in words) for run in runs]
    return _slope(weights, [one for one in totals if isinstance(one, Rate)])


def concept_slopes(figure: HeadFigure, runs: Sequence[ComparedRun]) -> dict[str, Difference]:
    """Return each concept's slope with its interval, for concepts that are in every run."""
    weights = _weights(runs)
    values = [case_totals(figure, run.rows) for run in runs]
    slopes = {}
    for word in values[0]:
        if all(word in of_run for of_run in values):
            rates = [rate(round(of_run[word].total), of_run[word].trials) for of_run in values]
            found = _slope(weights, rates)
            if found is not None:
                slopes[word] = found
    return slopes


def _weights(runs: Sequence[ComparedRun]) -> list[float]:
    """Return the weights with which a least-squares slope over log2 size adds up the runs' values."""
    xs = [math.log2(run.size or 1.0) for run in runs]
    middle = math.fsum(xs) / len(xs)
    spread = math.fsum((x - middle) ** 2 for x in xs)
    return [(x - middle) / spread for x in xs]


def _slope(weights: Sequence[float], rates: Sequence[Rate]) -> Difference | None:
    estimates = [estimate(one) for one in rates if one.trials]
    if len(estimates) < len(weights):
        return None
    known = [one for one in estimates if one is not None]
    return combined([(w, *one) for w, one in zip(weights, known, strict=True)]).as_difference()


def _points(slope: Tested) -> Difference:
    low, high = slope.mean.low, slope.mean.high
    return Difference(slope.mean.value, -1.0 if low is None else low, 1.0 if high is None else high)


def _against(figure: HeadFigure, slope: Tested, runs: Sequence[ComparedRun], weights: Sequence[float]) -> list[Trend]:
    assert figure.baseline is not None
    alarms = [one for run in runs if isinstance(one := total(figure, run.rows, baseline=True), Rate) and one.trials]
    if len(alarms) < len(runs):
        return []
    change = _slope(weights, alarms)
    if change is None:
        return []
    found = [Trend(f"{figure.label}, {figure.baseline.label}", change, None, _cochran_armitage(runs, alarms))]
    injected, without = estimate(slope.mean), estimate(change)
    if injected and without:
        net = combined([(1.0, *injected), (-1.0, *without)])
        found.append(Trend(f"{figure.label}, net of {figure.baseline.label}", net.as_difference(), None, None))
    return found


def _cochran_armitage(runs: Sequence[ComparedRun], rates: Sequence[Rate]) -> float:
    hits, trials = sum(one.successes for one in rates), sum(one.trials for one in rates)
    if hits in (0, trials):
        return 1.0
    import numpy as np
    from statsmodels.stats.contingency_tables import Table as Counts

    counts = np.array([[one.trials - one.successes, one.successes] for one in rates], dtype=float)
    scores = np.array([math.log2(run.size or 1.0) for run in runs])
    found = Counts(counts, shift_zeros=False).test_ordinal_association(
        row_scores=scores, col_scores=np.array([0.0, 1.0])
    )
    return float(found.pvalue)


def trend_table(runs: Sequence[ComparedRun]) -> Table:
    """Return the trends as a table."""
    rows: list[tuple[Cell, ...]] = [
        (one.label, one.slope, one.concepts, None if one.p is None else f"{one.p:.2g}") for one in trends(runs)
    ]
    sizes = ", ".join(f"{run.size:.3g}B" for run in runs)
    return Table("trend", f"Trend over size ({sizes})", ("figure", "per doubling", "concepts", "p"), tuple(rows), NOTE)


def concept_table(runs: Sequence[ComparedRun]) -> Table:
    """Return each concept's slope of the first head figure, the steepest first."""
    figure = runs[0].display.figures[0]
    slopes = sorted(concept_slopes(figure, runs).items(), key=lambda item: -(item[1].value or 0.0))
    title = f"Trend over size by concept: {figure.label}, {figure.case.label}"
    note = "per doubling of the parameters, interval after Zou, Huang and Zhang 2009"
    return Table("trend_by_concept", title, ("concept", "per doubling"), tuple(slopes), note)
