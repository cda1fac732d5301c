"""Where errors stop: a known one becomes a notice with its way out, any other a notice and an entry in the log."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar, cast

from textual.await_complete import AwaitComplete
from textual.message import Message
from textual.message_pump import MessagePump
from textual.screen import ModalScreen
from textual.worker import Worker, WorkerState

from mlxintro.backends.errors import KnownError

from .home import Home
from .steady_screen import SteadyScreen

_log = logging.getLogger(__name__)
T = TypeVar("T")

_SHOWER, _SECONDS = 12, 3.0
"""So many unforeseen errors within so many seconds are one that comes back with every frame."""


class Guarded(MessagePump):
    """Outlives what its handlers raise. Textual itself would print a traceback and end."""

    async def _dispatch_message(self, message: Message) -> None:
        try:
            await super()._dispatch_message(message)
        except Exception as error:
            cast(Home, self.app).trouble(error)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Tell what a worker raised: the message goes to whoever started the worker, and no further."""
        if event.state is WorkerState.ERROR and event.worker.error is not None:
            cast(Home, self.app).trouble(event.worker.error)


class Popup(Guarded, SteadyScreen, ModalScreen[T]):
    """Asks a question over the current screen, by ``Home.consult``, which guards what is done with the answer."""

    _answered = False

    def dismiss(self, result: T | None = None) -> AwaitComplete:
        """Close with an answer, once: keys pressed while it closes answer nothing, and close no other screen."""
        if self._answered or self.app.screen is not self:
            closed: AwaitComplete = AwaitComplete.nothing()  # type: ignore[no-untyped-call]
            return closed
        self._answered = True
        return super().dismiss(result)


class Shower:
    """Tells one unforeseen error from an error that comes again with every frame."""

    def __init__(self) -> None:
        self._moments: deque[float] = deque(maxlen=_SHOWER)

    def drop(self) -> bool:
        """Count an error; return whether it is time to give up."""
        self._moments.append(time.monotonic())
        return len(self._moments) == _SHOWER and self._moments[-1] - self._moments[0] < _SECONDS


def guarded(home: Home, then: Callable[[T], None]) -> Callable[[T | None], None]:
    """Return a callback for a dialogue: it leaves out an answer that was not given, and its errors are told."""

    def answered(answer: T | None) -> None:
        if answer is None:
            return
        try:
            then(answer)
        except Exception as error:
            home.trouble(error)

    return answered


def tell(app: Any, error: BaseException, log: object) -> None:
    """Show an error as a notice."""
    if isinstance(error, KnownError):
        _log.info("%s", error)
        app.notify(str(error), severity="error", timeout=12, markup=False)
        return
    _log.error("unforeseen", exc_info=error)
    text = f"{type(error).__name__}: {error}"
    app.notify(
        f"{' '.join(text.split())[:200]}\nThis is a bug; runs go on. Details: {log}",
        title="Something went wrong",
        severity="error",
        timeout=15,
        markup=False,
    )
