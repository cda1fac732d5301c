"""Panels of lines with their intervals, and of dots side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlxintro.rendering.figures.panels import DotPanel, LinePanel, Measured
from mlxintro.rendering.figures.style import stroke

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SPREAD = 0.012
"""By which share of the axis lines are set apart, so that equal ones do not hide each other."""

_CROWDED = 8
"""Lines from which on bars are drawn thin."""


def draw_lines(axes: Axes, panel: LinePanel, _width: float) -> None:
    """Draw every line with a bar at every point, and what it is set against dotted."""
    factor = 100.0 if panel.share else 1.0
    crowded = len(panel.lines) > _CROWDED
    fitted = {fit.order for fit in panel.fits}
    xs = sorted({spot.x for line in panel.lines for spot in line.spots})
    reach = (xs[-1] - xs[0]) if len(xs) > 1 else 1.0
    for at, line in enumerate(panel.lines):
        shift = (at - (len(panel.lines) - 1) / 2) * min(_SPREAD, 0.06 / len(panel.lines)) * reach
        look = stroke(line.order)
        places = [spot.x * 2.0 ** (shift / reach) if panel.ticks else spot.x + shift for spot in line.spots]
        values = [factor * spot.measured.value for spot in line.spots]
        axes.errorbar(
            places,
            values,
            yerr=_bars([spot.measured for spot in line.spots], factor),
            color=look.colour,
            linestyle="none" if line.order in fitted else look.dash,
            marker=look.marker,
            label=line.label,
            capsize=0 if crowded else 1.5,
            elinewidth=0.3 if crowded else 0.6,
        )
    for fit in panel.fits:
        (first, one), (last, two) = fit.ends
        look = stroke(fit.order)
        ends = [factor * one, factor * two]
        axes.plot([first, last], ends, color=look.colour, linestyle=look.dash, linewidth=0.8, label=fit.label)
    for level in panel.levels:
        colour = "#666666" if level.order is None else stroke(level.order).colour
        measured = level.measured
        axes.axhline(factor * measured.value, color=colour, linestyle=":", linewidth=1.0, label=level.label)
        if level.order is None and measured.low is not None and measured.high is not None:
            axes.axhspan(factor * measured.low, factor * measured.high, color="#666666", alpha=0.15, linewidth=0)
    if panel.share:
        axes.set_ylim(-3, 103)
        axes.set_yticks([0, 25, 50, 75, 100])
    else:
        axes.axhline(0, color="#999999", linewidth=0.5, zorder=0)
    axes.grid(axis="y", color="#dddddd", linewidth=0.4)
    axes.set_axisbelow(True)
    axes.set_xlabel(panel.x)
    if panel.ticks:
        _mark_names(axes, panel)
    else:
        _mark_xs(axes, xs, panel.depth)
    axes.set_ylabel(panel.y)
    axes.set_title(panel.title, loc="left")


def draw_dots(axes: Axes, panel: DotPanel, _width: float) -> None:
    """Draw a row for each figure and a mark in it for each run."""
    factor = 100.0 if panel.share else 1.0
    for at, line in enumerate(panel.lines):
        look = stroke(line.order)
        shift = (at - (len(panel.lines) - 1) / 2) * min(0.18, 0.7 / len(panel.lines))
        axes.errorbar(
            [factor * spot.measured.value for spot in line.spots],
            [spot.x + shift for spot in line.spots],
            xerr=_bars([spot.measured for spot in line.spots], factor),
            color=look.colour,
            linestyle="none",
            marker=look.marker,
            label=line.label,
            capsize=1.5,
            elinewidth=0.8,
        )
    axes.set_yticks(range(len(panel.rows)), panel.rows)
    axes.set_ylim(len(panel.rows) - 0.5, -0.5)
    if panel.share:
        axes.set_xlim(-3, 103)
    else:
        axes.axvline(0, color="#999999", linewidth=0.5, zorder=0)
    axes.grid(axis="x", color="#dddddd", linewidth=0.4)
    axes.set_axisbelow(True)
    axes.set_xlabel(panel.x)


def _bars(values: Sequence[Measured], factor: float) -> list[list[float]]:
    """Return the lengths of the bars below and above every value; none where there is no interval."""
    below = [0.0 if one.low is None else max(0.0, factor * (one.value - one.low)) for one in values]
    above = [0.0 if one.high is None else max(0.0, factor * (one.high - one.value)) for one in values]
    return [below, above]


def _mark_names(axes: Axes, panel: LinePanel) -> None:
    """Put the names of what is measured under a logarithmic axis, aslant so that long ones do not meet."""
    places = [place for place, _ in panel.ticks]
    axes.set_xscale("log", base=2)
    axes.set_xlim(places[0] / 1.25, places[-1] * 1.25)
    axes.set_xticks([], minor=True)
    axes.set_xticks(places, [name for _, name in panel.ticks], rotation=30, ha="right", rotation_mode="anchor")


def _mark_xs(axes: Axes, xs: Sequence[float], depth: bool) -> None:
    """Put ticks where there are points, as long as they can be read; in logarithmic steps where points are."""
    if depth:
        axes.set_xlim(-0.03, 1.03)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    elif len(xs) >= 3 and xs[0] > 0 and xs[-1] / xs[0] >= 8:
        axes.set_xscale("log")
        axes.set_xticks([], minor=True)
        axes.set_xticks(xs, [f"{x:g}" for x in xs])
    elif len(xs) <= 8:
        axes.set_xticks(xs, [f"{x:.2g}" if x < 1 else f"{x:g}" for x in xs])
