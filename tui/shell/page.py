"""What every screen has: the bar of places, key hints, and reading the store without holding up a key press."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content
from textual.reactive import Reactive
from textual.screen import Screen
from textual.widget import Widget

from mlxintro.store.store import Store

from ..widgets.key_hints import KeyHints
from ..widgets.text import Text
from .error_border import Guarded
from .home import Home, home_of
from .places import PLACES

T = TypeVar("T")
Query = Callable[[Store], T]


class Places(Text):
    """The bar at the top: where one is, where else one can go, and which run is open."""

    def show(self, here: str, run: str) -> None:
        parts = [Content.styled(" mlxintro ", "bold")]
        for place in PLACES:
            mark = f"[{place.key} {place.title}]" if place.name == here else f" {place.key} {place.title} "
            style = "reverse bold" if place.name == here else "not bold"
            parts.append(Content.styled(mark, style).stylize(f"@click=app.go('{place.name}')"))
        if run:
            parts.append(Content.styled(f"  {run}", "dim"))
        self.update(Content.assemble(*parts))


class Page(Guarded, Screen[None]):
    """A screen that one goes to. Subclasses give ``body``, ``begin``, and ``look`` to bring themselves up to date."""

    PLACE: ClassVar[str]
    HELP = ""
    KEYED: ClassVar[tuple[type[Widget], ...]] = ()
    """Widgets on it that have keys of their own."""
    ALLOW_IN_MAXIMIZED_VIEW = "KeyHints"
    focused: Reactive[Widget | None] = Reactive(None, repaint=False)
    """Textual's own draws the whole screen when the focus moves; the widgets concerned draw themselves as it is."""
    SECONDS: ClassVar[float] = 1.0
    """How often ``look`` is called while the screen is shown."""

    def __init__(self) -> None:
        super().__init__()
        self._reading: set[str] = set()
        self._again: dict[str, Callable[[], None]] = {}

    @property
    def home(self) -> Home:
        return home_of(self)

    def compose(self) -> ComposeResult:
        yield Places(id="places")
        with Container(id="body"):
            yield from self.body()
        yield KeyHints()

    def body(self) -> Iterator[Widget]:
        """The screen's own widgets."""
        raise NotImplementedError

    def look(self) -> None:
        """Bring the screen up to date. Called when it is shown and then every ``SECONDS``; must return at once."""

    def begin(self) -> None:
        """Once, when the screen's widgets are there."""

    def on_mount(self) -> None:
        # Textual calls ``on_mount`` of every class in the hierarchy by itself, so subclasses have ``begin`` instead.
        self.begin()
        self.set_interval(self.SECONDS, self._tick)

    def on_screen_resume(self) -> None:
        self._name_run()
        self.look()

    def _tick(self) -> None:
        if self.is_current:
            self.look()

    def _name_run(self) -> None:
        self.query_one("#places", Places).show(self.PLACE, self.home.run_name)

    def write(self, what: str, step: Callable[[Store], T], then: Callable[[T], None]) -> None:
        """The same for a change that may take longer than a key press can wait."""
        self._reading.add(what)
        self.run_worker(
            lambda: self._ask(what, self.home.change, step, then), thread=True, group=what, exit_on_error=False
        )

    def read(self, what: str, query: Callable[[Store], T], then: Callable[[T], None], *, last: bool = False) -> None:
        """Ask the store in a thread and hand the answer over in this one.

        Args:
            what: names the question; while one of that name is being asked, another is left out.
            query: runs in the thread with a store opened for reading.
            then: gets the answer, unless the screen is gone.
            last: ask again afterwards instead of leaving it out, so that the latest question is always answered.
        """
        if what in self._reading:
            if last:
                self._again[what] = lambda: self.read(what, query, then, last=True)
            return
        self._reading.add(what)
        self.run_worker(
            lambda: self._ask(what, self.home.ask, query, then), thread=True, group=what, exit_on_error=False
        )

    def _ask(
        self,
        what: str,
        how: Callable[[Callable[[Store], T]], T],
        query: Callable[[Store], T],
        then: Callable[[T], None],
    ) -> None:
        try:
            answer = how(query)
        except Exception as error:
            failure = error
            self._hand_over(what, lambda: self.home.trouble_once(what, failure))
        else:
            self._hand_over(what, lambda: then(answer))

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
