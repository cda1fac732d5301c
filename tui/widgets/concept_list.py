"""Choosing concepts: sets, categories and single words, found by typing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from mlxintro.protocol import concepts


class ConceptWords(OptionList):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("space", "select", "Choose", id="concepts.choose")]


class Concepts(Vertical):
    HELP = (
        "Concepts to inject: Space chooses. Sets and categories say how many words they have. Type above the list to "
        "find words, categories and sets; Enter there adds "
        "what is typed, whether it is in the library or not. Chosen ones are marked [x]."
    )

    class Chosen(Message):
        """Something was chosen or left out."""

    def __init__(self, chosen: Sequence[str], *, id: str) -> None:
        super().__init__(id=id)
        self.chosen = list(chosen)
        self._names = _names()

    def compose(self) -> ComposeResult:
        yield Input(placeholder="find or add a word", compact=True, id="find")
        yield ConceptWords(id="words")

    def on_mount(self) -> None:
        self.border_title = "Concepts"
        self._fill("")

    @property
    def unknown(self) -> bool:
        """Whether a chosen word is not in the library."""
        return any(":" not in name and concepts.library().find(name) is None for name in self.chosen)

    def choose(self, names: Sequence[str]) -> None:
        """Replace what is chosen."""
        self.chosen = list(names)
        self._fill(self.query_one("#find", Input).value)

    def _fill(self, text: str) -> None:
        wanted = text.casefold().split()
        found = {name for name, label in self._names.items() if all(w in label.casefold() for w in wanted)}
        words = self.query_one("#words", ConceptWords)
        words.clear_options()
        order = [*self.chosen, *(name for name in self._names if name in found and name not in self.chosen)]
        words.add_options(Option(self._line(name), id=f"word {name}") for name in order)
        self.border_subtitle = f"{len(self.chosen)} chosen"

    def _line(self, name: str) -> Content:
        label = self._names.get(name, f"{name}  your own word")
        return Content(f"[x] {label}") if name in self.chosen else Content(f"[ ] {label}")

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._fill(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        word = event.value.strip()
        if word and "," not in word and word not in self.chosen:
            self.chosen.append(word)
            event.input.value = ""
            self._fill("")
            self.post_message(self.Chosen())

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        identity = event.option.id or ""
        name = identity.removeprefix("word ")
        self.chosen = [one for one in self.chosen if one != name] if name in self.chosen else [*self.chosen, name]
        event.option_list.replace_option_prompt(identity, self._line(name))
        self.border_subtitle = f"{len(self.chosen)} chosen"
        self.post_message(self.Chosen())


def _names() -> dict[str, str]:
    library = concepts.library()
    found = {
        f"set:{name}": f"set:{name} ({len(words.words)})"
        for name, words in library.sets.items()
        if name not in library.categories
    }
    found |= {
        f"category:{name}": f"category:{name} ({sum(c.category == name for c in library.concepts)})"
        for name in library.categories
    }
    return found | {concept.word: f"{concept.word}  {concept.category}" for concept in library.concepts}
