"""Watching from the command line: a live bar on a terminal, a line now and then elsewhere, or JSON."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict
from typing import Any, Self

from mlxintro.cli.output import chatter, echo, json_line
from mlxintro.rendering.cleaning import visible
from mlxintro.rendering.quantities import duration
from mlxintro.running.counting import ProgressCount, counting_file, write_counting
from mlxintro.running.events import (
    Notice,
    RunEvent,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    TrialFailed,
    TrialFinished,
)

LINE_SECONDS = 5.0
"""Without a terminal: how often a line says that something is alive."""
FILE_SECONDS = 0.3
"""How often a file says it."""


class Bar:
    """Shows Rich's progress bar when stderr is a terminal, sparse lines otherwise, once there is something to count.

    Where the program that started this one asks for it, a file says the same as data (``mlxintro.running.counting``).
    """

    def __init__(self, what: str, *, unit: str = "") -> None:
        self.what = what
        self.unit = unit
        self._progress: Any = None
        self._task: Any = None
        self._spoken = self._written = 0.0
        self._begun: tuple[float, int] | None = None
        """When counting began, and from what on."""
        self._file = counting_file()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        if self._file is not None and self._written:
            with suppress(OSError):
                self._file.unlink(missing_ok=True)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if self._progress is not None:
            self._progress.console.print(visible(text), markup=False, highlight=False)
        else:
            chatter(text)

    def count(self, done: int, total: int, together: int = 1) -> None:
        """Show how far it is.

        Args:
            together: how many are at work at a time. Until as many are done, what is left cannot be told from the pace:
                the first of a batch ends long before its last, and no other has begun after it.
        """
        now = time.monotonic()
        begun, first = self._begun = self._begun or (now, done)
        new, left = done - first, None
        if new >= max(1, min(together, (total - first) // 2)) and done < total:
            left = (now - begun) / new * (total - done)
        if self._file is not None and (now - self._written > FILE_SECONDS or done == total):
            self._written = now
            write_counting(self._file, ProgressCount(self.what, done, total, self.unit, left))
        if sys.stderr.isatty():
            self._draw(done, total, left)
        elif now - self._spoken > LINE_SECONDS or done == total:
            self._spoken = now
            chatter(f"{self.what}: {done}/{total}{self.unit}{_left(left, ', ')}")

    def _draw(self, done: int, total: int, left: float | None) -> None:
        if self._progress is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            texts = TextColumn(self.unit), TextColumn("{task.fields[left]}")
            columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *texts
            self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
            self._progress.start()
            self._task = self._progress.add_task(self.what, total=total, left="")
        self._progress.update(self._task, completed=done, total=total, left=_left(left))


def _left(seconds: float | None, before: str = "") -> str:
    return "" if seconds is None else f"{before}about {duration(seconds)} left"


def follow(
    events: Generator[RunEvent, None, None],
    *,
    as_json: bool = False,
    show: Callable[[TrialFinished], str] | None = None,
) -> RunFinished | None:
    """Consume a run's events and show them; returns the last one.

    However it ends, the run is let go of at once, while its store is still open.

    Args:
        show: what to print about each finished trial, beside counting it.
    """
    last = None
    with Bar("trials") as bar, closing(events):
        planned = done = 0
        together = 1
        for event in events:
            if as_json:
                echo(json_line({"event": type(event).__name__, **asdict(event)}))
            match event:
                case RunFinished():
                    last = event
                case _ if as_json:
                    pass
                case RunStarted():
                    planned, done, together = event.planned, event.done, event.batch_size
                    if done:
                        bar.say(f"{event.name}: {done} of {planned} trials are there already")
                    bar.count(done, planned, together)
                case TrialFinished():
                    done += 1
                    if show is not None:
                        bar.say(show(event))
                    bar.count(done, planned, together)
                case TrialFailed():
                    bar.say(f"trial {event.ordinal} failed: {event.error}")
                case Notice():
                    bar.say(event.text)
                case RunPaused():
                    bar.say("paused; `mlxintro runs resume` lets it go on")
                case RunResumed():
                    bar.say("going on")
                case _:
                    pass
    return last


@contextmanager
def word_progress() -> Iterator[Callable[[int, int], None]]:
    """Show the progress of an extraction, which reads words."""
    with Bar("extracting vectors", unit=" words") as bar:
        yield bar.count


@contextmanager
def download_progress() -> Iterator[Callable[[int, int, str], None]]:
    """Show the progress of a download, in megabytes."""
    with Bar("downloading", unit=" MB") as bar:
        yield lambda done, total, file: bar.count(done // 1_000_000, max(total // 1_000_000, 1))
