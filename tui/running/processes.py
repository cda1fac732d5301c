"""Commands as processes of their own, which outlive the app."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from mlxintro.backends.errors import KnownError
from mlxintro.paths import DataHome
from mlxintro.running.counting import FILE_VARIABLE, ProgressCount, read_counting

_NICE = 10
"""Processes make room for the app: what a key press takes is little, and a run does not notice it."""
_TAIL = 4096
"""Bytes of a log that are looked at."""


@dataclass(slots=True)
class ChildProcess:
    name: str
    """Name of the run."""
    log: Path
    process: subprocess.Popen[bytes]
    said_at_end: str = ""
    """Words to say when it has ended well; empty when it says so elsewhere."""

    @property
    def failed(self) -> bool:
        """Tell whether it has ended with an error, and not by a signal."""
        return (self.process.returncode or 0) > 0

    def last_line(self) -> str:
        """Return the last thing it said, which for a known error is the way out."""
        return last_line(self.log) or f"no output, exit code {self.process.returncode}"

    @property
    def counting(self) -> ProgressCount | None:
        """Return how far it is with what it counts before its first trial."""
        return read_counting(_counting_file(self.log))


def _counting_file(log: Path) -> Path:
    return log.with_suffix(".progress")


def last_line(log: Path) -> str:
    """Return the last line of a log that says anything; empty when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def make_room(pid: int) -> None:
    """Let a process of ours come after the app where both want to work."""
    if hasattr(os, "setpriority"):
        with suppress(psutil.Error):
            psutil.Process(pid).nice(_NICE)


class Processes:
    """Starts `mlxintro` commands for one store, and knows which of its children have ended."""

    def __init__(self, home: DataHome) -> None:
        self.home = home
        self.running: list[ChildProcess] = []

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "mlxintro", "--db", str(self.home.db), *arguments]

    def start(self, name: str, arguments: Sequence[str], said_at_end: str = "") -> ChildProcess:
        """Start a command in a session of its own, its output going to a file in the folder of logs.

        Raises:
            KnownError: the file cannot be written.
        """
        safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)[:60]
        log = self.home.logs / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{safe}.log"
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as output:
                process = subprocess.Popen(
                    self.command(*arguments),
                    env={**os.environ, FILE_VARIABLE: str(_counting_file(log))},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise KnownError(f"{log}: {error.strerror}: free space, or choose another store with --db") from error
        make_room(process.pid)
        started = ChildProcess(name, log, process, said_at_end)
        self.running.append(started)
        return started

    def find(self, name: str) -> ChildProcess | None:
        """Return the process of a run that this app has started and that is still there."""
        return next((one for one in self.running if one.name == name), None)

    def ended(self) -> list[ChildProcess]:
        """Return those that have ended since this was last asked. Asking also lets the system forget them."""
        over = [one for one in self.running if one.process.poll() is not None]
        self.running = [one for one in self.running if one not in over]
        for one in over:
            # One that was killed leaves it behind.
            with suppress(OSError):
                _counting_file(one.log).unlink(missing_ok=True)
        return over
