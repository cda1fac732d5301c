"""Watching a run from the command line: a live bar on a terminal, a line now and then elsewhere, or JSON."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any, Self

import click

from mlxintro.cli.output import chatter, json_line
from mlxintro.events import Event, Notice, RunFinished, RunPaused, RunResumed, RunStarted, TrialFailed, TrialFinished

LINE_SECONDS = 15.0
"""Without a terminal: how often a line says that the run is alive."""


def follow(events: Iterable[Event], *, as_json: bool = False, quiet: bool = False) -> RunFinished | None:
    """Consume a run's events and show them; returns the last one."""
    last = None
    with _Bar(quiet) as bar:
        show: Callable[[Event], None] = _json if as_json else bar.show
        for event in events:
            show(event)
            if isinstance(event, RunFinished):
                last = event
    return last


def word_progress(what: str) -> Callable[[int, int], None]:
    """Progress of something that counts, such as the words of an extraction."""
    bar = _Bar(False)

    def progress(done: int, total: int) -> None:
        bar.count(what, done, total)
        if done >= total:
            bar.close()

    return progress


def _json(event: Event) -> None:
    click.echo(json_line({"event": type(event).__name__, **asdict(event)}))


class _Bar:
    """Rich's progress bar when stderr is a terminal, sparse lines otherwise."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.progress: Any = None
        self.task: Any = None
        self.spoken = 0.0
        self.planned = self.done = self.failed = self.before = 0
        self.started = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def show(self, event: Event) -> None:
        match event:
            case RunStarted():
                self.planned, self.done, self.before = event.planned, event.done, event.done
                if event.done:
                    chatter(f"{event.name}: {event.done} of {event.planned} trials are there already")
                self.count("trials", self.done, self.planned)
            case TrialFinished():
                self.done += 1
                self.count("trials", self.done, self.planned)
            case TrialFailed():
                self.failed += 1
                self.say(f"trial {event.ordinal} failed: {event.error}")
            case Notice():
                self.say(event.text)
            case RunPaused():
                self.say("paused; `mlxintro runs resume` or Ctrl-C and --resume go on")
            case RunResumed():
                self.say("going on")
            case _:
                pass

    def say(self, text: str) -> None:
        if self.progress is not None:
            self.progress.console.print(text, markup=False, highlight=False)
        else:
            chatter(text)

    def count(self, what: str, done: int, total: int) -> None:
        if self.quiet:
            return
        if click.get_text_stream("stderr").isatty():
            self._draw(what, done, total)
        elif time.monotonic() - self.spoken > LINE_SECONDS or done == total:
            self.spoken = time.monotonic()
            chatter(f"{what}: {done}/{total}{self._left()}")

    def _left(self) -> str:
        new = self.done - self.before
        if not new or self.done >= self.planned:
            return ""
        seconds = (time.monotonic() - self.started) / new * (self.planned - self.done)
        return f", about {seconds / 60:.0f} min left" if seconds > 90 else f", about {seconds:.0f} s left"

    def _draw(self, what: str, done: int, total: int) -> None:
        if self.progress is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self.progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self.progress.start()
            self.task = self.progress.add_task(what, total=total)
        self.progress.update(self.task, description=what, completed=done, total=total)

    def close(self) -> None:
        if self.progress is not None:
            self.progress.stop()
            self.progress = None
