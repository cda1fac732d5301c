"""Where errors stop: a known one becomes a notice with its way out, any other a notice and an entry in the log."""

from __future__ import annotations

import logging
from typing import Any, TypeVar, cast

from textual.message import Message
from textual.message_pump import MessagePump
from textual.screen import ModalScreen

from mlxintro.backends.errors import KnownError

from .home import Home

_log = logging.getLogger(__name__)
T = TypeVar("T")


class Guarded(MessagePump):
    """A pump that outlives what its handlers raise. Textual itself would print a traceback and end."""

    async def _dispatch_message(self, message: Message) -> None:
        try:
            await super()._dispatch_message(message)
        except Exception as error:
            cast(Home, self.app).trouble(error)


class Dialogue(Guarded, ModalScreen[T]):
    """A question over the current screen."""


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
