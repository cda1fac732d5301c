"""A list of trials of any length: it knows the rows' numbers and asks for the few that are in sight."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from textual import events
from textual.content import Content
from textual.message import Message

from mlxintro.store.searching.browse import Seen

from ..trials.trial_order import COLUMNS, TrialOrder
from .lines import Lines
from .text import Text

_KEPT = 2_000
"""Trials held in memory."""
_AHEAD = 30
"""Rows that are asked for beyond those in sight."""


class TrialColumns(Text):
    """Shows the names of the columns; a click on one sorts by it."""

    @dataclass
    class Clicked(Message):
        """The list is to be sorted by a column."""

        name: str

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._head = ""

    def show(self, head: str, order: TrialOrder) -> None:
        """Name the columns; the one that the list is sorted by has its arrow where there is room."""
        # The arrow takes the place of the blank before the name: nothing moves.
        at = head.find(f" {order.column}")
        self._head = head if at < 0 else head[:at] + order.arrow + head[at + 1 :]
        self.update(Content(f" {self._head}"))

    def on_click(self, event: events.Click) -> None:
        names = sorted((self._head.find(name), name) for name in COLUMNS if name in self._head)
        before = [name for at, name in names if at <= event.x]
        if before:
            self.post_message(self.Clicked(before[-1]))


class TrialList(Lines):
    HELP = (
        "One line per trial: what it came to (sign and word), marks, the reply or what was read out, the injection. "
        "Marks: ≠ graders disagree, ✎ a person has labelled it, ✗ it failed. "
        "Arrow keys, page keys, Home and End move; Enter shows the trial on the whole screen, Esc goes back."
    )

    @dataclass
    class Missing(Message):
        """Rows are in sight that are not here yet."""

        rows: list[int]

    class Resized(Message):
        """There is another number of columns for a line."""

    def __init__(self, line: Callable[[Seen, int], Sequence[tuple[str, str]]], *, id: str | None = None) -> None:
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
        self.changed()
        self._ask()
        self.scroll_to(y=max(0, self.cursor - self.size.height // 2), animate=False, immediate=True)
        self.call_after_refresh(self._ask)
        self.post_message(self.Moved())

    def grown(self) -> None:
        super().grown()
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
            # The trial itself is there now.
            self.post_message(self.Moved())

    def forget(self) -> None:
        """Drop what is out of date; what is in sight stays until it has come anew."""
        sight = set(self._in_sight(0))
        self._seen = {row: seen for row, seen in self._seen.items() if row in sight}
        self._asked.clear()
        self._ask(sight)

    @property
    def row(self) -> int | None:
        return self._rows[self.cursor] if self.cursor < len(self._rows) else None

    @property
    def current(self) -> Seen | None:
        """Return the trial the cursor stands on, unless it has not come yet."""
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

    def parts_at(self, at: int, width: int) -> Sequence[tuple[str, str]]:
        seen = self._seen.get(self._rows[at])
        return [("  …", "")] if seen is None else self._line(seen, width)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._ask()

    def on_resize(self, event: events.Resize) -> None:
        self._ask()
        self.post_message(self.Resized())
