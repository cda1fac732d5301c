"""Head figures over the size of models, with the trend that ``mlxintro compare`` tests drawn through them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from mlxintro.analysis.across.sizes import FEWEST_SIZES, Trend, have_sizes, trends
from mlxintro.analysis.across.tables import compared, size_of
from mlxintro.analysis.across.units import ComparedRun, case_totals
from mlxintro.analysis.head_figures import HeadFigure
from mlxintro.backends.errors import UsageError
from mlxintro.rendering.figures.panels import FittedLine, LinePanel, Measured, PaperFigure, PlottedPoint, Series
from mlxintro.rendering.figures.rates import UNITS, Drawn, chosen, intervals


def by_size(runs: Sequence[Drawn], names: Sequence[str]) -> PaperFigure:
    """Draw every run's head figures, over all its cells, over the parameters of its model on a logarithmic axis.

    With three sizes or more, the least-squares line over log2 size stands in each panel with its test.

    Raises:
        UsageError: unknown figures, runs without a known size, or all of one size.
    """
    sizes = [None if run.run is None else size_of(run.run) for run in runs]
    unknown = [run.label for run, size in zip(runs, sizes, strict=True) if not size]
    if unknown:
        raise UsageError(f"the size of {unknown[0]} is not known: leave it out, or give another --x", setting="x")
    known = [size for size in sizes if size]
    if len(set(known)) < 2:
        raise UsageError(f"every run has {known[0]:.3g} billion parameters: give runs of other models", setting="x")
    order = sorted(range(len(runs)), key=lambda at: known[at])
    ordered, places = [runs[at] for at in order], [known[at] for at in order]
    both = compared([(run.run, run.rows) for run in ordered if run.run is not None], places)
    found = {trend.label: trend for trend in trends(both)} if have_sizes(both) else {}
    figures = ordered[0].tally.display.figures
    panels = [_panel(ordered, places, number, figures[number], both, found) for number in chosen(runs, names)]
    kept = tuple(panel for panel in panels if panel.lines)
    if not kept:
        raise UsageError("nothing of these runs is finished: run them first")
    return PaperFigure("rates", kept, _caption(ordered, kept, found))


def _panel(
    runs: Sequence[Drawn],
    sizes: Sequence[float],
    number: int,
    figure: HeadFigure,
    both: Sequence[ComparedRun],
    found: dict[str, Trend],
) -> LinePanel:
    lines, fits = [], []
    for side, group in enumerate(figure.groups):
        tallies = [(run.tally.case if side == 0 else run.tally.baseline).figures[number] for run in runs]
        values = [Measured.of(one.value) for one in tallies]
        spots = tuple(PlottedPoint(x, one) for x, one in zip(sizes, values, strict=True) if one is not None)
        if not spots:
            continue
        lines.append(Series(group.label, spots, side))
        trend = found.get(f"{figure.label}, {group.label}")
        if trend is not None and trend.slope.value is not None:
            middle = (
                _concept_level(figure, both) if side == 0 else math.fsum(s.measured.value for s in spots) / len(spots)
            )
            fits.append(_fitted(trend, sizes, middle, side))
    return LinePanel(
        figure.label,
        "parameters (log scale)",
        UNITS[figure.kind],
        tuple(lines),
        share=figure.kind == "rate",
        ticks=_ticks(runs, sizes),
        fits=tuple(fits),
    )


def _concept_level(figure: HeadFigure, both: Sequence[ComparedRun]) -> float:
    """Return the mean over models of the mean rate over the concepts that all of them have."""
    totals = [case_totals(figure, run.rows) for run in both]
    words = set(totals[0]).intersection(*totals[1:])
    means = [math.fsum(of_run[word].mean for word in words) / len(words) for of_run in totals]
    return math.fsum(means) / len(means)


def _fitted(trend: Trend, sizes: Sequence[float], middle: float, order: int) -> FittedLine:
    slope = trend.slope
    logs = [math.log2(size) for size in sizes]
    centre = math.fsum(logs) / len(logs)
    ends = [(size, middle + (slope.value or 0.0) * (math.log2(size) - centre)) for size in (sizes[0], sizes[-1])]
    p = "" if trend.p is None else f", p = {trend.p:.2g}"
    value, low, high = (100 * (end or 0.0) for end in (slope.value, slope.low, slope.high))
    label = f"{trend.label}: {value:+.1f} points per doubling ({low:+.1f} to {high:+.1f}{p})"
    return FittedLine(label, (ends[0], ends[1]), order)


def _ticks(runs: Sequence[Drawn], sizes: Sequence[float]) -> tuple[tuple[float, str], ...]:
    """Return a tick for each size, with the models that have it."""
    at: dict[float, list[str]] = defaultdict(list)
    for run, size in zip(runs, sizes, strict=True):
        at[size].append(run.label)
    return tuple((size, "\n".join([*names, _short(size)])) for size, names in at.items())


def _short(size: float) -> str:
    """Return a number of parameters in billions as people write it (135M, 1.5B)."""
    if size < 1e-3:
        return f"{size * 1e6:.3g}K"
    return f"{size * 1e3:.3g}M" if size < 1 else f"{size:.3g}B"


def _caption(runs: Sequence[Drawn], panels: Sequence[LinePanel], found: dict[str, Trend]) -> str:
    shown = " and ".join(panel.title for panel in panels)
    who = ", ".join(run.label for run in runs)
    experiment = runs[0].run.experiment if runs[0].run else ""
    counts = [trend.concepts for trend in found.values() if trend.concepts]
    line = (
        f" Thin lines: least squares over log2 size; injected, the mean of {counts[0]} concepts' slopes with Student's "
        "interval over concepts, without an injection the trend test of Cochran and Armitage. Models are few and "
        "chosen: the trend is about these."
        if counts
        else f" A trend takes {FEWEST_SIZES} sizes or more."
        if len({*_sizes(panels)}) < FEWEST_SIZES
        else ""
    )
    what = f"{shown[:1].upper()}{shown[1:]} by parameters"
    said = f"{what}, over all layers and strengths of each run: {who} ({experiment})."
    return f"{said} {intervals(panels)}{line}"


def _sizes(panels: Sequence[LinePanel]) -> list[float]:
    return [spot.x for panel in panels for line in panel.lines for spot in line.spots]
