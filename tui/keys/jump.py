"""Jump mode: a letter over every pane; pressing it moves the focus there."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.app import ComposeResult
from textual.geometry import Region
from textual.widget import Widget
from textual.widgets import Label

from ..shell.error_border import Popup

LETTERS = "asdfghjkletuiopcvbnm"


def targets(page: Widget, focusable: Sequence[Widget]) -> dict[str, tuple[Widget, Region]]:
    """Return what can be jumped to, by letter: widgets that can take the focus and are in sight, top to bottom."""
    seen = [(one, one.region.intersection(page.region)) for one in focusable]
    shown = sorted(((one, where) for one, where in seen if where.area), key=lambda item: (item[1].y, item[1].x))
    return dict(zip(LETTERS, shown, strict=False))


class JumpMode(Popup[Widget]):
    """Shows the letters; any other key leaves."""

    HELP = "Press the letter of a pane or field to go there; any other key leaves."

    def __init__(self, found: dict[str, tuple[Widget, Region]]) -> None:
        super().__init__()
        self._found = found

    def compose(self) -> ComposeResult:
        for letter, (_, where) in self._found.items():
            label = Label(f" {letter} ", classes="jump-letter")
            label.styles.offset = (where.x, where.y)
            yield label

    def on_key(self, event: events.Key) -> None:
        event.stop()
        event.prevent_default()
        chosen = self._found.get(event.character or "")
        self.dismiss(chosen[0] if chosen is not None else None)

    def on_click(self) -> None:
        self.dismiss(None)
