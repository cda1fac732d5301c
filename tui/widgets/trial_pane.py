"""One trial in full."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import VerticalScroll

from mlxintro.protocol.trials import PromptRecord
from mlxintro.store.searching.browse import Seen

from ..trials import trial_text
from ..trials.trial_line import TrialLines
from .text import Text


class TrialPane(VerticalScroll, can_focus=True):
    ALLOW_MAXIMIZE = True
    HELP = (
        "The trial under the cursor: reply, verdicts and labels, the injection with its dose and proof, and the prompt "
        "token by token, with what was injected into marked below. Arrow and page keys scroll."
    )

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._shown: tuple[Seen, PromptRecord | None, TrialLines] | None = None
        self.chat = True
        """Whether the prompt is shown as a dialogue, or token by token."""

    def compose(self) -> ComposeResult:
        yield Text(id="trial-text")

    def on_mount(self) -> None:
        self.border_title = "trial"

    def show(self, seen: Seen, prompt: PromptRecord | None, lines: TrialLines) -> None:
        """Lay a trial out from its beginning."""
        self._shown = seen, prompt, lines
        self._draw()
        self.scroll_home(animate=False)

    def turn_prompt(self) -> None:
        """Show the prompt in the other way."""
        self.chat = not self.chat
        self._draw()

    def say(self, text: str) -> None:
        """Show a word in place of a trial."""
        self._shown = None
        self.query_one("#trial-text", Text).update(text)

    def on_resize(self, event: events.Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        if self._shown is not None:
            width = max(20, self.scrollable_content_region.width - 1)
            self.query_one("#trial-text", Text).update(trial_text.everything(*self._shown, width, chat=self.chat))
