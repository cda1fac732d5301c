"""A list of trials of any length: it knows the rows' numbers and asks for the few that are in sight."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from mlxintro.store.pages import Seen

_KEPT = 2_000
"""Trials held in memory."""
_AHEAD = 30
"""Rows that are asked for beyond those in sight."""


class TrialList(ScrollView, can_focus=True):
    HELP = (
        "One line per trial: its place in the plan, what was injected where, the grader's verdict, marks, the reply. "
        "Marks: ≠ graders disagree, ✎ a person has labelled it, ✗ it failed. "
        "Arrow keys, page keys, Home and End move; Enter shows the trial on the whole screen, Esc goes back."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "move_to(0)", "First", show=False),
        Binding("end", "move_to(-1)", "Last", show=False),
    ]
    cursor: reactive[int] = reactive(0)

    class Moved(Message):
        """The cursor stands on another trial, or the trial it stands on has arrived: see ``current``."""

    @dataclass
    class Missing(Message):
        """Rows in sight that are not here yet."""

        rows: list[int]

    def __init__(self, line: Callable[[Seen, int], str], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._line = line
        self._rows: Sequence[int] = ()
        self._seen: dict[int, Seen] = {}
        self._asked: set[int] = set()

    # -- what it holds

    def show(self, rows: Sequence[int], *, keep: bool = False) -> None:
        """Show other rows, from the top or, with ``keep``, around the row the cursor stands on."""
        here = self.row
        self._rows = rows
        self.cursor = 0
        if keep and here is not None:
            self.cursor = next((at for at, row in enumerate(rows) if row == here), 0)
        self.grown()
        self.scroll_to(y=max(0, self.cursor - self.size.height // 2), animate=False, immediate=True)
        self.call_after_refresh(self._ask)
        self.post_message(self.Moved())

    def grown(self) -> None:
        """Rows have been added at the end."""
        self.virtual_size = Size(self.size.width, len(self._rows))
        self.refresh()
        self._ask()

    def fill(self, found: Iterable[Seen]) -> None:
        """Hand over trials that were missing."""
        if len(self._seen) > _KEPT:
            self._seen.clear()
        fresh = {seen.row: seen for seen in found}
        self._seen.update(fresh)
        self._asked.difference_update(fresh)
        self.refresh()
        if self.row in fresh:
            self.post_message(self.Moved())

    def forget(self) -> None:
        """What is held is out of date: what is in sight stays until it has come anew."""
        sight = set(self._in_sight(0))
        self._seen = {row: seen for row, seen in self._seen.items() if row in sight}
        self._asked.clear()
        self._ask(sight)

    @property
    def row(self) -> int | None:
        return self._rows[self.cursor] if self.cursor < len(self._rows) else None

    @property
    def current(self) -> Seen | None:
        """The trial the cursor stands on, unless it has not come yet."""
        return None if self.row is None else self._seen.get(self.row)

    @property
    def count(self) -> int:
        return len(self._rows)

    def _in_sight(self, ahead: int) -> Sequence[int]:
        top = int(self.scroll_offset.y)
        return self._rows[max(0, top - ahead) : top + self.size.height + ahead]

    def _ask(self, anew: Iterable[int] = ()) -> None:
        again = set(anew)
        needed = [row for row in self._in_sight(0) if row not in self._seen or row in again]
        if any(row not in self._asked for row in needed):
            wanted = [r for r in self._in_sight(_AHEAD) if (r not in self._seen or r in again) and r not in self._asked]
            self._asked.update(wanted)
            self.post_message(self.Missing(wanted))

    # -- drawing

    def render_line(self, y: int) -> Strip:
        at = int(self.scroll_offset.y) + y
        width = self.size.width
        if at >= len(self._rows):
            return Strip.blank(width, self.rich_style)
        seen = self._seen.get(self._rows[at])
        text = "  …" if seen is None else self._line(seen, width)
        here = at == self.cursor
        mark = "▸" if here else " "
        style = self.rich_style
        if here:
            style += Style(reverse=True, bold=self.has_focus)
        return Strip([Segment(mark + text, style)]).adjust_cell_length(width, style)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._ask()

    def on_resize(self, event: events.Resize) -> None:
        self.virtual_size = Size(self.size.width, len(self._rows))
        self._ask()

    # -- moving

    def validate_cursor(self, at: int) -> int:
        return max(0, min(at, len(self._rows) - 1))

    def watch_cursor(self, old: int, new: int) -> None:
        self.scroll_to_region(Region(0, new, self.size.width, 1), animate=False, immediate=True, x_axis=False)
        self.refresh()
        self.post_message(self.Moved())

    def action_move(self, by: int) -> None:
        self.cursor += by

    def action_page(self, by: int) -> None:
        self.cursor += by * max(1, self.size.height - 1)

    def action_move_to(self, at: int) -> None:
        self.cursor = at if at >= 0 else len(self._rows) + at

    def on_click(self, event: events.Click) -> None:
        self.cursor = int(self.scroll_offset.y) + event.y
