"""The line of key hints at the bottom.

Textual's own footer takes its widgets down and mounts new ones whenever the focus moves, which on a busy machine takes
longer than a key press may. This one is a line of text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget


@dataclass(frozen=True, slots=True)
class Hint:
    key: str
    """Key as it is bound."""
    display: str
    """Key as it is shown."""
    description: str
    tooltip: str
    enabled: bool
    everywhere: bool
    """One of the app's own, which every screen has."""

    @property
    def width(self) -> int:
        return len(self.display) + len(self.description) + 3


def fitting(hints: Sequence[Hint], width: int) -> list[Hint]:
    """Return those there is room for: the way to help and to all actions stays, of the others the first ones."""
    room = width - sum(hint.width for hint in hints if hint.everywhere)
    kept = []
    for hint in hints:
        room -= 0 if hint.everywhere else hint.width
        if hint.everywhere or room >= 0:
            kept.append(hint)
    return kept


class KeyHints(Widget):
    """Shows what can be pressed now: the shown bindings of what is focused and around it. A click presses the key."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    KeyHints {
        dock: bottom;
        height: 1;
        color: $footer-foreground;
        background: $footer-background;
        text-wrap: nowrap;
        text-overflow: clip;
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._hints: tuple[Hint, ...] = ()

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._changed)
        self._changed(self.screen)

    def on_unmount(self) -> None:
        self.screen.bindings_updated_signal.unsubscribe(self)

    def _changed(self, screen: Screen[object]) -> None:
        if not self.is_attached or screen is not self.screen or not self.app.app_focus:
            return
        hints: dict[str, Hint] = {}
        for one in screen.active_bindings.values():
            binding = one.binding
            # Several keys of one action are one hint.
            if binding.show and binding.action not in hints:
                display = self.app.get_key_display(binding)
                hints[binding.action] = Hint(
                    binding.key, display, binding.description, one.tooltip, one.enabled, one.node is self.app
                )
        found = tuple(hints.values())
        if found != self._hints:
            self._hints = found
            self.refresh()

    def render(self) -> Content:
        parts = []
        for hint in fitting(self._hints, self.size.width):
            key = Content.styled(f" {hint.display} ", "$ink-accent on $footer-key-background bold")
            rest = Content.styled(f"{hint.description} ", "" if hint.enabled else "$text-muted")
            parts += [key, rest]
        return Content.assemble(*parts)

    def _at(self, x: int) -> Hint | None:
        for hint in fitting(self._hints, self.size.width):
            if x < hint.width:
                return hint
            x -= hint.width
        return None

    def on_mouse_move(self, event: events.MouseMove) -> None:
        hint = self._at(event.x)
        self.tooltip = (hint.tooltip or hint.description) if hint is not None else None

    def on_click(self, event: events.Click) -> None:
        hint = self._at(event.x)
        if hint is not None and hint.enabled:
            self.app.simulate_key(hint.key)
