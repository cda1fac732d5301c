"""Short questions over a screen: yes or no, a line of text, and where to write a file."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.suggester import SuggestFromList
from textual.widgets import Button, Input, Label

from mlxintro.backends.errors import UsageError
from mlxintro.protocol import study_file
from mlxintro.rendering.cleaning import visible

from ..widgets.text import Text
from .error_border import Popup

FORMATS = ("jsonl", "csv", "parquet")


def free_path(path: Path) -> Path:
    """Return the path, or one with a number in its name if there is such a file already."""
    others = (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(2))
    return next(one for one in itertools.chain([path], others) if not one.exists())


class Confirm(Popup[bool]):
    """Asks yes or no; Enter answers no at first."""

    HELP = "{confirm.yes} does it, {confirm.no} or Esc leaves everything as it is."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes", id="confirm.yes"),
        Binding("n,escape", "answer(False)", "No", id="confirm.no"),
        Binding("left,right", "app.focus_next", "Move", show=False),
    ]

    def __init__(self, question: str, yes: str) -> None:
        super().__init__()
        self._question = question
        self._yes = yes

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield Label(Content(visible(self._question)))
            with Horizontal(classes="buttons"):
                yield Button("No (n)", id="no")
                yield Button(f"{self._yes} (y)", id="yes", variant="error")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)


class AskLine(Popup[str]):
    """Asks for a line of text; what is wrong with it is said below the field, which keeps what was typed."""

    HELP = "Type, then Enter. Esc leaves everything as it is."
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Leave it", id="line.leave")]

    def __init__(
        self, title: str, value: str, wrong: Callable[[str], str], hint: str = "", offered: Sequence[str] = ()
    ) -> None:
        """Args:
        title: what is asked for.
        value: stands in the field at first.
        wrong: says what is wrong with a line; nothing when it may be taken.
        hint: stands below the field as long as nothing is wrong.
        offered: lines that the right arrow completes.
        """
        super().__init__()
        self._offered = offered
        self._title = title
        self._value = value
        self._wrong = wrong
        self._hint = f"{hint} Enter takes it, Esc leaves.".strip()

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield Label(Content(visible(self._title)))
            suggester = SuggestFromList(self._offered) if self._offered else None
            yield Input(self._value, id="line", select_on_focus=False, suggester=suggester)
            yield Text(id="line-hint", classes="quiet")

    def on_mount(self) -> None:
        self.say("")

    def on_input_changed(self, event: Input.Changed) -> None:
        self.say("")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        wrong = self._wrong(event.value)
        if wrong:
            self.say(wrong)
        else:
            self.take(event.value)

    def take(self, text: str) -> None:
        """Close with an answer."""
        self.dismiss(text)

    def say(self, wrong: str) -> None:
        """Say what is wrong, or the hint again; a dialogue that is left before it stands has no place for either."""
        for hint in self.query("#line-hint").results(Text):
            hint.set_class(bool(wrong), "wrong")
            hint.update(f"✗ {wrong}" if wrong else self._hint)


class OpenPath(AskLine):
    """Asks for a study's file to read, or for one that ships by its name."""

    HELP = "Type the path of a study's TOML file, the right arrow completes. Enter opens it, Esc does nothing."

    def __init__(self, title: str, folder: Path, hint: str) -> None:
        self._folder = folder
        here = sorted(path.name for path in folder.glob("*.toml"))[:200]
        super().__init__(title, "", self._wrong_with, hint, (*here, *study_file.ready()))

    def _wrong_with(self, text: str) -> str:
        try:
            study_file.read(text.strip())
        except UsageError as error:
            return str(error)
        return ""

    def take(self, text: str) -> None:
        self.dismiss(text.strip())


class AskPath(AskLine):
    """Asks for a path to write to; a file that is there is only replaced after a second Enter."""

    HELP = "Type where to write. The ending of the name says the format. Enter writes, Esc does nothing."

    def __init__(self, title: str, suggestion: Path, endings: tuple[str, ...] = FORMATS) -> None:
        self._endings = endings
        self._sure: Path | None = None
        """A file that is there and that Enter replaces."""
        hint = f"Ends in {', '.join('.' + e for e in endings)}."
        super().__init__(title, str(free_path(suggestion)), self._wrong_with, hint)

    def _wrong_with(self, text: str) -> str:
        path = Path(text).expanduser().absolute()
        if path.suffix.lstrip(".") not in self._endings or not path.name:
            return f"let the name end in .{' or .'.join(self._endings)}"
        if path.is_dir() or not path.parent.is_dir():
            return f"there is no folder {path.parent} to write a file in"
        there = path.exists()
        if there and path != self._sure:
            self._sure = path
            return f"{path.name} exists: Enter again replaces it, or type another name"
        try:
            with path.open("ab"):
                pass
            if not there:
                path.unlink()
        except OSError as error:
            return f"{path} cannot be written ({error.strerror}): type another place"
        return ""

    def on_input_changed(self, event: Input.Changed) -> None:
        self._sure = None
        super().on_input_changed(event)

    def take(self, text: str) -> None:
        self.dismiss(str(Path(text).expanduser().absolute()))
