"""Curves of several runs on shared axes, one kind of curve at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content

from mlxintro.analysis.results import Curve, Plot

from ..reading import wording
from ..reading.curve_marks import MARKS
from ..reading.run_results import Findings
from ..shell.error_border import Popup
from ..widgets.curves import CurvePlot
from ..widgets.text import Text


@dataclass(frozen=True, slots=True)
class SharedPlot:
    """Holds one kind of curve of several runs."""

    plot: Plot
    slots: tuple[int, ...]
    """Numbers of the marks of the curves' runs."""


def shared_plots(found: Sequence[tuple[Findings, int]]) -> list[SharedPlot]:
    """Return every kind of curve that any of the runs has, those that most runs have first."""
    kinds: dict[tuple[str, str], list[tuple[Plot, Curve, int]]] = {}
    for findings, slot in found:
        for plot in findings.analysis.plots:
            for curve in plot.curves:
                if curve.points:
                    renamed = Curve(findings.run.name, curve.points)
                    kinds.setdefault((plot.title, curve.label), []).append((plot, renamed, slot))
    order = sorted(kinds.items(), key=lambda item: -len(item[1]))
    return [
        SharedPlot(
            Plot(of[0][0].name, f"{title}: {label}", of[0][0].x, of[0][0].y, tuple(curve for _, curve, _ in of)),
            tuple(slot for *_, slot in of),
        )
        for (title, label), of in order
    ]


class Overlay(Popup[None]):
    """Draws the curves; the arrow keys go from one kind to the next."""

    HELP = (
        "Curves of the marked runs on shared axes; the vertical line through a mark is its 95 % interval. A run keeps "
        "the mark and the colour it has in the list. Left and right show another kind of curve."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,n", "turn(1)", "Next", id="overlay.next", tooltip="The next kind of curve"),
        Binding("left,p", "turn(-1)", "Previous", id="overlay.previous", tooltip="The kind of curve before"),
        Binding("escape,q", "dismiss", "Close", id="overlay.close"),
    ]

    def __init__(self, found: Sequence[tuple[Findings, int]]) -> None:
        super().__init__()
        self._plots = shared_plots(found)
        self._missing = [one.run.name for one, _ in found if not shared_plots([(one, 0)])]
        self._at = 0

    def compose(self) -> ComposeResult:
        with Vertical(id="overlay"):
            yield Text(id="overlay-legend")

    def on_mount(self) -> None:
        self._draw()

    def action_turn(self, by: int) -> None:
        if self._plots:
            self._at = (self._at + by) % len(self._plots)
            self._draw()

    def _draw(self) -> None:
        box, legend = self.query_one("#overlay"), self.query_one("#overlay-legend", Text)
        box.border_title = "curves of the marked runs"
        self.query(CurvePlot).remove()
        if not self._plots:
            legend.update("None of these runs has a curve: they vary neither layer nor strength.")
            return
        shared = self._plots[self._at]
        lines = [f"{shared.plot.title}   ({self._at + 1} of {len(self._plots)}, left and right)"]
        lines.append(
            "   ".join(
                f"{MARKS[slot]} {curve.label}" for curve, slot in zip(shared.plot.curves, shared.slots, strict=True)
            )
        )
        if self._missing:
            lines.append(f"without curves: {', '.join(self._missing)}")
        legend.update(Content(wording.plain("\n".join(lines))))
        box.mount(CurvePlot(shared.plot, shared.slots))
