"""Two replies side by side, as they grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.cells import cell_len, set_cell_size
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.markup import escape

from mlxintro.lab.messages import SIDES, Side, Started

from ..reading import wording
from ..widgets.text import Text

_BEFORE: Mapping[Side, str] = {
    "control": "Here stands what the model answers as it is.",
    "injected": "Here stands what it answers with the concept's vector added to its residual stream.",
}
"""What the panes say before anything was asked."""


class Replies(Horizontal):
    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._texts: dict[Side, list[str]] = {side: [] for side in SIDES}
        self._grown: set[Side] = set()
        self._writing = False
        self._at: int | None = None
        """Token under the cursor of the cosines."""
        self._pieces: Mapping[Side, Sequence[str]] = {}

    def compose(self) -> ComposeResult:
        for side in SIDES:
            with VerticalScroll(id=side, can_focus=False) as pane:
                pane.border_title = side
                text = Text(id=f"{side}-text")
                text.update(Content.styled(_BEFORE[side], "$text-muted"))
                yield text
                yield Text(id=f"{side}-guide", classes="guide")

    def guide(self, rows: Mapping[Side, Sequence[tuple[str, str]]]) -> None:
        """Say which keys there are, each with what it does, until something is asked."""
        for side, pairs in rows.items():
            widest = max(cell_len(keys) for keys, _ in pairs)
            lines = [f"{set_cell_size(keys, widest)}  {words}" for keys, words in pairs]
            self.query_one(f"#{side}-guide", Text).update("\n".join(["", *lines]))

    def begin(self, started: Started) -> None:
        """Clear both for a new pair."""
        self._writing = True
        for side in SIDES:
            self.query_one(f"#{side}-guide").display = False
        self._texts = {side: [] for side in SIDES}
        self._grown = set(SIDES)
        self._at = None
        title = f"injected: {started.concept}, layer {started.layer}, α = {started.raw:.3g}"
        self.query_one("#injected").border_title = escape(wording.plain(title))

    def add(self, side: Side, text: str) -> None:
        """Append what a reply has grown by; ``draw`` shows it."""
        self._texts[side].append(text)
        self._grown.add(side)

    def end(self) -> None:
        """Take no more replies."""
        self._writing = False
        self._grown = set(SIDES)
        self.draw()

    def draw(self) -> None:
        """Show what has grown since this was last called."""
        for side in sorted(self._grown):
            text = wording.plain("".join(self._texts[side]).strip())
            cursor = [Content.styled("▌", "bold")] if self._writing else []
            self.query_one(f"#{side}-text", Text).update(Content.assemble(self._marked(side, text), *cursor))
            if self._writing:
                self.query_one(f"#{side}", VerticalScroll).scroll_end(animate=False)
        self._grown.clear()

    def mark(self, at: int, pieces: Mapping[Side, Sequence[str]]) -> None:
        """Mark a token in both replies, given their pieces."""
        self._at, self._pieces = at, pieces
        self._grown = set(SIDES)
        self.draw()

    def texts(self) -> dict[Side, str]:
        """Return both replies as they stand."""
        return {side: "".join(parts).strip() for side, parts in self._texts.items()}

    def _marked(self, side: Side, text: str) -> Content:
        pieces = self._pieces.get(side, ())
        if self._at is None or self._at >= len(pieces):
            return Content(text)
        # The reply is shown without the blanks at its ends.
        whole = "".join(pieces)
        start = len("".join(pieces[: self._at])) - (len(whole) - len(whole.lstrip()))
        stop = start + len(pieces[self._at])
        return Content(text).stylize("reverse", max(0, start), max(0, stop))

    def scroll_pages(self, by: int) -> None:
        for side in SIDES:
            pane = self.query_one(f"#{side}", VerticalScroll)
            pane.scroll_relative(y=by * max(1, pane.size.height - 1), animate=False)
