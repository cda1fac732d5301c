"""Two replies token by token with their cosines as bars on one scale, and one cursor for both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.markup import escape
from textual.message import Message

from mlxintro.lab.messages import SIDES, Side, Trace

from ..reading import wording
from ..widgets.text import Text

BARS = "▁▂▃▄▅▆▇█"
_NAME = 9
"""Columns of a row's name."""
_WIDEST = 12
"""Columns of a token."""


def bar_of(value: float, low: float, high: float) -> str:
    """Return the bar of a value between the lowest and the highest."""
    return BARS[min(7, max(0, int((value - low) / (high - low) * 8)))] if high > low else BARS[0]


def shown_piece(piece: str) -> str:
    """Return a token's text on one line, with its blanks to be seen."""
    return wording.plain(piece.replace("\n", "⏎")).replace(" ", "·") or "∅"


@dataclass(frozen=True, slots=True)
class TokenRow:
    """Shows a reply's cosines with its tokens."""

    side: Side
    cosines: Sequence[float]
    pieces: Sequence[str]

    def piece(self, at: int) -> str:
        return shown_piece(self.pieces[at]) if at < len(self.pieces) else "?"


def rows_of(trace: Trace) -> tuple[TokenRow, TokenRow]:
    """Return both replies of a trace."""
    return (
        TokenRow("control", trace.control, trace.control_pieces),
        TokenRow("injected", trace.injected, trace.injected_pieces),
    )


def drawn(trace: Trace, width: int, cursor: int) -> Content:
    """Draw four lines: the bars and the tokens of both replies, scrolled so that the cursor is in sight."""
    rows = rows_of(trace)
    every = [value for row in rows for value in row.cosines]
    if not every:
        return Content("no token to read: both replies are empty")
    low, high = min(every), max(every)
    count = max(len(row.cosines) for row in rows)
    widths = [_width(rows, at) for at in range(count)]
    first = _first(widths, width - _NAME, cursor)
    lines: list[Content] = []
    for row in rows:
        bars, tokens = [Content.styled(row.side.ljust(_NAME), "bold")], [Content(" " * _NAME)]
        room = width - _NAME
        for at in range(first, count):
            if room < widths[at]:
                break
            room -= widths[at]
            there = at < len(row.cosines)
            style = "reverse" if at == cursor else ""
            bar = bar_of(row.cosines[at], low, high) * (widths[at] - 1) if there else ""
            # Reversed, a low bar would look like a high one.
            bars.append(Content(bar.ljust(widths[at])))
            text = wording.fit(row.piece(at) if there else "", widths[at] - 1)
            tokens.append(Content.assemble(Content.styled(text, style), " "))
        lines += [Content.assemble(*bars), Content.assemble(*tokens)]
    return Content("\n").join(lines)


def _width(rows: Sequence[TokenRow], at: int) -> int:
    return 1 + min(_WIDEST, max(cell_len(row.piece(at)) for row in rows if at < len(row.cosines)))


def _first(widths: Sequence[int], room: int, cursor: int) -> int:
    """Return the first token in sight: the cursor stands in the middle where there are more than there is room for."""
    first, used = cursor, 0
    while first > 0 and used + widths[first - 1] <= room // 2:
        first -= 1
        used += widths[first]
    while first > 0 and sum(widths[first - 1 :]) <= room:
        first -= 1
    return first


class Cosines(Text, can_focus=True):
    """Shows cosines token by token; empty until there is a trace."""

    HELP = (
        "Both replies token by token; above a token stands how much of the concept is in the residual stream there: "
        "the cosine with its vector. Left and right move the cursor, in the replies as well. · is a blank, ⏎ a line "
        "break, ∅ a token without text."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "move(-1)", "Token", id="lab.token_before", tooltip="The token before"),
        Binding("right,l", "move(1)", "Token +", show=False, id="lab.token_after", tooltip="The next token"),
        Binding("home", "move(-100000)", "First token", show=False),
        Binding("end", "move(100000)", "Last token", show=False),
    ]

    @dataclass
    class Moved(Message):
        """The cursor stands on another token."""

        at: int

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.trace: Trace | None = None
        self._waiting = ""
        self._cursor = 0

    def wait(self, text: str) -> None:
        """Say why there are no bars yet."""
        self.trace, self._waiting = None, text
        self._draw()

    def show(self, trace: Trace, concept: str) -> None:
        self.trace, self._cursor = trace, 0
        means = [f"{row.side} {fmean(row.cosines):+.3f}" for row in rows_of(trace) if row.cosines]
        title = f"cosine with {concept} at layer {trace.layer}; mean {', '.join(means)}"
        self.border_title = escape(wording.plain(title))
        self._draw()

    def on_resize(self, event: events.Resize) -> None:
        self._draw()

    def action_move(self, by: int) -> None:
        if self.trace is None:
            return
        last = max((len(row.cosines) for row in rows_of(self.trace)), default=1) - 1
        self._cursor = max(0, min(last, self._cursor + by))
        self._draw()
        self.post_message(self.Moved(self._cursor))

    def on_click(self, event: events.Click) -> None:
        # The nearest token to the right of the name; which one it is depends on what is in sight.
        if self.trace is not None:
            rows = rows_of(self.trace)
            widths = [_width(rows, at) for at in range(max(len(row.cosines) for row in rows))]
            at, x = _first(widths, self.size.width - _NAME, self._cursor), event.x - _NAME
            while at < len(widths) - 1 and x >= widths[at]:
                x -= widths[at]
                at += 1
            self.action_move(at - self._cursor)

    def _draw(self) -> None:
        if self.trace is None:
            self.border_subtitle = ""
            self.update(Content.styled(self._waiting, "$text-muted"))
            return
        self.update(drawn(self.trace, max(20, self.size.width), self._cursor))
        here = [
            f"{row.side} {row.piece(self._cursor)} {row.cosines[self._cursor]:+.3f}"
            for row in rows_of(self.trace)
            if self._cursor < len(row.cosines)
        ]
        self.border_subtitle = escape(f"token {self._cursor + 1}: {'   '.join(here)}")


def sides_of(trace: Trace) -> dict[Side, Sequence[str]]:
    """Return the pieces of both replies."""
    return dict(zip(SIDES, (trace.control_pieces, trace.injected_pieces), strict=True))
