"""What the lab is asked with: model, concept, system message, prompt and sampling, as fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid, Vertical
from textual.message import Message
from textual.suggester import SuggestFromList
from textual.widgets import Input, Label, Select, TextArea

from mlxintro.backends.adapters import sources as adapters
from mlxintro.lab.lab import questions

NUMBERS = {"max_tokens": ("Max. tokens", "80"), "temperature": ("Temperature", "0"), "seed": ("Seed", "0")}

_TYPED = (*NUMBERS, "concept", "system", "adapter")
"""Fields of one line."""


class PromptField(TextArea):
    """Takes several lines; Enter asks, as in the other fields."""

    HELP = "The prompt, of any number of lines; a pasted text keeps its lines. Enter asks, Ctrl+J begins a new line."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Ask", show=False, priority=True),
        Binding("ctrl+j", "newline", "New line", show=False, priority=True),
    ]

    @dataclass
    class Submitted(Message):
        """An answer is wanted."""

    def action_submit(self) -> None:
        self.post_message(self.Submitted())

    def action_newline(self) -> None:
        self.insert("\n")


class LabForm(Vertical):
    class Edited(Message):
        """Tells that a field says something else."""

    class ModelChosen(Message):
        """Another model is wanted."""

    def __init__(self, models: Sequence[str], *, words: Sequence[str] = (), id: str) -> None:
        """``words``: concepts that are suggested while one is typed."""
        super().__init__(id=id)
        self._models = models
        self._words = words
        self._wanted_model = ""

    def compose(self) -> ComposeResult:
        with Grid(id="about-lab"):
            yield Label("Model")
            yield Select([(name, name) for name in self._models], allow_blank=False, compact=True, id="model")
            yield Label(" Concept")
            yield Input(
                "ocean",
                compact=True,
                id="concept",
                suggester=SuggestFromList(self._words, case_sensitive=False),
            )
            yield Label("Question")
            yield Select([(one.title, one.text) for one in questions()], allow_blank=False, compact=True, id="question")
            yield Label(" System")
            yield Input(placeholder="no system message", compact=True, id="system", select_on_focus=False)
        with Grid(id="sampling"):
            for name, (title, usual) in NUMBERS.items():
                yield Label(f" {title}" if name != "max_tokens" else title)
                yield Input(usual, compact=True, id=name)
            yield Label(" Adapter")
            ships = SuggestFromList(list(adapters.shipped()))
            yield Input(placeholder="none", compact=True, id="adapter", suggester=ships, select_on_focus=False)
        with Grid(id="asking"):
            yield Label("Prompt")
            yield PromptField(questions()[0].text, id="prompt", compact=True, tab_behavior="focus")

    @property
    def model(self) -> str:
        return str(self.query_one("#model", Select).value)

    @property
    def adapter(self) -> str:
        """Name of the adapter that the model is to speak with; empty for none."""
        return self.query_one("#adapter", Input).value.strip()

    @property
    def concept(self) -> str:
        return self.query_one("#concept", Input).value.strip()

    @property
    def prompt(self) -> str:
        return self.query_one("#prompt", TextArea).text.strip()

    @property
    def system(self) -> str:
        return self.query_one("#system", Input).value.strip()

    @property
    def numbers(self) -> Mapping[str, str]:
        """Return the numbers as typed, or the usual ones where nothing is."""
        typed = {name: self.query_one(f"#{name}", Input).value.strip() for name in NUMBERS}
        return {name: text or NUMBERS[name][1] for name, text in typed.items()}

    def kept(self) -> dict[str, Any]:
        """Return everything that is typed, as plain data."""
        typed = {name: self.query_one(f"#{name}", Input).value for name in _TYPED}
        return {**typed, "prompt": self.query_one("#prompt", TextArea).text, "model": self._wanted_model or self.model}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Take up what ``kept`` gave; what is missing stays."""
        for name in _TYPED:
            if name in kept:
                self.query_one(f"#{name}", Input).value = str(kept[name])
        if "prompt" in kept:
            self.query_one("#prompt", TextArea).text = str(kept["prompt"])
        self._wanted_model = str(kept.get("model", ""))
        if self._wanted_model in self._models:
            self.offer(self._models)

    def offer(self, models: Sequence[str]) -> None:
        """Offer these models and choose the one that was chosen the last time, or the first."""
        self._models = models
        chosen = self.query_one("#model", Select)
        with self.prevent(Select.Changed):
            chosen.set_options([(name, name) for name in models])
            chosen.value = self._wanted_model if self._wanted_model in models else models[0]

    def next_seed(self) -> None:
        field = self.query_one("#seed", Input)
        text = field.value.strip()
        field.value = str(int(text) + 1) if text.isdecimal() else "0"

    def show_wrong(self, name: str) -> None:
        """Mark the field that is wrong, and only that."""
        for field in self.query(Input):
            field.set_class(field.id == name, "-wrong")

    def on_select_changed(self, event: Select.Changed) -> None:
        event.stop()
        if event.select.id == "question":
            self.query_one("#prompt", TextArea).text = str(event.value)
        else:
            self._wanted_model = ""
            self.post_message(self.ModelChosen())

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Edited())

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        event.stop()
        self.post_message(self.Edited())
