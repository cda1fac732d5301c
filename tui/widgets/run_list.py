"""The runs as a table. Textual's own takes a quarter of a second to draw two hundred rows anew, a cell at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from textual import events
from textual.content import Content
from textual.message import Message

from mlxintro.analysis.trial_classes import ColourRole

from ..reading import wording
from ..reading.colours import role_colour
from .lines import Lines
from .text import Text

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


SLOT_ROLES: Sequence[ColourRole] = ("hit", "partial", "leak", "broken", "refusal", "alarm", "open", "quiet", "hit")
"""Roles of colour of the marks, in their order."""


COLUMNS: Mapping[str, int] = {
    "name": 18,
    "state": 13,
    "trials": 11,
    "result": 27,
    "against": 27,
    "model": 14,
    "experiment": 21,
    "more": 30,
    "created (UTC)": 16,
}
"""Columns in the order of their weight, with their usual widths. 80 columns hold the first four."""
_FIGURES = ("result", "against", "more")
"""Columns that share what is left over."""
_BAR = 7
"""Columns of a bar beside the number of trials, where there is room for everything."""
_LONGEST_NAME, _LONGEST_FIGURE = 40, 48


def columns(width: int, longest: Mapping[str, int]) -> tuple[dict[str, int], bool]:
    """Return the columns a screen of some width has room for, in order, and whether there is room for bars.

    Args:
        width: columns of the screen.
        longest: columns that the longest text of a column takes, as far as it is known. Figures do not count before
            everything else has room, so that nothing jumps while they come in.
    """
    room = width - 3 + len(GAP)  # without the cursor's mark and a scroll bar
    found: dict[str, int] = {}
    for name, usual in COLUMNS.items():
        wanted = usual if name in _FIGURES else max(len(name) + 2, min(usual, longest.get(name, usual)))
        if room < wanted + len(GAP):
            if not found:
                # A terminal narrower than that shows the beginning of the names.
                found[name] = max(4, room - len(GAP))
            break
        room -= wanted + len(GAP)
        found[name] = wanted
    bars = len(found) == len(COLUMNS) and room >= _BAR
    if bars:
        found["trials"] += _BAR
        room -= _BAR
    for name, most in (("name", _LONGEST_NAME), *((one, _LONGEST_FIGURE) for one in _FIGURES)):
        if name in found:
            more = max(0, min(room, min(most, longest.get(name, most)) - found[name]))
            found[name] += more
            room -= more
    return found, bars


def line(cells: Mapping[str, str], widths: Mapping[str, int]) -> str:
    """Return the columns of one row side by side.

    The first is a name, of which the end tells as much as the beginning; a figure is not cut within its numbers.
    """
    (first, room), *rest = widths.items()
    texts = [wording.fit_middle(cells[first], room)]
    for name, width in rest:
        fit = wording.fit_figure if name in _FIGURES else wording.fit
        texts.append(fit(cells[name], width))
    return GAP.join(texts)


class RunList(Lines):
    HELP = (
        "The runs. Arrow keys, page keys, Home and End move; Enter or a second click opens a run, or folds and unfolds "
        "a group."
    )

    class Opened(Message):
        """The run under the cursor is to be opened."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.widths: Mapping[str, int] = {}
        """Widths of the columns, by name."""
        self._rows: Mapping[str, Mapping[str, str]] = {}
        self._ids: list[str] = []
        self._slots: Mapping[str, int] = {}
        """Numbers of the marks of marked runs, which give their colours."""

    @property
    def count(self) -> int:
        return len(self._ids)

    @property
    def chosen(self) -> str:
        """Return the id of the run the cursor stands on; empty when there is none."""
        return self._ids[self.cursor] if self.cursor < len(self._ids) else ""

    def parts_at(self, at: int, width: int) -> Sequence[tuple[str, str]]:
        run = self._ids[at]
        cells = self._rows[run]
        if "heading" in cells:
            return [(wording.fit(cells["heading"], width), "bold")]
        text = line(cells, self.widths)
        if "state" not in self.widths:
            return [(text, "")]
        # Colour says nothing here that the symbol and the word of the state do not.
        start = self.widths["name"] + len(GAP)
        role = STATE_ROLES.get(cells["state"].split()[1].split("(")[0], "open")
        at_ = len(text[:start])
        stop = at_ + self.widths["state"]
        dark = self.app.current_theme.dark
        marked = 2 if run in self._slots else 0
        mark = role_colour(SLOT_ROLES[self._slots[run] % len(SLOT_ROLES)], dark=dark) if marked else ""
        return [
            (text[:marked], mark),
            (text[marked:at_], "bold" if marked else ""),
            (text[at_:stop], role_colour(role, dark=dark)),
            (text[stop:], ""),
        ]

    def show(
        self, rows: Mapping[str, Mapping[str, str]], usual: str, slots: Mapping[str, int] = MappingProxyType({})
    ) -> None:
        """Show these rows, by id; the cursor stays on its run, or goes to the usual one.

        Args:
            rows: what stands in each, a heading or columns.
            usual: id of the run the cursor goes to at first.
            slots: numbers of the marks of marked runs.
        """
        if rows == self._rows and slots == self._slots:
            return
        here = self.chosen
        self._rows, self._slots, ids = rows, dict(slots), list(rows)
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


class RunColumns(Text):
    """Shows the names of the columns; a click on one sorts by it."""

    @dataclass
    class Clicked(Message):
        """The list is to be sorted by a column."""

        name: str

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._widths: Mapping[str, int] = {}

    def show(self, widths: Mapping[str, int], order: str, title: str) -> None:
        """Name the columns; the one that the list is sorted by has its arrow."""
        self._widths = widths
        names = {name: title if name == order else name for name in widths}
        self.update(Content(" " + line(names, widths)))

    def on_click(self, event: events.Click) -> None:
        at = event.x - 1
        for name, width in self._widths.items():
            if 0 <= at < width + len(GAP):
                self.post_message(self.Clicked(name))
                return
            at -= width + len(GAP)
