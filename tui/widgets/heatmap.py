"""Layer by strength as numbers and shades: legible without colour, and over any terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.containers import ScrollableContainer
from textual.content import Content

from mlxintro.analysis.rates import Cell, LiveTally
from mlxintro.rendering.text import downwards, shade

from .text import Text

_LEAST = 13
"""Columns of a cell; more where many trials are planned."""


@dataclass(frozen=True, slots=True)
class RateGrid:
    layers: Sequence[int]
    strengths: Sequence[float]
    cells: dict[Cell, LiveTally]
    planned: int
    """Trials per cell; 0 when it is not known."""
    unit: str


def draw(grid: RateGrid) -> Content:
    """A line per layer, a column per strength: shade, detections in percent, trials done of those planned."""
    values = {cell: _value(tally) for cell, tally in grid.cells.items()}
    cells = {
        (layer, strength): _cell(grid.cells.get((layer, strength)), values.get((layer, strength)), grid.planned)
        for layer in grid.layers
        for strength in grid.strengths
    }
    width = max(_LEAST, 2 + max(map(len, cells.values())))
    head = f"{'layer':>6} " + "".join(f"{f'x{strength:g} {grid.unit}':>{width}}" for strength in grid.strengths)
    lines = [Content.styled(head, "bold")]
    best = max((value or 0.0 for value in values.values()), default=0.0)
    for layer in downwards(grid.layers):
        parts = [Content.styled(f"{layer:>6} ", "bold")]
        for strength in grid.strengths:
            value = values.get((layer, strength))
            style = "bold $accent" if value and value == best else "$accent" if value else "dim"
            parts.append(Content.styled(cells[layer, strength].rjust(width), style))
        lines.append(Content.assemble(*parts))
    return Content("\n").join(lines)


def _value(tally: LiveTally) -> float | None:
    return tally.detected / tally.decided if tally.decided else None


def _cell(tally: LiveTally | None, value: float | None, planned: int) -> str:
    done = tally.trials if tally else 0
    count = f"{done}/{planned}" if planned and done < planned else str(done) if done else "·"
    return count if value is None else f"{shade(value) * 2}{value:>4.0%} {count}"


class RateMap(ScrollableContainer, can_focus=True):
    HELP = (
        "Rows are layers, the deepest on top; columns are strengths. A cell shows the share of graded injected trials "
        "that detect something, as a shade and in percent, and how many trials are done (of how many). A dot: none yet."
    )

    def compose(self) -> ComposeResult:
        yield Text(id="grid")

    def show(self, grid: RateGrid) -> None:
        """Draw a grid in place of the last one."""
        text = draw(grid) if grid.layers and grid.strengths else Content("no injected trials by layer and strength yet")
        self.query_one("#grid", Text).update(text)
