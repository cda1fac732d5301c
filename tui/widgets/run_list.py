"""The runs as a table. Textual's own takes a quarter of a second to draw two hundred rows anew, a cell at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual import events
from textual.message import Message

from mlxintro.analysis.trial_classes import ColourRole

from ..reading import wording
from ..reading.colours import role_colour
from .lines import Lines

GAP = "  "
"""Between columns."""


STATE_ROLES: Mapping[str, ColourRole] = {
    "running": "hit",
    "paused": "partial",
    "interrupted": "alarm",
    "failed": "alarm",
    "cancelled": "quiet",
    "planned": "leak",
    "preparing": "leak",
    "stopping": "quiet",
}
"""Roles of colour of the states of runs."""


def line(cells: Mapping[str, str], widths: Mapping[str, int]) -> str:
    """The columns of one row side by side. The first is its name, of which the end tells as much as the beginning."""
    (first, room), *rest = widths.items()
    return GAP.join(
        [wording.fit_middle(cells[first], room), *(wording.fit(cells[name], width) for name, width in rest)]
    )


class RunList(Lines):
    HELP = "The runs, the newest first. Arrow keys, page keys, Home and End move; Enter or a second click opens a run."

    class Opened(Message):
        """The run under the cursor is to be opened."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.widths: Mapping[str, int] = {}
        """Widths of the columns, by name."""
        self._rows: Mapping[str, Mapping[str, str]] = {}
        self._ids: list[str] = []

    @property
    def count(self) -> int:
        return len(self._ids)

    @property
    def chosen(self) -> str:
        """Id of the run the cursor stands on; empty when there is none."""
        return self._ids[self.cursor] if self.cursor < len(self._ids) else ""

    def parts_at(self, at: int, width: int) -> Sequence[tuple[str, str]]:
        cells = self._rows[self._ids[at]]
        text = line(cells, self.widths)
        if "state" not in self.widths:
            return [(text, "")]
        # Colour says nothing here that the symbol and the word of the state do not.
        start = self.widths["name"] + len(GAP)
        role = STATE_ROLES.get(cells["state"].split()[1].split("(")[0], "open")
        at_ = len(text[:start])
        stop = at_ + self.widths["state"]
        colour = role_colour(role, dark=self.app.current_theme.dark)
        return [(text[:at_], ""), (text[at_:stop], colour), (text[stop:], "")]

    def show(self, rows: Mapping[str, Mapping[str, str]], usual: str) -> None:
        """Show these rows, by id; the cursor stays on its run, or goes to the usual one."""
        if rows == self._rows:
            return
        here = self.chosen
        self._rows, ids = rows, list(rows)
        again = ids != self._ids
        self._ids = ids
        self.changed()
        if again:
            self.cursor = next((ids.index(one) for one in (here, usual) if one in rows), 0)
        self.post_message(self.Moved())

    def on_click(self, event: events.Click) -> None:
        again = self.cursor == int(self.scroll_offset.y) + event.y
        super().on_click(event)
        if again or event.chain > 1:
            self.post_message(self.Opened())
