"""What every screen has: the bar of places, key hints, and reading the store without holding up a key press."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar, TypeVar

from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content
from textual.reactive import Reactive
from textual.screen import Screen
from textual.widget import Widget

from mlxintro.backends.errors import UsageError
from mlxintro.store.store import Store

from ..widgets.key_hints import KeyHints
from ..widgets.text import Text
from .dialogues import Confirm
from .error_border import Guarded, Popup, guarded
from .home import Home, home_of
from .places import PLACES
from .steady_screen import SteadyScreen

T = TypeVar("T")

_SLOW = 1.5
"""Seconds after which it is said that a change waits for the store."""

_log = logging.getLogger(__name__)


class Places(Text):
    """Shows the bar at the top: where one is, where else one can go, and which run is open."""

    def show(self, here: str, run: str) -> None:
        parts = [Content.styled(" mlxintro ", "bold")]
        for place in PLACES:
            mark = f"[{place.key} {place.title}]" if place.name == here else f" {place.key} {place.title} "
            style = "reverse bold" if place.name == here else "not bold"
            parts.append(Content.styled(mark, style).stylize(f"@click=app.go('{place.name}')"))
        if run:
            parts.append(Content.styled(f"  {run}", "$text-muted"))
        self.update(Content.assemble(*parts))


class Page(Guarded, SteadyScreen, Screen[None]):
    """Is a screen that one goes to. Subclasses give ``body`` and ``begin``, and ``look`` to bring it up to date."""

    PLACE: ClassVar[str]
    HELP = ""
    KEYED: ClassVar[tuple[type[Widget], ...]] = ()
    """Widgets on it that have keys of their own."""
    POPUPS: ClassVar[tuple[type[Screen[Any]], ...]] = ()
    """Questions it asks that have keys of their own."""
    AUTO_FOCUS = ""
    """Pages choose in ``begin`` what has the focus: keys typed before that must not end in the first field there is."""
    ALLOW_IN_MAXIMIZED_VIEW = "KeyHints"
    focused: Reactive[Widget | None] = Reactive(None, repaint=False)
    """Textual's own draws the whole screen when the focus moves; the widgets concerned draw themselves as it is."""
    SECONDS: ClassVar[float] = 1.0
    """How often ``look`` is called while the screen is shown."""

    def __init__(self) -> None:
        super().__init__()
        self._reading: set[str] = set()
        self._again: dict[str, Callable[[], None]] = {}
        self.begun = False
        """Whether its widgets are there and hold what was kept."""

    @property
    def home(self) -> Home:
        return home_of(self)

    def compose(self) -> ComposeResult:
        yield Places(id="places")
        with Container(id="body"):
            yield from self.body()
        yield KeyHints()

    def body(self) -> Iterator[Widget]:
        """Return the screen's own widgets."""
        raise NotImplementedError

    def look(self) -> None:
        """Bring the screen up to date. Called when it is shown and then every ``SECONDS``; must return at once."""

    def begin(self) -> None:
        """Begin, once, when the screen's widgets are there."""

    def kept(self) -> dict[str, Any]:
        """Return what the screen wants to find again when the app is started the next time, as plain data."""
        return {}

    def restore(self, kept: dict[str, Any]) -> None:
        """Take up what ``kept`` gave. It comes from a file, so anything may be missing or wrong in it."""

    def on_mount(self) -> None:
        # Textual calls ``on_mount`` of every class in the hierarchy by itself, so subclasses have ``begin`` instead.
        self.begin()
        kept = self.home.remembered.pages.get(self.PLACE)
        if kept:
            try:
                self.restore(kept)
            except Exception as error:
                _log.warning("what %s kept is ignored: %s", self.PLACE, error)
        self.begun = True
        self.app.theme_changed_signal.subscribe(self, lambda theme: self.call_after_refresh(self.recolour))
        self.set_interval(self.SECONDS, self._tick)

    def recolour(self) -> None:
        """Draw anew what has colours of its own, because the theme is another one."""

    def on_screen_resume(self) -> None:
        self._name_run()
        self.look()

    def _tick(self) -> None:
        if self.is_current:
            self.look()

    def _name_run(self) -> None:
        self.query_one("#places", Places).show(self.PLACE, self.home.run_name)

    # -- asking a person

    def consult(self, popup: Popup[T], then: Callable[[T], None]) -> None:
        """Ask something over the screen. ``then`` gets the answer, if there is one; its errors are told."""
        self.app.push_screen(popup, guarded(self.home, then))

    def confirm(self, question: str, yes: str, then: Callable[[], None]) -> None:
        """Do something if a person says yes to it."""
        self.consult(Confirm(question, yes), lambda answer: then() if answer else None)

    # -- asking the store

    def write(self, what: str, step: Callable[[Store], T], then: Callable[[T], None]) -> None:
        """Change the store in a thread, and hand what comes of it over in this one.

        It waits while another program holds the store locked, and says so; nothing else on the screen waits.

        Args:
            what: names the change; while one of that name is going on, another is left out.
            step: runs in the thread with a store opened for writing.
            then: gets what it returned, unless the screen is gone.
        """
        if what in self._reading:
            self.notify("The same is being done already", severity="warning")
            return
        self.set_timer(_SLOW, partial(self._slow, what))
        self._begin(what, self.home.change, step, then, asked=True)

    def _slow(self, what: str) -> None:
        if what in self._reading:
            self.notify("Waiting for the store, which is busy. The app goes on meanwhile.", severity="warning")

    def read(
        self,
        what: str,
        query: Callable[[Store], T],
        then: Callable[[T], None],
        *,
        last: bool = False,
        asked: bool = False,
    ) -> None:
        """Ask the store in a thread and hand the answer over in this one.

        Args:
            what: names the question; while one of that name is being asked, another is left out.
            query: runs in the thread with a store opened for reading.
            then: gets the answer, unless the screen is gone.
            last: ask again afterwards instead of leaving it out, so that the latest question is always answered.
            asked: a person has asked for it: every failure is told. Else one that comes again and again is told once.
        """
        if what in self._reading:
            if last:
                self._again[what] = lambda: self.read(what, query, then, last=True, asked=asked)
            return
        self._begin(what, self.home.ask, query, then, asked=asked)

    def _begin(
        self,
        what: str,
        how: Callable[[Callable[[Store], T]], T],
        query: Callable[[Store], T],
        then: Callable[[T], None],
        *,
        asked: bool,
    ) -> None:
        self._reading.add(what)

        def in_thread() -> None:
            try:
                answer = how(query)
            except Exception as error:
                failure = error
                if asked or not (isinstance(error, UsageError) and self.home.run_is_lost()):
                    self._hand_over(what, lambda: self._failed(what, failure, asked))
                else:
                    # That the run is gone is told by ``RunNews``, by its name.
                    self._hand_over(what, lambda: None)
            else:
                self._hand_over(what, lambda: self._answered(what, answer, then))

        self.run_worker(in_thread, thread=True, group=what, exit_on_error=False)

    def _answered(self, what: str, answer: T, then: Callable[[T], None]) -> None:
        self.home.well(what)
        then(answer)

    def _failed(self, what: str, error: Exception, asked: bool) -> None:
        if asked:
            self.home.trouble(error)
        else:
            self.home.trouble_once(what, error)

    def _hand_over(self, what: str, step: Callable[[], None]) -> None:
        def arrive() -> None:
            self._reading.discard(what)
            if not self.is_attached:
                return
            try:
                step()
            except Exception as error:
                self.home.trouble(error)
            again = self._again.pop(what, None)
            if again is not None:
                again()

        if self.app.is_running:
            self.app.call_later(arrive)
