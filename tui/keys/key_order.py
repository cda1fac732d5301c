"""Keys in the order in which they are pressed, each given to what has the focus when the key before it has worked.

Textual hands a key to the widget in focus at once and looks for its binding when the key has gone up through all
widgets above. Of ``/sense`` typed at one go the letters would reach the list that has the focus before ``/`` moves it.
"""

from __future__ import annotations

import gc
import time
from collections import deque
from typing import Any

from textual import events
from textual.app import App
from textual.message import Message
from textual.widget import Widget

_PATIENCE = 3.0
"""Seconds after which the next key is given on though the one before it has not come back. A screen that is shown for
the first time takes its time."""
_LOOK = 0.1
"""Seconds between looks whether the widget of that key is gone, and the key with it."""

_SETTLED = 2.0
"""Seconds after which what was read at the start is there to stay."""


class KeyPassed(Message):
    """Follows a key through the same widgets: it arrives when the key has been handled."""


class KeysInOrder(App[int]):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._held: deque[events.Key] = deque()
        """Keys that wait."""
        self._passing = 0.0
        """When the key that is being handled was given on; 0 when there is none."""
        self._target: Widget | None = None
        """What it was given to."""

    def on_ready(self) -> None:
        # Modules and styles never become garbage; looking through them again and again holds a key up for 0.1 s.
        self.set_timer(_SETTLED, gc.freeze)

    async def on_event(self, event: events.Event) -> None:
        if not isinstance(event, events.Key) or event.is_forwarded:
            await super().on_event(event)
        elif self._passing and not self._is_lost():
            self._held.append(event)
            if len(self._held) == 1:
                self.set_timer(_LOOK, self._look)
        else:
            await self._give_on(event)

    def _is_lost(self) -> bool:
        """Tell whether the key that is being handled will not come back."""
        gone = self._target is None or not self._target.is_attached
        return gone or time.monotonic() - self._passing > _PATIENCE

    async def _give_on(self, key: events.Key) -> None:
        self._passing = time.monotonic()
        target = self._target = self.focused or self.screen
        try:
            await super().on_event(key)
        finally:
            if not target.post_message(KeyPassed()):
                self._passing = 0.0

    def on_key_passed(self, event: KeyPassed) -> None:
        event.stop()
        # Later, since moving the focus is done later, too.
        self.call_later(self._next_key)

    async def _next_key(self) -> None:
        self._passing = 0.0
        if not self.screen_stack:
            # The app ends: nothing is there to take a key.
            self._held.clear()
        elif self._held:
            await self._give_on(self._held.popleft())

    async def _look(self) -> None:
        if self._held and self._is_lost():
            await self._next_key()
        elif self._held:
            self.set_timer(_LOOK, self._look)
