"""Screens are laid out for the size the terminal has, and for no earlier one."""

from __future__ import annotations

from typing import Any, cast

from textual import events
from textual.message_pump import MessagePump


class SteadySize(MessagePump):
    """Leaves out sizes of a screen that the terminal has no more.

    Textual lays a screen out for every size it is told, and tells the screen so by another event of the same kind. Two
    sizes that are under way at once, as while a window is dragged, would then follow each other for ever.
    """

    async def _on_resize(self, event: events.Resize) -> None:
        if event.size != cast(Any, self).app.size:
            event.stop()
            event.prevent_default()
