"""What is read at every token of two replies, as bars on one scale with the numbers beside them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from textual import events
from textual.content import Content
from textual.markup import escape

from mlxintro.lab.messages import SIDES, LensTrace, Trace

from ..reading import wording
from .text import Text

BARS = "▁▂▃▄▅▆▇█"
_MARGIN = 25
"""Columns for a row's name before its bars and its mean after them."""


def bars(values: Sequence[float], low: float, high: float, each: int = 1) -> str:
    """One bar per ``each`` values (their mean), from the lowest at ``low`` to the highest at ``high``."""
    means = [fmean(values[at : at + each]) for at in range(0, len(values), each)]
    span = high - low
    return "".join(BARS[min(7, max(0, int((value - low) / span * 8)))] if span > 0 else BARS[0] for value in means)


def drawn(trace: Trace | LensTrace, width: int) -> tuple[str, str]:
    """Two lines of bars with their means, and the scale in words."""
    rows = dict(zip(SIDES, (trace.control, trace.injected), strict=True))
    every = [value for row in rows.values() for value in row]
    if not every:
        return "no token to read: both replies are empty", ""
    low, high = min(every), max(every)
    room = max(8, width - _MARGIN)
    each = max(1, -(-max(map(len, rows.values())) // room))
    lines = []
    for name, row in rows.items():
        mean = f"mean {fmean(row):+.3f}" if row else "(empty reply)"
        lines.append(f"{name:<9}{bars(row, low, high, each).ljust(room)}  {mean}")
    scale = f"▁ {low:+.3f}  █ {high:+.3f}"
    return "\n".join(lines), scale if each == 1 else f"{scale}; {each} tokens a bar"


class TokenBars(Text):
    """A strip of bars, empty until there is a trace."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._trace: Trace | LensTrace | None = None
        self._waiting = ""

    def wait(self, text: str) -> None:
        """Say why there are no bars yet."""
        self._trace, self._waiting = None, text
        self._draw()

    def show(self, trace: Trace | LensTrace, title: str) -> None:
        """Draw a trace under a title."""
        self._trace = trace
        self.border_title = escape(wording.plain(title))
        self._draw()

    def on_resize(self, event: events.Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        if self._trace is None:
            self.border_subtitle = ""
            self.update(Content.styled(self._waiting, "$text-muted"))
            return
        lines, self.border_subtitle = drawn(self._trace, self.size.width)
        self.update(Content(lines))
