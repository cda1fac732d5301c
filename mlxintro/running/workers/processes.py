"""Workers as processes of this machine, one for each device, at the other ends of pipes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from typing import Any

from mlxintro.protocol.trials import Outcome, TrialSpec
from mlxintro.running.workers.pool import WorkerDied
from mlxintro.running.workers.worker import TrialWorker, WorkerFacts, WorkerMessage, WorkerSetup, portable

_ENDING_SECONDS = 2.0


class ProcessLink:
    """Is the near end of the pipe to one worker process."""

    def __init__(self, setup: WorkerSetup, name: str) -> None:
        """Take note of what to start; nothing is started yet.

        Args:
            setup: what the worker loads.
            name: what messages call it.
        """
        self.name = name
        self._setup = setup
        self._process: Any = None
        self._connection: Connection[Any, Any] | None = None

    @property
    def pid(self) -> int | None:
        """Return the process's number; ``None`` before it is started."""
        return None if self._process is None else self._process.pid

    def start(self) -> WorkerFacts:
        """Start the process, again if one has died, and wait until its model is loaded.

        Raises:
            WorkerDied: it ended before it was ready.
            KnownError: the model cannot be loaded there.
        """
        self.stop()
        # Not forked: a process that has used CUDA or threads cannot be copied.
        context = get_context("spawn")
        self._connection, far = context.Pipe()
        process = context.Process(target=_serve, args=(far, self._setup), name=self.name, daemon=True)
        process.start()
        self._process = process
        # With the far end open here, the death of the worker would never be seen.
        far.close()
        _, facts = self._receive()
        found: WorkerFacts = facts
        return found

    def measure(self, specs: Sequence[TrialSpec], batch_size: int) -> Iterator[list[Outcome]]:
        """Have a block measured; yields outcomes as they arrive.

        Raises:
            WorkerDied: the process is gone.
            Exception: what ended the block there.
        """
        self._send((list(specs), batch_size))
        while (message := self._receive())[0] != "done":
            yield message[1]

    def stop(self) -> None:
        """End the process, whatever it is at."""
        process, connection, self._process, self._connection = self._process, self._connection, None, None
        if process is not None:
            # First of all: whoever waits for its answers wakes up when it is gone.
            process.terminate()
            process.join(_ENDING_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()
        if connection is not None:
            connection.close()

    def _open(self) -> Connection[Any, Any]:
        if self._connection is None:
            raise WorkerDied(self.name)
        return self._connection

    def _send(self, what: Any) -> None:
        try:
            self._open().send(what)
        except OSError as error:
            raise WorkerDied(self.name) from error

    def _receive(self) -> WorkerMessage:
        try:
            message: WorkerMessage = self._open().recv()
        except (EOFError, OSError) as error:
            raise WorkerDied(self.name) from error
        if message[0] == "failed":
            raise message[1]
        return message


def _serve(connection: Connection[Any, Any], setup: WorkerSetup) -> None:
    """Work for whoever is at the other end, until that end closes."""
    # Ctrl-C goes to all processes of a terminal; who leads the run ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):
        try:
            worker = TrialWorker(setup)
        except Exception as error:
            connection.send(("failed", portable(error)))
            return
        connection.send(("ready", worker.facts))
        while True:
            specs, batch_size = connection.recv()
            for message in worker.measure(specs, batch_size):
                connection.send(message)


def _end_with_parent() -> None:
    """End in the middle of a block when the run's process is gone: nobody waits for the rest."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
