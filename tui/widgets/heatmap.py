"""Layer by strength as numbers on a ramp: legible without colour, with a cursor that opens a cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import ScrollableContainer
from textual.content import Content
from textual.message import Message

from mlxintro.analysis.tally import CellTally
from mlxintro.rendering.text import downwards, shade

from ..reading import head_text
from ..reading.colours import ramp_style
from .text import Text

_MARGIN = 8
"""Columns before the first cell: the layer."""
_LEAST, _MOST = 10, 26
"""Columns of a cell."""


@dataclass(frozen=True, slots=True)
class RateGrid:
    layers: Sequence[int] = ()
    strengths: Sequence[float] = ()
    cells: Mapping[tuple[int, float], CellTally] = field(default_factory=dict)
    planned: int = 0
    """Trials per cell; 0 when it is not known."""
    unit: str = ""


def cell_width(grid: RateGrid, width: int) -> int:
    """Return how wide a cell is where all of them are to be in sight."""
    return max(_LEAST, min(_MOST, (width - _MARGIN) // max(1, len(grid.strengths))))


def draw(grid: RateGrid, width: int, at: tuple[int, int] | None = None) -> Content:
    """Draw a line per layer, the deepest on top, and a column per strength.

    Args:
        grid: what is drawn.
        width: columns there are.
        at: row and column of the cursor.
    """
    each = cell_width(grid, width)
    head = f"{'layer':>6}  " + "".join(f"{f'α {strength:g}':^{each}}" for strength in grid.strengths)
    lines = [Content.styled(head, "bold")]
    for row, layer in enumerate(downwards(grid.layers)):
        parts = [Content.styled(f"{layer:>6}  ", "bold")]
        for column, strength in enumerate(grid.strengths):
            parts.append(_cell(grid.cells.get((layer, strength)), grid.planned, each, at == (row, column)))
        lines.append(Content.assemble(*parts))
    return Content("\n").join(lines)


def _cell(cell: CellTally | None, planned: int, width: int, here: bool) -> Content:
    full = head_text.cell_text(cell, planned)
    inner = width - 3
    figure = cell.figures[0] if cell is not None and cell.trials else None
    value = head_text.share(figure) if figure is not None else None
    text = full
    if len(full) > inner and figure is not None and figure.observations:
        counts = f"{figure.hits}/{figure.observations}" if value is not None else f"n={figure.observations}"
        text = next(
            (one for one in (f"{head_text.bare(figure)} {counts}", head_text.bare(figure)) if len(one) <= inner), full
        )
    mark = shade(value) if value is not None else " "
    shown = Content.styled(f"{mark}{text[:inner]:^{inner}}{mark}", ramp_style(value) if value is not None else "")
    return Content.assemble(
        shown.stylize("bold underline") if here else shown, Content.styled("◂" if here else " ", "bold")
    )


class RateMap(ScrollableContainer, can_focus=True):
    HELP = (
        "Rows are layers, the deepest on top; columns are strengths (α, in the unit the title says). A cell shows the "
        "experiment's head figure over the injected trials there, with its 95 % interval where there is room. The "
        "arrow keys move from cell to cell; Enter or a click opens the replies of a cell."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1, 0)", "Cell", show=False),
        Binding("down", "move(1, 0)", "Cell", show=False),
        Binding("left", "move(0, -1)", "Cell", show=False),
        Binding("right", "move(0, 1)", "Cell", show=False),
        Binding("enter", "open", "Cell's replies", id="live.cell", tooltip="Read the replies of the cell"),
    ]

    @dataclass
    class CellOpened(Message):
        """The replies of a cell are wanted."""

        layer: int
        strength: float

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._grid = RateGrid()
        self._at = (0, 0)

    def compose(self) -> ComposeResult:
        yield Text(id="grid")

    def show(self, grid: RateGrid) -> None:
        """Draw a grid in place of the last one."""
        self._grid = grid
        self._draw()

    def _draw(self) -> None:
        grid = self._grid
        text = Content("no trials by layer and strength yet")
        if grid.layers and grid.strengths:
            self._at = min(self._at[0], len(grid.layers) - 1), min(self._at[1], len(grid.strengths) - 1)
            text = draw(grid, self.size.width, self._at if self.has_focus else None)
        self.query_one("#grid", Text).update(text)

    def on_resize(self, event: events.Resize) -> None:
        self._draw()

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        if self.is_mounted:
            self._draw()

    def action_move(self, down: int, right: int) -> None:
        rows, columns = len(self._grid.layers), len(self._grid.strengths)
        if rows and columns:
            self._at = max(0, min(rows - 1, self._at[0] + down)), max(0, min(columns - 1, self._at[1] + right))
            self._draw()

    def action_open(self) -> None:
        if self._grid.layers and self._grid.strengths:
            self.post_message(
                self.CellOpened(downwards(self._grid.layers)[self._at[0]], self._grid.strengths[self._at[1]])
            )

    def on_click(self, event: events.Click) -> None:
        column = (event.x + int(self.scroll_offset.x) - _MARGIN) // cell_width(self._grid, self.size.width)
        row = event.y + int(self.scroll_offset.y) - 1
        if 0 <= row < len(self._grid.layers) and 0 <= column < len(self._grid.strengths):
            self._at = row, column
            self.action_open()
