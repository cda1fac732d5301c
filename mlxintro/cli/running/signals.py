"""Ending by a signal as by Ctrl-C: what is under way is put in order, and everything finished is stored."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class EndedBySignal(KeyboardInterrupt):
    """The process was asked to end, or its terminal went away."""


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the work as Ctrl-C does. A signal that is ignored, as under ``nohup``, stays ignored.

    Raises:
        EndedBySignal: from wherever the work is.
    """

    def end(number: int, frame: FrameType | None) -> NoReturn:
        raise EndedBySignal(signal.Signals(number).name)

    before = {}
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
