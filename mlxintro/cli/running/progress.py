"""Watching from the command line: a live bar on a terminal, a line now and then elsewhere, or JSON."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from typing import Any, Self

from mlxintro.cli.output import chatter, echo, json_line
from mlxintro.rendering.cleaning import visible
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


class Bar:
    """Shows Rich's progress bar when stderr is a terminal, sparse lines otherwise, once there is something to count."""

    def __init__(self, what: str, *, unit: str = "") -> None:
        self.what = what
        self.unit = unit
        self._progress: Any = None
        self._task: Any = None
        self._spoken = 0.0
        self._started = time.monotonic()
        self._first: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if self._progress is not None:
            self._progress.console.print(visible(text), markup=False, highlight=False)
        else:
            chatter(text)

    def count(self, done: int, total: int) -> None:
        if self._first is None:
            self._first = done
        if sys.stderr.isatty():
            self._draw(done, total)
        elif time.monotonic() - self._spoken > LINE_SECONDS or done == total:
            self._spoken = time.monotonic()
            chatter(f"{self.what}: {done}/{total}{self.unit}{self._left(done, total)}")

    def _left(self, done: int, total: int) -> str:
        new = done - (self._first or 0)
        if not new or done >= total:
            return ""
        seconds = (time.monotonic() - self._started) / new * (total - done)
        return f", about {seconds / 60:.0f} min left" if seconds > 90 else f", about {seconds:.0f} s left"

    def _draw(self, done: int, total: int) -> None:
        if self._progress is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(self.unit)
            self._progress = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
            self._progress.start()
            self._task = self._progress.add_task(self.what, total=total)
        self._progress.update(self._task, completed=done, total=total)


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
        for event in events:
            if as_json:
                echo(json_line({"event": type(event).__name__, **asdict(event)}))
            match event:
                case RunFinished():
                    last = event
                case _ if as_json:
                    pass
                case RunStarted():
                    planned, done = event.planned, event.done
                    if done:
                        bar.say(f"{event.name}: {done} of {planned} trials are there already")
                    bar.count(done, planned)
                case TrialFinished():
                    done += 1
                    if show is not None:
                        bar.say(show(event))
                    bar.count(done, planned)
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
    with Bar("reading words for the concept vectors") as bar:
        yield bar.count


@contextmanager
def download_progress() -> Iterator[Callable[[int, int, str], None]]:
    """Show the progress of a download, in megabytes."""
    with Bar("downloading", unit=" MB") as bar:
        yield lambda done, total, file: bar.count(done // 1_000_000, max(total // 1_000_000, 1))
