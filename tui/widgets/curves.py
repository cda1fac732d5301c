"""Curves with their intervals. Each has a mark of its own, so that they can be told apart without colours."""

from __future__ import annotations

from collections.abc import Sequence

from textual_plotext import PlotextPlot

from mlxintro.analysis.results import Plot

from ..reading.curve_marks import MARKS

_APART = 0.012
"""By how much of the axis curves are moved aside, so that their intervals do not hide each other."""
_MARGIN = 0.05


def legend(plot: Plot) -> str:
    """Return the title, and which mark is which curve."""
    marks = "   ".join(f"{MARKS[number % len(MARKS)]} {curve.label}" for number, curve in enumerate(plot.curves))
    return f"{plot.title} (vertical lines: 95 % intervals)\n{marks}"


class CurvePlot(PlotextPlot):
    """Draws one plot; a vertical line through a mark is its interval."""

    def __init__(self, plot: Plot, slots: Sequence[int] = ()) -> None:
        """Args:
        plot: its curves.
        slots: number of each curve's mark and colour; in the order of the curves when there are none.
        """
        super().__init__()
        places = sorted({point.x for curve in plot.curves for point in curve.points})
        bounds = [
            value
            for curve in plot.curves
            for point in curve.points
            for value in (point.y, point.low, point.high)
            if value is not None
        ]
        spread = (places[-1] - places[0] if len(places) > 1 else 1.0) or 1.0
        plt = self.plt
        for number, curve in enumerate(plot.curves):
            aside = spread * _APART * (number - (len(plot.curves) - 1) / 2)
            slot = slots[number] if slots else number
            mark, color = MARKS[slot % len(MARKS)], slot % len(MARKS) + 1
            for point in curve.points:
                if point.low is not None and point.high is not None:
                    x = point.x + aside
                    plt.plot([x, x], [point.low, point.high], marker="│", color=color)
            xs = [point.x + aside for point in curve.points]
            plt.plot(xs, [point.y for point in curve.points], marker="·", color=color)
            plt.scatter(xs, [point.y for point in curve.points], marker=mark, color=color)
        if bounds and min(bounds) >= 0 and max(bounds) <= 1:
            plt.ylim(0, 1)
        if places:
            plt.xlim(places[0] - spread * _MARGIN, places[-1] + spread * _MARGIN)
            step = max(1, -(-len(places) // 12))
            plt.xticks(places[::step], [f"{place:g}" for place in places[::step]])
        plt.xlabel(plot.x)
        plt.ylabel(plot.y)
