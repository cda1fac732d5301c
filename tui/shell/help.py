"""F1: what the focused widget is for, and every key that works there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widgets import Static

from .error_border import Popup


def help_of(widget: DOMNode | None) -> str:
    """Return the ``HELP`` of a widget or of the nearest ancestor that has one; the screen's own is added below it."""
    found: list[str] = []
    node = widget
    while node is not None:
        text = getattr(node, "HELP", None)
        if isinstance(text, str) and text.strip() and (not found or isinstance(node, Screen)):
            found.append(text.strip())
        node = node.parent
    return "\n\n".join(found)


class HelpScreen(Popup[None]):
    """Lists the keys of the screen below it, which it reads when it is made."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f1,q,question_mark", "dismiss", "Close", id="help.close")]

    def __init__(self, below: Screen[object], keyed: Callable[[str], str], folder: Path, log: Path) -> None:
        super().__init__()
        self._text = keyed(help_of(below.focused or below)) or "No help for this."
        # Textual's own keys have no id; they come last, those of the focused widget before those of every screen.
        known = [one for one in below.active_bindings.values() if one.enabled and one.binding.description]
        own = [one for one in known if one.binding.id is not None]
        others = [one for one in known if one.binding.id is None and one.node is below.focused]
        keys: dict[str, list[str]] = {}
        for one in (*sorted(own, key=lambda one: one.node is below.app), *others):
            shown = keys.setdefault(one.binding.tooltip or one.binding.description, [])
            display = below.app.get_key_display(one.binding)
            if display not in shown:
                shown.append(display)
        self._keys = [(" ".join(shown), what) for what, shown in keys.items()]
        self._places = f"Keys and state lie in\n{folder}\nand the app's log is\n{log}"

    def compose(self) -> ComposeResult:
        width = max((len(key) for key, _ in self._keys), default=0)
        keys = "\n".join(f"{key:>{width}}  {what}" for key, what in self._keys)
        with VerticalScroll(id="help") as box:
            box.border_title = "Help"
            box.border_subtitle = "Esc closes"
            yield Static(Content(self._text))
            yield Static(Content.assemble("\n", Content.styled("Keys here", "bold"), "\n", keys))
            yield Static(Content(f"\nCtrl+P finds every action by name. {self._places}"))
