"""What tells a person who looks elsewhere that a run has ended: the bell, a notice of the desktop, the window's title.

The two escape sequences for a notice are OSC 9 (iTerm2, kitty, WezTerm, Windows Terminal) and OSC 777 (urxvt, foot,
Ghostty); a terminal that knows neither ignores both. The title is OSC 2; CSI 22 and 23 put the old one aside and back.
"""

from __future__ import annotations

import os
from typing import Any

from ..reading import wording
from .app_state import Memory

_DUMB = ("dumb", "linux", "vt100", "vt220")
"""Values of TERM for terminals that would show such a sequence as text."""


class Notices:
    def __init__(self, app: Any, wanted: Memory) -> None:
        self._app = app
        self._wanted = wanted
        self._title = ""

    def ended(self, name: str, what: str) -> None:
        """Tell that a run has ended, once, in every way that is wanted."""
        if self._wanted.bell:
            self._app.bell()
        if self._wanted.desktop:
            text = _clean(f"{name} {what}")
            self._write(f"\x1b]9;mlxintro: {text}\x1b\\\x1b]777;notify;mlxintro;{text}\x1b\\")

    def title(self, text: str) -> None:
        """Set the title of the window, if it is another one."""
        if self._wanted.title and text != self._title:
            self._write(("" if self._title else "\x1b[22;2t") + f"\x1b]2;{_clean(text)}\x1b\\")
            self._title = text

    def leave(self) -> None:
        """Give the window its old title back."""
        if self._title:
            self._write("\x1b[23;2t")
            self._title = ""

    def _write(self, sequence: str) -> None:
        driver = self._app._driver
        if driver is not None and not self._app.is_headless and os.environ.get("TERM") not in _DUMB:
            driver.write(sequence)


def _clean(text: str) -> str:
    return wording.plain(text).replace("\n", " ").replace(";", ",")[:120]
