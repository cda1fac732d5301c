"""The lab's process as the app sees it: started, spoken to, listened to in a thread, ended."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mlxintro.backends.errors import KnownError, UsageError
from mlxintro.lab.messages import Ask, Cancel, LabEvent, Load, read_event
from mlxintro.paths import DataHome

from .processes import last_line, make_room


@dataclass(frozen=True, slots=True)
class Ended:
    """The process is gone, unasked."""

    reason: str


Heard = LabEvent | Ended


class LabClient:
    """Talks to one process at most, which holds one model.

    Args:
        arrived: called from another thread when something can be taken; not again until it has been.
    """

    def __init__(self, home: DataHome, arrived: Callable[[], None]) -> None:
        self.log: Path = home.logs / "lab.log"
        self._store = home.db
        self._arrived = arrived
        self._process: subprocess.Popen[bytes] | None = None
        self._heard: deque[Heard] = deque()
        self._lock = threading.Lock()

    @property
    def running(self) -> bool:
        return self._process is not None

    def start(self, model: str, backend: str, adapter: str | None = None) -> None:
        """Load a model in a fresh process; one that is there is ended first, and with it what it held.

        Raises:
            KnownError: the log cannot be written.
        """
        self.stop()
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("wb") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "mlxintro.lab.process", str(self._store)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    start_new_session=True,
                )
        except OSError as error:
            raise KnownError(f"{self.log}: {error.strerror}: free space, or choose another store with --db") from error
        make_room(process.pid)
        self._process = process
        threading.Thread(target=self._listen, args=(process,), daemon=True).start()
        self.send(Load(model=model, backend=backend, adapter=adapter))

    def send(self, order: Load | Ask | Cancel) -> None:
        """Say something; nothing happens when there is no process, or one that has just died."""
        if self._process is None:
            return
        # That it is gone is told by whoever listens to it.
        with suppress(OSError):
            stream = _pipe(self._process.stdin)
            stream.write(order.model_dump_json().encode() + b"\n")
            stream.flush()

    def take(self) -> list[Heard]:
        """Return what has been heard since this was last asked."""
        with self._lock:
            heard = list(self._heard)
            self._heard.clear()
        return heard

    def stop(self) -> None:
        """End the process at once. What it keeps on disk is written whole or not at all."""
        with self._lock:
            process, self._process = self._process, None
            self._heard.clear()
        if process is not None:
            process.kill()

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        for line in _pipe(process.stdout):
            try:
                self._put(process, read_event(line))
            except UsageError:
                # A line that was cut off by the end of the process.
                continue
        code = process.wait()
        with suppress(OSError):
            _pipe(process.stdin).close()
        _pipe(process.stdout).close()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        said = last_line(self.log)
        self._put(process, Ended(f"{how}{f': {said}' if said else ''}"))

    def _put(self, process: subprocess.Popen[bytes], heard: Heard) -> None:
        with self._lock:
            if self._process is not process:
                return
            if isinstance(heard, Ended):
                self._process = None
            first = not self._heard
            self._heard.append(heard)
        if first:
            self._arrived()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream
