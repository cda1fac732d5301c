"""The app: where one is, what is remembered, and where errors stop. The screens are in ``tui.shell.places``."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.notifications import SeverityLevel
from textual.screen import Screen

from mlxintro.backends.errors import KnownError, UsageError
from mlxintro.paths import DataHome, data_home
from mlxintro.protocol.words.own_concepts import OwnConcepts
from mlxintro.rendering.cleaning import visible
from mlxintro.rendering.whole_file import write_whole
from mlxintro.store.store import Store

from .keys import keymap
from .keys.jump import JumpMode, targets
from .keys.key_order import KeysInOrder
from .running.processes import ChildProcess, Processes
from .shell import error_border
from .shell.app_state import Memory
from .shell.background import Background
from .shell.dialogues import AskLine, Confirm
from .shell.help import HelpScreen
from .shell.home import Home
from .shell.notices import Notices
from .shell.page import Page
from .shell.palette.commands import Actions
from .shell.palette.finding import FoundConcepts, FoundRuns, FoundTrials
from .shell.places import PLACES, find
from .shell.run_news import RunNews
from .shell.store_access import StoreApp
from .shell.themes import ThemedApp

_KEEP_SECONDS = 5.0
"""How often what the screens want to find again is written down."""

_log = logging.getLogger(__name__)


class IntroApp(error_border.Guarded, KeysInOrder, ThemedApp, StoreApp):
    """Shows mlxintro in a terminal."""

    TITLE = "mlxintro"
    CSS_PATH = "app.tcss"
    COMMANDS: ClassVar = {Actions, FoundRuns, FoundConcepts, FoundTrials}
    HELP = "mlxintro extracts a concept's direction from a model, injects it, and asks whether the model notices."
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(
                place.key, f"go('{place.name}')", place.title, show=False, id=f"go.{place.name}", tooltip=place.summary
            )
            for place in PLACES
        ),
        Binding("f1,question_mark", "help", "Help", id="app.help", tooltip="Help on what is focused"),
        Binding("ctrl+p", "command_palette", "All actions", id="app.palette", tooltip="Find any action by its name"),
        Binding(
            "ctrl+o",
            "open_finished",
            "Open it",
            show=False,
            id="app.open_finished",
            tooltip="Open the run that has ended last",
        ),
        Binding("ctrl+t", "toggle_light", "Light/dark", show=False, id="app.theme", tooltip="Light or dark theme"),
        Binding("f4", "change_theme", "Themes", show=False, id="app.themes", tooltip="Choose a theme"),
        Binding("ctrl+n", "close_notices", "Close notices", show=False, id="app.notices", tooltip="Close every notice"),
        Binding("ctrl+g", "jump", "Jump", show=False, id="app.jump", tooltip="Go to a pane by its letter"),
        Binding("q", "quit", "Quit", id="app.quit", tooltip="Leave the app; runs go on"),
        Binding("ctrl+q,ctrl+c", "quit", "Quit", show=False, id="app.quit_anywhere", tooltip="Quit; runs go on"),
    ]

    def __init__(self, home: DataHome, own_concepts: OwnConcepts | None = None) -> None:
        super().__init__()
        self.data = home
        self.own_concepts = own_concepts
        folder = home.db.parent
        self.state_file = folder / "tui.json"
        self.keys_file = folder / "keys.toml"
        self.log_file = home.logs / "tui.log"
        self.remembered = Memory.load(self.state_file)
        self.run_name = ""
        """Name of the open run, for the bar at the top."""
        self.processes = Processes(home)
        self.starting: ChildProcess | None = None
        """A run that this app has started and that is not in the store yet."""
        self.study_wanted: tuple[Mapping[str, Any], str] | None = None
        """Settings that the next look at the new study fills in, and where they come from."""
        self.filter_wanted: str | None = None
        self.row_wanted: int | None = None
        """Row of a trial that the next look at the replies puts the cursor on."""
        self.compared: tuple[str, str] | None = None
        """Two runs that results are to show side by side."""
        self.notices = Notices(self, self.remembered)
        self.news = RunNews(self, self.notices)
        self.background = Background(self, self.news)
        self._shower = error_border.Shower()
        self._told: dict[str, str] = {}
        for place in PLACES:
            self.add_mode(place.name, place.make)

    # -- where one is

    async def on_mount(self) -> None:
        self.take_themes(self.data.db.parent / "themes")
        self._take_keys()
        self.set_interval(_KEEP_SECONDS, self.keep)
        self.background.begin()
        await self.switch_mode(find(self.remembered.place).name)

    def _take_keys(self) -> None:
        try:
            chosen = keymap.load_keys(self.keys_file, self._key_groups)
        except UsageError as error:
            self.trouble(error)
            return
        self.set_keymap(chosen.keys)
        if chosen.problems:
            more = f"; and {len(chosen.problems) - 3} more" if len(chosen.problems) > 3 else ""
            self.trouble(
                UsageError(f"{self.keys_file}: {'; '.join(chosen.problems[:3])}{more}: the usual keys are used there")
            )

    @cached_property
    def _key_groups(self) -> list[keymap.KeyGroup]:
        pages = [type(page) for place in PLACES if isinstance(page := place.make(), Page)]
        popups: set[type[Screen[Any]]] = {popup for page in pages for popup in page.POPUPS} | {
            Confirm,
            AskLine,
            HelpScreen,
        }
        mine = keymap.bindings_of(type(self))
        return [
            *(mine | keymap.bindings_of(page, *page.KEYED) for page in pages),
            *(keymap.bindings_of(popup) for popup in popups),
        ]

    def keyed(self, text: str) -> str:
        """Put keys in place of the ids of bindings in a text, as they have to be pressed."""
        known = {name: one for group in self._key_groups for name, one in group.items()}
        return keymap.with_keys(text, lambda name: keymap.shown_key(self, known[name]) if name in known else name)

    def keep(self) -> None:
        """Write down what the present screen wants to find again."""
        page = self.screen_stack[0] if self.screen_stack else None
        if isinstance(page, Page) and page.begun and page.is_running:
            kept = page.kept()
            if kept != self.remembered.pages.get(page.PLACE, {}):
                self.remembered.pages[page.PLACE] = kept
                self.remembered.save(self.state_file)

    def action_go(self, place: str) -> None:
        """Switch to a screen; what is open over the present one is closed first."""
        self.keep()
        while len(self.screen_stack) > 1 and isinstance(self.screen, error_border.Popup):
            self.pop_screen()
        self.remembered.place = place
        self.remembered.save(self.state_file)
        self.switch_mode(place)

    def open_run(self, run: str, name: str, place: str = "live") -> None:
        """Make a run the one all screens are about, and go to one of them."""
        self.starting = None
        self.remembered.run = run
        self.run_name = name
        self.action_go(place)

    def set_up_study(self, study: Mapping[str, Any], title: str) -> None:
        """Go to the new study with settings filled in."""
        self.study_wanted = study, title
        self.action_go("new")

    def compare(self, first: str, second: str) -> None:
        """Show two runs side by side, where there is a screen for results."""
        self.compared = (first, second)
        if find("results").name == "results":
            self.open_run(first, self.ask(lambda store: store.runs.get(first).name), "results")
        else:
            raise UsageError("compare them on the command line: mlxintro stats RUN")

    # -- runs

    def start_run(self, name: str, arguments: list[str]) -> None:
        """Start `mlxintro run` for a new run of that name, and go to watch it."""
        self.starting = self.processes.start(name, ["run", *arguments, "--name", name])
        self.action_go("live")

    def close_run(self) -> None:
        """Have no run open any more, because it is gone; leave the screens that are about one."""
        self.remembered.run = self.run_name = ""
        self.compared = None
        if self.remembered.place in ("live", "review", "results"):
            self.action_go("runs")

    def deleted(self, run: str) -> None:
        """Forget a run that was deleted from here."""
        self.news.forget(run)

    def action_open_finished(self) -> None:
        self.news.open_finished()

    # -- errors stop here

    def trouble(self, error: BaseException) -> None:
        """Tell a person about an error, and go on."""
        error_border.tell(self, error, self.log_file)

    def trouble_once(self, what: str, error: BaseException) -> None:
        """Tell about an error of something that is tried again and again: once until it changes, or goes well."""
        if self._told.get(what) != str(error):
            self._told[what] = str(error)
            self.trouble(error)

    def well(self, what: str) -> None:
        """Note that something tried again and again has gone well: its next error is told whatever it is."""
        self._told.pop(what, None)

    def _handle_exception(self, error: Exception) -> None:
        """Stop what passed the border: errors of timers, of callbacks, and of drawing.

        Textual would end the app with a traceback. An error that comes again with every frame ends it all the same,
        with a line.
        """
        if isinstance(error, KnownError):
            self.trouble(error)
            return
        if self.is_headless:
            super()._handle_exception(error)
            return
        if not self._shower.drop():
            self.trouble(error)
            return
        _log.critical("the app ends", exc_info=error)
        self._return_code = 1
        self.exit(1, 1, f"mlxintro tui: {type(error).__name__}: {error}; runs go on; details: {self.log_file}")

    # -- actions

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = True,
    ) -> None:
        """Show a notice; names and errors in it may come from elsewhere and cannot steer the terminal."""
        super().notify(visible(message), title=visible(title), severity=severity, timeout=timeout, markup=markup)

    def get_key_display(self, binding: Binding) -> str:
        return keymap.as_printed(super().get_key_display(binding))

    def action_help(self) -> None:
        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.screen, self.keyed, self.data.db.parent, self.log_file))

    def action_close_notices(self) -> None:
        """Take away what notices are on the screen, which else stay for some seconds."""
        self.clear_notifications()

    async def action_quit(self) -> None:
        """Leave; runs go on."""
        self.keep()
        self.notices.leave()
        await super().action_quit()

    def action_jump(self) -> None:
        """Show a letter over every pane."""
        page = self.screen
        if isinstance(page, Page):
            found = targets(page, page.focus_chain)
            page.consult(JumpMode(found), lambda widget: page.set_focus(widget))

    def action_write_keys(self) -> None:
        """Write the keymap's template, unless there is a file already."""
        if self.keys_file.exists():
            self.notify(f"It is there already: {self.keys_file}", markup=False)
            return
        self.keys_file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.keys_file, keymap.keys_template(self._key_groups))
        self.notify(f"Edit {self.keys_file} and start again", markup=False)


def run_app(db: str | Path | None = None, own_concepts: OwnConcepts | None = None) -> int:
    """Show the app until it is left; returns the exit code.

    Args:
        db: the store.
        own_concepts: offered beside the concepts that ship.

    Raises:
        KnownError: the store cannot be opened.
    """
    home = data_home(db)
    _check_store(home)
    log, handler = _log_of(home)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        app = IntroApp(home, own_concepts)
        app.log_file = log
        _keeps_promise: Home = app
        return app.run() or 0
    finally:
        root.removeHandler(handler)
        handler.close()


def _check_store(home: DataHome) -> None:
    """Open the store for writing, which makes it or brings it up to date; one that is read only is read as it is."""
    try:
        Store(home.db).close()
    except KnownError as error:
        try:
            Store(home.db, read_only=True).close()
        except KnownError:
            raise error from None


def _log_of(home: DataHome) -> tuple[Path, logging.Handler]:
    """Open the app's log beside the store, or where that cannot be written in the folder for temporary files."""
    log = home.logs / "tui.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        return log, logging.FileHandler(log, encoding="utf-8")
    except OSError:
        number, name = tempfile.mkstemp(prefix="mlxintro-tui-", suffix=".log")
        os.close(number)
        return Path(name), logging.FileHandler(name, encoding="utf-8")
