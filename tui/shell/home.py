"""What screens, dialogues and commands need of the app, so that they need not know the app itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from textual.dom import DOMNode

from mlxintro.paths import DataHome
from mlxintro.protocol.words.own_concepts import OwnConcepts
from mlxintro.store.store import Store

from ..running.processes import ChildProcess, Processes
from .app_state import Memory

T = TypeVar("T")


class Home(Protocol):
    """Is the app, as everything inside it sees it. ``tui.app.IntroApp`` keeps this promise."""

    state_file: Path
    """File to which what is remembered is written."""
    keys_file: Path
    """File of a person's own keys."""
    data: DataHome
    """Paths of the store and of what lies beside it."""
    own_concepts: OwnConcepts | None
    """A person's own concepts, offered beside those that ship."""
    remembered: Memory
    """State that outlives the app."""
    processes: Processes
    starting: ChildProcess | None
    """A run that this app has started and that is not in the store yet."""
    compared: tuple[str, str] | None
    """Ids of two runs that results are to show side by side."""
    study_wanted: tuple[Mapping[str, Any], str] | None
    """Settings that the next look at the new study fills in, and where they come from."""
    filter_wanted: str | None
    """A filter that the next look at the replies takes up."""
    row_wanted: int | None
    """Row of a trial that the next look at the replies puts the cursor on."""
    run_name: str
    """Name of the run that is open."""

    @property
    def run_id(self) -> str:
        """Return the id of the run that is open, or empty."""

    def ask(self, query: Callable[[Store], T]) -> T:
        """Ask the store, in whatever thread this is called."""

    def change(self, step: Callable[[Store], T]) -> T:
        """Write to the store, in whatever thread this is called."""

    def trouble(self, error: BaseException) -> None:
        """Tell a person about an error, and go on."""

    def trouble_once(self, what: str, error: BaseException) -> None:
        """Tell about an error of something that is tried again and again: once until it changes."""

    def well(self, what: str) -> None:
        """Say that something that is tried again and again has gone well."""

    def keyed(self, text: str) -> str:
        """Put keys in place of the ids of bindings in a text, e.g. ``r`` for ``{runs.resume}``."""

    def deleted(self, run: str) -> None:
        """Say that a run was deleted from here."""

    def action_go(self, place: str) -> None:
        """Switch to a screen."""

    def open_run(self, run: str, name: str, place: str = "live") -> None:
        """Make a run the one all screens are about, and go to one of them."""

    def run_is_lost(self) -> bool:
        """Tell whether the open run is not in the store any more. Asks the store, so call it in a thread."""

    def close_run(self) -> None:
        """Have no run open any more, because it is gone."""

    def set_up_study(self, study: Mapping[str, Any], title: str) -> None:
        """Go to the new study with settings filled in; the title says where they come from."""

    def compare(self, first: str, second: str) -> None:
        """Show two runs side by side."""

    def action_write_keys(self) -> None:
        """Write a file of keys to edit."""

    def start_run(self, name: str, arguments: list[str]) -> None:
        """Start a new run of that name, and go to watch it."""

    def notify(self, message: str, *, markup: bool = ..., severity: Any = ..., timeout: float | None = ...) -> None:
        """Show a notice."""


def home_of(node: DOMNode) -> Home:
    """Return the app that a screen or widget belongs to."""
    return cast(Home, node.app)
