"""How probable a concept's name is at every token of both replies, by the logit lens, as bars on one scale."""

from __future__ import annotations

from statistics import fmean

from textual import events
from textual.content import Content
from textual.markup import escape

from mlxintro.lab.messages import SIDES, Trace

from ..reading import wording
from ..widgets.text import Text
from .cosines import bar_of

_MARGIN = 25
"""Columns for a row's name before its bars and its mean after them."""


def lens_lines(trace: Trace, width: int) -> tuple[str, str]:
    """Return two lines of bars with their means, and the scale in words.

    Several tokens share a bar where room is short.
    """
    rows = dict(zip(SIDES, (trace.control_lens, trace.injected_lens), strict=True))
    every = [value for row in rows.values() for value in row]
    if not every:
        return "", ""
    low, high = min(every), max(every)
    room = max(8, width - _MARGIN)
    each = max(1, -(-max(map(len, rows.values())) // room))
    lines = []
    for name, row in rows.items():
        means = [fmean(row[at : at + each]) for at in range(0, len(row), each)]
        bars = "".join(bar_of(one, low, high) for one in means)
        lines.append(f"{name:<9}{bars.ljust(room)}  {f'mean {fmean(row):+.2f}' if row else '(empty reply)'}")
    scale = f"▁ {low:+.2f}  █ {high:+.2f} nats"
    return "\n".join(lines), scale if each == 1 else f"{scale}; {each} tokens a bar"


class LensStrip(Text):
    """Shows the logit lens token by token; empty until there is a trace."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._trace: Trace | None = None

    def show(self, trace: Trace | None) -> None:
        """Draw a trace, or nothing."""
        self._trace = trace
        if trace is not None:
            title = f"logit lens: log P({trace.name.strip()}) at layer {trace.layer}, token by token"
            self.border_title = escape(wording.plain(title))
        self._draw()

    def on_resize(self, event: events.Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        lines, scale = ("", "") if self._trace is None else lens_lines(self._trace, self.size.width)
        self.border_subtitle = scale
        self.update(Content(lines))
