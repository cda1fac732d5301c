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
_LEAST, _MOST = 6, 34
"""Columns of a cell."""
_EDGED = 10
"""Columns of a cell from which on it has shades at its edges."""
_HIGHEST = 3
"""Lines of a cell where there is room: the figure, its interval, and the interval as a bar."""


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


def cell_height(grid: RateGrid, height: int) -> int:
    """Return how many lines a cell has where all of them are to be in sight."""
    return max(1, min(_HIGHEST, (height - 1) // max(1, len(grid.layers))))


def highest(grid: RateGrid) -> int:
    """Return how many lines a map takes at most."""
    return 1 + _HIGHEST * len(grid.layers)


def draw(grid: RateGrid, width: int, height: int = 0, at: tuple[int, int] | None = None, *, figure: int = 0) -> Content:
    """Draw the layers below each other, the deepest on top, and a column per strength.

    Args:
        grid: what is drawn.
        width: columns there are.
        height: lines there are; cells are higher where there is room.
        at: row and column of the cursor.
        figure: which of the experiment's head figures is drawn.
    """
    each, lines_each = cell_width(grid, width), cell_height(grid, height)
    head = f"{'layer':>6}  " + "".join(f"{f'α {strength:g}':^{each}}" for strength in grid.strengths)
    lines = [Content.styled(head, "bold")]
    for row, layer in enumerate(downwards(grid.layers)):
        cells = [
            _cell(grid.cells.get((layer, strength)), grid.planned, (each, lines_each), at == (row, column), figure)
            for column, strength in enumerate(grid.strengths)
        ]
        for line in range(lines_each):
            name = Content.styled(f"{layer if line == 0 else '':>6}  ", "bold")
            lines.append(Content.assemble(name, *(cell[line] for cell in cells)))
    return Content("\n").join(lines)


def _cell(cell: CellTally | None, planned: int, size: tuple[int, int], here: bool, at: int) -> list[Content]:
    """Return the lines of a cell, each of the same width."""
    width, height = size
    edge = 1 if width >= _EDGED else 0
    inner = width - 1 - 2 * edge
    figure = cell.figures[at] if cell is not None and cell.trials else None
    value = head_text.share(figure) if figure is not None else None
    waiting = head_text.cell_text(cell, planned, at)
    texts = [waiting if len(waiting) <= inner else waiting.partition(" ")[0]]
    if figure is not None and figure.observations:
        texts = head_text.in_lines(figure, inner, height)
    mark = shade(value) if value is not None else " "
    style = ramp_style(value) if value is not None else ""
    lines = []
    for line in range(height):
        text = texts[line] if line < len(texts) else ""
        shown = Content.styled(f"{mark * edge}{text[:inner]:^{inner}}{mark * edge}", style)
        cursor = "◂" if here and line == 0 else " "
        lines.append(
            Content.assemble(shown.stylize("bold underline") if here else shown, Content.styled(cursor, "bold"))
        )
    return lines


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

    def __init__(self, *, id: str, figure: int = 0) -> None:
        """Args:
        id: of the widget.
        figure: which of the experiment's head figures it shows.
        """
        super().__init__(id=id)
        self._figure = figure
        # One cursor for both maps: a second one would be drawn at every step of the focus.
        self.can_focus = figure == 0
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
            at = self._at if self.has_focus else None
            text = draw(grid, self.size.width, self.size.height, at, figure=self._figure)
        pane = self.query_one("#grid", Text)
        # Said outright: a width that follows from the text is that of an earlier one for a while, and lines wrap.
        pane.styles.width = max(1, text.get_optimal_width({}, 0)) if grid.layers else "1fr"
        pane.update(text)

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
        row = (event.y + int(self.scroll_offset.y) - 1) // cell_height(self._grid, self.size.height)
        if 0 <= row < len(self._grid.layers) and 0 <= column < len(self._grid.strengths):
            self._at = row, column
            self.action_open()
