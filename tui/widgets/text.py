"""Text that costs no more than its change: the screen is laid out anew only when the text needs other room."""

from __future__ import annotations

from textual.content import Content
from textual.visual import VisualType
from textual.widgets import Static

from mlxintro.rendering.cleaning import visible


def cleaned(content: Content) -> Content:
    """Return content without characters that steer the terminal; styles stay where they are."""
    safe = visible(content.plain)
    return content if safe == content.plain else Content(safe, list(content.spans))


class Text(Static):
    """Behaves as ``Static`` does, but has the screen laid out anew only where its size changes.

    Strings are taken as they are, without markup.
    """

    def __init__(self, *, id: str, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._said = Content("")

    def update(self, content: VisualType = "", *, layout: bool = True) -> None:
        fresh = cleaned(content if isinstance(content, Content) else Content(str(content)))
        if fresh.is_same(self._said):
            return
        before = self._room(self._said)
        self._said = fresh
        super().update(fresh, layout=layout and self._room(fresh) != before)

    def _room(self, content: Content) -> tuple[int, int]:
        """Columns and lines, as far as they depend on the text."""
        rules, inner = self.styles.get_rules(), self.content_size
        return (
            content.get_optimal_width(rules, inner.width) if self.styles.is_auto_width else 0,
            content.get_height(rules, inner.width) if self.styles.is_auto_height and inner.width else 0,
        )
