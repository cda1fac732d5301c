"""Choosing concepts: sets, categories and single words, found by typing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from mlxintro.protocol import concepts
from mlxintro.protocol.concepts import Library
from mlxintro.protocol.spelling import comparable

from .options import Options

_OWN = "own "
"""Begins the id of the row that adds what is typed."""


class ConceptWords(Options):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("space", "select", "Choose", id="concepts.choose")]


class FindField(Input):
    """Shows where a word is sought; the arrow keys move in the list below it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "along(1)", "Next match", show=False),
        Binding("up", "along(-1)", "Match before", show=False),
    ]

    @dataclass
    class Along(Message):
        """The cursor of the list is to move."""

        by: int

    def action_along(self, by: int) -> None:
        self.post_message(self.Along(by))


class Concepts(Vertical):
    HELP = (
        "Concepts to inject: Space chooses. Sets and categories say how many words they have. Type above the list to "
        "find words, categories and sets: Enter takes the highlighted one, the arrow keys highlight another. The row "
        "that begins with + adds a word of your own. Chosen ones are marked [x]."
    )

    class Chosen(Message):
        """Something was chosen or left out."""

    def __init__(self, chosen: Sequence[str], *, id: str) -> None:
        super().__init__(id=id)
        self.chosen = list(chosen)
        self._library = concepts.library()
        self._names = _names(self._library)
        self._sizes = _sizes(self._library)

    def compose(self) -> ComposeResult:
        yield FindField(placeholder="find or add a word", compact=True, id="find", select_on_focus=False)
        yield ConceptWords(id="words")

    def on_mount(self) -> None:
        self.border_title = "Concepts"
        self._fill("")

    @property
    def unknown(self) -> bool:
        """Tell whether a chosen word is not in the library."""
        return any(":" not in name and self._library.find(name) is None for name in self.chosen)

    def know(self, library: Library) -> None:
        """Offer other concepts."""
        if library is not self._library:
            self._library = library
            self._names, self._sizes = _names(library), _sizes(library)
            self._fill(self.query_one("#find", Input).value)

    def choose(self, names: Sequence[str]) -> None:
        """Replace what is chosen."""
        self.chosen = list(names)
        self._fill(self.query_one("#find", Input).value)

    def _fill(self, text: str) -> None:
        wanted = comparable(text).split()
        found = [name for name, label in self._names.items() if all(word in comparable(label) for word in wanted)]
        words = self.query_one("#words", ConceptWords)
        words.clear_options()
        if wanted:
            # What begins with the text comes first: it is what Enter takes.
            found.sort(key=lambda name: (comparable(name) != comparable(text.strip()), not name.startswith(wanted[0])))
            order = found
        else:
            order = [*self.chosen, *(name for name in found if name not in self.chosen)]
        options = [Option(self._line(name), id=f"word {name}") for name in order]
        own = " ".join(text.split())
        if own and comparable(own) not in (comparable(name) for name in self._names) and not _not_a_word(own):
            options.append(Option(Content(f'+ add "{own}" as your own word'), id=f"{_OWN}{own}"))
        if own and not options:
            options.append(Option(Content(f"{own} {_not_a_word(own)}"), disabled=True))
        words.add_options(options)
        if wanted and options:
            words.highlighted = 0
        self._count()

    def _count(self) -> None:
        words = sum(self._sizes.get(name, 1) for name in self.chosen)
        self.border_subtitle = f"{words} {'word' if words == 1 else 'words'} chosen"

    def _line(self, name: str) -> Content:
        label = self._names.get(name, f"{name}  your own word")
        return Content(f"[x] {label}") if name in self.chosen else Content(f"[ ] {label}")

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._fill(event.value)

    def on_find_field_along(self, event: FindField.Along) -> None:
        words = self.query_one("#words", ConceptWords)
        words.action_cursor_down() if event.by > 0 else words.action_cursor_up()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        option = self.query_one("#words", ConceptWords).highlighted_option
        if not event.value.strip():
            return
        if option is None or option.id is None:
            # Why nothing can be taken stands in the list.
            return
        name = option.id.removeprefix("word ").removeprefix(_OWN)
        if name not in self.chosen:
            self.chosen.append(name)
        event.input.value = ""
        self._fill("")
        self.post_message(self.Chosen())

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        identity = event.option.id or ""
        if identity.startswith(_OWN):
            self.chosen.append(identity.removeprefix(_OWN))
            self.query_one("#find", Input).value = ""
            self._fill("")
        else:
            name = identity.removeprefix("word ")
            self.chosen = [one for one in self.chosen if one != name] if name in self.chosen else [*self.chosen, name]
            event.option_list.replace_option_prompt(identity, self._line(name))
            self._count()
        self.post_message(self.Chosen())


def _not_a_word(text: str) -> str:
    """Say why a text cannot be a word of one's own; nothing when it can."""
    if "," in text:
        return "holds a comma: add one word at a time"
    return "is no set or category: type a part of its name" if ":" in text else ""


def _sizes(library: Library) -> dict[str, int]:
    """Number of words of every set and category."""
    found = {f"set:{name}": len(words.words) for name, words in library.sets.items()}
    return found | {
        f"category:{name}": sum(c.category == name for c in library.concepts) for name in library.categories
    }


def _names(library: Library) -> dict[str, str]:
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
