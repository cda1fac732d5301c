"""Screens that are steady where Textual's are not: while the window is dragged, and when what is clicked is gone."""

from __future__ import annotations

from typing import Any, cast

from textual import events
from textual.message_pump import MessagePump


class SteadyScreen(MessagePump):
    """Is a part of a screen that leaves out what has come too late."""

    async def _on_resize(self, event: events.Resize) -> None:
        """Leave out sizes the terminal does not have any more.

        Textual lays a screen out for every size it is told, and tells the screen so by another event of the same kind.
        Two sizes that are under way at once, as while a window is dragged, would then follow each other for ever.
        """
        if event.size != cast(Any, self).app.size:
            event.stop()
            event.prevent_default()

    def _forward_event(self, event: events.Event) -> None:
        """Leave out a click on a widget that has been removed and is still drawn: Textual looks for its container."""
        screen = cast(Any, self)
        if isinstance(event, events.MouseDown):
            widget, _ = screen.get_widget_and_offset_at(event.x, event.y)
            if widget is not None and widget is not screen and widget.parent is None:
                return
        cast(Any, super())._forward_event(event)
