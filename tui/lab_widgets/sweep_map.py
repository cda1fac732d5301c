"""The lab's strip of layers and strengths: a sign a cell, with a cursor that takes a cell's setting."""

from __future__ import annotations

from dataclasses import dataclass
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
"""Columns of a layer's name and of a cell."""


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

    def show(self, sweep: Sweep | None) -> None:
        """Draw a sweep as it stands; nothing when there is none."""
        self._sweep = sweep
        self._draw()

    def _draw(self) -> None:
        sweep = self._sweep
        if sweep is None:
            self.update("")
            return
        head = " " * _LAYER + "".join(f"{strength:>{_CELL}g}" for strength in sweep.strengths)
        lines = [Content.styled(f"{'layer':<{_LAYER}}{head[_LAYER:]}", "bold")]
        dark = self.app.current_theme.dark
        for row in reversed(range(len(sweep.layers))):
            layer = sweep.layers[row]
            parts = [Content.styled(f"{layer:>{_LAYER - 1}} ", "bold")]
            for column, strength in enumerate(sweep.strengths):
                cell = sweep.cells.get((layer, strength))
                class_ = cell.class_ if cell is not None else None
                sign = class_.sign if class_ is not None else "▌" if sweep.asked == (layer, strength) else " "
                style = role_colour(class_.role, dark=dark) if class_ is not None else ""
                here = self.has_focus and (row, column) == self._at
                shown = f"[{sign}]" if here else f" {sign} "
                parts.append(Content.styled(f"{shown:>{_CELL}}", f"bold {style}" if here else style))
            lines.append(Content.assemble(*parts))
        lines.append(Content(self._cell_text()))
        self.update(Content("\n").join(lines))
        self.border_subtitle = f"{sweep.done} of {len(sweep.layers) * len(sweep.strengths)}"

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
        row, column = len(self._sweep.layers) - event.y, (event.x - _LAYER) // _CELL
        if 0 <= row < len(self._sweep.layers) and 0 <= column < len(self._sweep.strengths):
            self._at = row, column
            self.action_take()
