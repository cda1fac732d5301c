"""Short questions over a screen: yes or no, and where to export to."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Input, Label

from .error_border import Dialogue

FORMATS = ("jsonl", "csv", "parquet")


class Confirm(Dialogue[bool]):
    """Yes must be asked for: Enter answers no at first."""

    HELP = "Y does it, N or Esc leaves everything as it is."
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
            yield Label(Content(self._question))
            with Horizontal(classes="buttons"):
                yield Button("No (n)", id="no")
                yield Button(f"{self._yes} (y)", id="yes", variant="error")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)


class AskPath(Dialogue[Path | None]):
    """A path to write to; its ending says the format."""

    HELP = "Type where to write. The ending says what: .jsonl, .csv or .parquet. Enter writes, Esc does nothing."
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Leave it", id="path.leave")]

    def __init__(self, title: str, suggestion: Path, endings: tuple[str, ...] = FORMATS) -> None:
        super().__init__()
        self._title = title
        self._suggestion = suggestion
        self._endings = endings

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield Label(Content(self._title))
            yield Input(str(self._suggestion), id="path", select_on_focus=False)
            yield Label(
                f"Ends in {', '.join('.' + e for e in self._endings)}. Enter writes, Esc leaves.", classes="quiet"
            )

    def on_input_submitted(self, event: Input.Submitted) -> None:
        path = Path(event.value).expanduser()
        if path.suffix.lstrip(".") not in self._endings or not path.name:
            self.notify(f"Let the name end in .{' or .'.join(self._endings)}", severity="warning")
        elif path.is_dir() or not path.parent.is_dir():
            self.notify(f"There is no folder {path.parent} to write a file in", severity="warning", markup=False)
        else:
            self.dismiss(path.absolute())
