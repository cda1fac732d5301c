"""What the lab is asked with: model, concept, prompt and sampling, as fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual.app import ComposeResult
from textual.containers import Grid, Vertical
from textual.message import Message
from textual.suggester import SuggestFromList
from textual.widgets import Input, Label, Select

from mlxintro.lab.lab import questions
from mlxintro.protocol import concepts

NUMBERS = {"max_tokens": ("Tokens", "80"), "temperature": ("Temperature", "0"), "seed": ("Seed", "0")}


class LabForm(Vertical):
    class Edited(Message):
        """Another answer is wanted."""

    class ModelChosen(Message):
        """Another model is wanted."""

    def __init__(self, models: Sequence[str], *, id: str) -> None:
        super().__init__(id=id)
        self._models = models

    def compose(self) -> ComposeResult:
        with Grid(id="about-lab"):
            yield Label("Model")
            yield Select([(name, name) for name in self._models], allow_blank=False, compact=True, id="model")
            yield Label(" Concept")
            yield Input(
                "ocean",
                compact=True,
                id="concept",
                suggester=SuggestFromList([one.word for one in concepts.library().concepts], case_sensitive=False),
            )
            yield Label("Question")
            yield Select([(one.title, one.text) for one in questions()], allow_blank=False, compact=True, id="question")
            yield Label(" Prompt")
            yield Input(questions()[0].text, compact=True, id="prompt", select_on_focus=False)
        with Grid(id="sampling"):
            for name, (title, usual) in NUMBERS.items():
                yield Label(f" {title}" if name != "max_tokens" else title)
                yield Input(usual, compact=True, id=name)

    @property
    def model(self) -> str:
        return str(self.query_one("#model", Select).value)

    @property
    def concept(self) -> str:
        return self.query_one("#concept", Input).value.strip()

    @property
    def prompt(self) -> str:
        return self.query_one("#prompt", Input).value.strip()

    @property
    def numbers(self) -> Mapping[str, str]:
        """As typed, or the usual ones where nothing is."""
        typed = {name: self.query_one(f"#{name}", Input).value.strip() for name in NUMBERS}
        return {name: text or NUMBERS[name][1] for name, text in typed.items()}

    def offer(self, models: Sequence[str]) -> None:
        """Offer these models and choose the first."""
        chosen = self.query_one("#model", Select)
        with self.prevent(Select.Changed):
            chosen.set_options([(name, name) for name in models])
            chosen.value = models[0]

    def next_seed(self) -> None:
        field = self.query_one("#seed", Input)
        text = field.value.strip()
        field.value = str(int(text) + 1) if text.isdecimal() else "0"

    def on_select_changed(self, event: Select.Changed) -> None:
        event.stop()
        if event.select.id == "question":
            self.query_one("#prompt", Input).value = str(event.value)
        else:
            self.post_message(self.ModelChosen())

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Edited())
