"""The lab's strip of layers and strengths: a sign a cell and its reply where there is room; a cursor takes a cell."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message

from ..reading import wording
from ..reading.colours import role_colour
from ..running.lab_sweep import Sweep
from ..widgets.text import Text

_LAYER, _CELL = 6, 6
"""Columns of a layer's name and of a cell at least."""
_WORDY, _MOST = 16, 40
"""Columns from which on a cell has room for its reply, and those of the widest."""
_HIGHEST = 5
"""Lines of the highest cell."""


class SweepMap(Text, can_focus=True):
    HELP = (
        "The setting at five layers (the deepest on top) and five strengths, a sign for each reply: ● claims and names "
        "it, ◐ claims only, ◌ names it without a claim, · no claim, ≋ incoherent, ⊘ refuses. The arrow keys move and "
        "show the reply below; Enter takes the cell's layer and strength."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(1, 0)", "Layer", show=False),
        Binding("down", "move(-1, 0)", "Layer", show=False),
        Binding("left", "move(0, -1)", "Strength", show=False),
        Binding("right", "move(0, 1)", "Strength", show=False),
        Binding("enter", "take", "Take it", id="lab.take", tooltip="Take the cell's layer and strength"),
    ]

    @dataclass
    class Taken(Message):
        """A cell's setting is wanted."""

        layer: int
        strength: float

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._sweep: Sweep | None = None
        self._at = (0, 0)
        self.hint = ""
        """What stands there before anything was tried."""

    def show(self, sweep: Sweep | None) -> None:
        """Draw a sweep as it stands; nothing when there is none."""
        self._sweep = sweep
        self._draw()

    def on_resize(self, event: events.Resize) -> None:
        self._draw()

    @property
    def _cell(self) -> tuple[int, int]:
        """Columns and lines of a cell: as large as the pane has room for."""
        if self._sweep is None:
            return _CELL, 1
        width = max(_CELL, min(_MOST, (self.size.width - _LAYER) // len(self._sweep.strengths)))
        # Two lines for the names of the columns and for the cell under the cursor.
        height = min(_HIGHEST, (self.size.height - 2) // len(self._sweep.layers))
        return (width, max(1, height)) if width >= _WORDY else (_CELL, 1)

    def _draw(self) -> None:
        sweep = self._sweep
        if sweep is None:
            self.border_subtitle = ""
            self.update(Content.styled(self.hint, "$text-muted"))
            return
        width, height = self._cell
        head = "".join(f"{f'{strength:g}':^{width}}" for strength in sweep.strengths)
        lines = [Content.styled(f"{'layer':<{_LAYER}}{head}", "bold")]
        for row in reversed(range(len(sweep.layers))):
            cells = [self._drawn(row, column, width, height) for column in range(len(sweep.strengths))]
            for at in range(height):
                name = Content.styled(f"{sweep.layers[row] if at == 0 else '':>{_LAYER - 1}} ", "bold")
                lines.append(Content.assemble(name, *(cell[at] for cell in cells)))
        lines.append(Content(self._cell_text()))
        self.update(Content("\n").join(lines))
        self.border_subtitle = f"{sweep.done} of {len(sweep.layers) * len(sweep.strengths)}"

    def _drawn(self, row: int, column: int, width: int, height: int) -> list[Content]:
        """Return the lines of a cell: its sign alone, or its sign and label with its reply below."""
        assert self._sweep is not None
        place = self._sweep.layers[row], self._sweep.strengths[column]
        cell = self._sweep.cells.get(place)
        class_ = cell.class_ if cell is not None else None
        sign = class_.sign if class_ is not None else "▌" if self._sweep.asked == place else " "
        here = self.has_focus and (row, column) == self._at
        shown = f"[{sign}]" if here else f" {sign} "
        style = role_colour(class_.role, dark=self.app.current_theme.dark) if class_ is not None else ""
        if width < _WORDY:
            first = f"{shown:^{width}}"
        else:
            first = wording.fit(f"{shown}{class_.label if class_ is not None and height > 1 else ''}", width)
        text = " ".join(cell.text.split()) if cell is not None else ""
        rest = wrap(wording.plain(text), width - 3)[: height - 1]
        rest += [""] * (height - 1 - len(rest))
        return [
            Content.styled(first, f"bold {style}" if here else style),
            *(Content(wording.fit(f" {line}", width)) for line in rest),
        ]

    def _cell_text(self) -> str:
        layer, strength = self._place()
        cell = self._sweep.cells.get((layer, strength)) if self._sweep is not None else None
        if not self.has_focus or cell is None:
            return ""
        label = cell.class_.label if cell.class_ is not None else "being answered"
        return f"layer {layer}, α {strength:g}: {label}\n{wording.plain(' '.join(cell.text.split()))}"

    def _place(self) -> tuple[int, float]:
        assert self._sweep is not None
        row, column = self._at
        return self._sweep.layers[min(row, len(self._sweep.layers) - 1)], self._sweep.strengths[column]

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        if self.is_mounted:
            self._draw()

    def action_move(self, up: int, right: int) -> None:
        if self._sweep is not None:
            rows, columns = len(self._sweep.layers), len(self._sweep.strengths)
            self._at = max(0, min(rows - 1, self._at[0] + up)), max(0, min(columns - 1, self._at[1] + right))
            self._draw()

    def action_take(self) -> None:
        if self._sweep is not None:
            self.post_message(self.Taken(*self._place()))

    def on_click(self, event: events.Click) -> None:
        if self._sweep is None:
            return
        width, height = self._cell
        row, column = len(self._sweep.layers) - 1 - (event.y - 1) // height, (event.x - _LAYER) // width
        if 0 <= row < len(self._sweep.layers) and 0 <= column < len(self._sweep.strengths):
            self._at = row, column
            self.action_take()
