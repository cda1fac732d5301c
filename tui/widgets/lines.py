"""A list with a cursor, drawn a line at a time: only the lines in sight are ever made, however many there are."""

from __future__ import annotations

from collections.abc import Sequence
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

from mlxintro.rendering.cleaning import visible


class Lines(ScrollView, can_focus=True, inherit_bindings=False):
    """Draws the lines in sight. Subclasses give ``count`` and ``text_at``, and call ``changed`` or ``grown`` at news.

    A line is as wide as the list, so there is no scrolling sideways and none of its keys.
    """

    DEFAULT_CSS = "Lines { overflow-x: hidden; background: $background; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home,ctrl+home", "move_to(0)", "First", show=False),
        Binding("end,ctrl+end", "move_to(-1)", "Last", show=False),
    ]
    nothing: reactive[str] = reactive("")
    """Text that stands there when there are no lines."""
    cursor: reactive[int] = reactive(0, repaint=False)

    class Moved(Message):
        """The cursor stands on something else."""

    @property
    def count(self) -> int:
        raise NotImplementedError

    def text_at(self, at: int, width: int) -> str:
        """Return a line's text, cut to the width by whoever draws it. Either this or ``parts_at`` is given."""
        raise NotImplementedError

    def parts_at(self, at: int, width: int) -> Sequence[tuple[str, str]]:
        """Return a line in pieces, each with a style of its own; an empty one is that of the list."""
        return [(self.text_at(at, width), "")]

    @property
    def room(self) -> int:
        """Return the columns of a line: what the scroll bar leaves."""
        return self.scrollable_content_region.width

    def changed(self) -> None:
        """Draw anew, since there are other lines."""
        self._take_size()
        self.refresh()

    def grown(self) -> None:
        """Take note of more lines at the end."""
        before = self.virtual_size.height
        self._take_size()
        if before < self.scroll_offset.y + self.size.height:
            self.refresh()

    def _take_size(self) -> None:
        size = Size(self.size.width, self.count)
        if self.show_vertical_scrollbar and size.height > self.size.height:
            # Nothing moves but the scroll bar. Textual would lay out the screen, and a search finds more all the time.
            self.set_reactive(Lines.virtual_size, size)
            self.vertical_scrollbar.window_virtual_size = size.height
        else:
            self.virtual_size = size

    def render_line(self, y: int) -> Strip:
        at = int(self.scroll_offset.y) + y
        width = self.room
        if at >= self.count:
            told = self.nothing.split("\n") if not self.count else []
            text = told[y] if y < len(told) else ""
            return Strip([Segment(visible(text), self.rich_style)]).adjust_cell_length(width, self.rich_style)
        here = at == self.cursor
        style = self.rich_style
        if here:
            style += Style(reverse=True, bold=self.has_focus)
        parts = [("▸" if here else " ", ""), *self.parts_at(at, width - 1)]
        # Under the cursor the line is reversed as a whole: colours would become backgrounds.
        segments = [
            Segment(visible(text), style if here or not own else style + Style.parse(own)) for text, own in parts
        ]
        return Strip(segments).adjust_cell_length(width, style)

    def on_resize(self, event: events.Resize) -> None:
        self._take_size()
        self._bring_into_sight()

    def validate_cursor(self, at: int) -> int:
        return max(0, min(at, self.count - 1))

    def watch_cursor(self, old: int, new: int) -> None:
        self._bring_into_sight()
        for line in (old, new):
            self.refresh_line(line)
        self.post_message(self.Moved())

    def watch_has_focus(self, _has_focus: bool) -> None:
        super().watch_has_focus(_has_focus)
        self.refresh_line(self.cursor)

    def _bring_into_sight(self) -> None:
        # By force: that there is a scroll bar is known only once the screen has been laid out with the lines there are.
        line = Region(0, self.cursor, self.size.width, 1)
        self.scroll_to_region(line, animate=False, immediate=True, x_axis=False, force=True)

    def action_move(self, by: int) -> None:
        self.cursor += by

    def action_page(self, by: int) -> None:
        self.cursor += by * max(1, self.size.height - 1)

    def action_move_to(self, at: int) -> None:
        self.cursor = at if at >= 0 else self.count + at

    def on_click(self, event: events.Click) -> None:
        self.cursor = int(self.scroll_offset.y) + event.y
