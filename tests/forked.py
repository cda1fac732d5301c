"""Commands in processes forked from one that has read the large libraries already.

Reading scipy, statsmodels, pandas, pydantic and the tables of English words costs each process three seconds of a core,
far more than most commands themselves. A forked process has its own memory, environment, folder, standard streams and
exit code, and ends, or is killed, as any other is. What depends on how Python starts (encodings, a hub's folder) is for
a process of its own.
"""

from __future__ import annotations

import atexit
import gc
import io
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from typing import IO, Any, NoReturn

ROOT = Path(__file__).parents[1]

PRELOADED = (
    "anthropic",
    "openai",
    "pandas",
    "pydantic",
    "rich.console",
    "scipy.optimize",
    "scipy.stats",
    "statsmodels.api",
    "statsmodels.stats.multitest",
    "statsmodels.stats.proportion",
    "mlxintro.analysis.across.comparison",
    "mlxintro.analysis.run",
    "mlxintro.backends.simulated.backend",
    "mlxintro.cli.grading.grade",
    "mlxintro.cli.main",
    "mlxintro.cli.running.certify",
    "mlxintro.cli.running.run",
    "mlxintro.cli.running.runs",
    "mlxintro.experiments.injected_thoughts",
    "mlxintro.grading.alongside",
    "mlxintro.ladder.verdict",
    "mlxintro.lab.process",
    "mlxintro.rendering.exporting",
    "mlxintro.running.launch",
    "mlxintro.store.store",
)

NEVER = ("huggingface_hub", "mlx", "textual", "torch", "transformers")
"""They read the environment, start threads, or belong to few commands: no forked process may have them from before."""


class ForkedProcess:
    """A forked process that goes on, with what tests ask of ``subprocess.Popen``."""

    def __init__(
        self,
        status: socket.socket,
        stdout: IO[str] | None = None,
        stderr: IO[str] | None = None,
        stdin: IO[str] | None = None,
    ) -> None:
        self.pid = int.from_bytes(_exactly(status, 8), "big")
        self.returncode: int | None = None
        """The exit code, negative for a signal; ``None`` while it runs."""
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self._status = status

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; return the exit code."""
        if self.returncode is None:
            self._status.settimeout(timeout)
            try:
                self.returncode = int.from_bytes(_exactly(self._status, 8), "big", signed=True)
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0) from None
            self._status.close()
        return self.returncode

    def poll(self) -> int | None:
        """Return the exit code, or ``None`` while it runs."""
        try:
            return self.wait(0.0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it without a word."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Close its stdin, read what is left of what it says, wait for its end, and close the streams."""
        if self.stdin is not None:
            self.stdin.close()
        said = {"stdout": "", "stderr": ""}

        def read(name: str, stream: IO[str]) -> None:
            with stream:
                said[name] = stream.read()

        open_streams = [(name, stream) for name in said if (stream := getattr(self, name)) and not stream.closed]
        readers = [threading.Thread(target=read, args=one, daemon=True) for one in open_streams]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join(timeout)
        return said["stdout"], said["stderr"]


class Nursery:
    """The process that others are forked from."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.forked", str(theirs.fileno())], pass_fds=[theirs.fileno()], cwd=ROOT
        )
        theirs.close()
        atexit.register(self.close)

    def close(self) -> None:
        """Let the process end."""
        self._socket.close()
        self._process.wait(10)

    def fork(self, arguments: list[str], environment: dict[str, str], streams: tuple[int, int, int]) -> socket.socket:
        """Fork a process that runs a command.

        Args:
            arguments: of ``mlxintro``; after ``-c`` stands code to run instead.
            environment: of the process.
            streams: file descriptors of stdin, stdout and stderr.

        Returns:
            A socket that tells the process's id, and at its end the exit code, negative for a signal; 8 bytes each.
        """
        ours, theirs = socket.socketpair()
        request = json.dumps({"arguments": arguments, "environment": environment}).encode()
        with theirs:
            socket.send_fds(self._socket, [len(request).to_bytes(8, "big")], [*streams, theirs.fileno()])
        self._socket.sendall(request)
        return ours


@cache
def nursery() -> Nursery:
    """Start the process that others are forked from, once."""
    return Nursery()


def run(
    arguments: list[str], environment: dict[str, str], stdin: str, stdout: int | IO[Any] | None, seconds: float
) -> tuple[int, str, str]:
    """Run a command of ours, or code after ``-c``, to its end; return exit code, stdout and stderr."""
    with open_memory() as given, open_memory() as out, open_memory() as err:
        given.write(stdin.encode())
        given.seek(0)
        target = out.fileno() if stdout is None else stdout if isinstance(stdout, int) else stdout.fileno()
        status = nursery().fork(arguments, environment, (given.fileno(), target, err.fileno()))
        process = ForkedProcess(status)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        return code, _content(out), _content(err)


def start(arguments: list[str], environment: dict[str, str], *, speaking: bool = False) -> ForkedProcess:
    """Start a command of ours, or code after ``-c``, and go on; its stdout and stderr are pipes.

    Args:
        arguments: as of ``Nursery.fork``.
        environment: of the process.
        speaking: whether its stdin is a pipe too, instead of empty.
    """
    (out, their_out), (err, their_err) = os.pipe(), os.pipe()
    their_in, given = os.pipe() if speaking else (os.open(os.devnull, os.O_RDONLY), None)
    status = nursery().fork(arguments, environment, (their_in, their_out, their_err))
    for end in (their_in, their_out, their_err):
        os.close(end)
    speech = None if given is None else os.fdopen(given, "w", encoding="utf-8")
    return ForkedProcess(status, os.fdopen(out, encoding="utf-8"), os.fdopen(err, encoding="utf-8"), speech)


def open_memory() -> io.BufferedRandom:
    return os.fdopen(os.memfd_create("stream"), "w+b")


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8")


def _exactly(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        part = connection.recv(count - len(found))
        if not part:
            raise EOFError("the process that others are forked from has gone")
        found += part
    return found


def serve(connection: socket.socket) -> dict[str, Any] | None:
    """Fork for every request, tell how each ended; return what a forked one is to do, and ``None`` at the end."""
    waiting: dict[int, tuple[int, socket.socket]] = {}
    with selectors.DefaultSelector() as ready:
        ready.register(connection, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fd != connection.fileno():
                    process, status = waiting.pop(key.fd)
                    ready.unregister(key.fd)
                    os.close(key.fd)
                    _, ending = os.waitpid(process, 0)
                    _tell(status, os.waitstatus_to_exitcode(ending))
                    status.close()
                    continue
                size, descriptors, _, _ = socket.recv_fds(connection, 8, 4)
                if not size:
                    return None
                wanted: dict[str, Any] = json.loads(_exactly(connection, int.from_bytes(size, "big")))
                *streams, told = descriptors
                process = os.fork()
                if process == 0:
                    connection.close()
                    for number, stream in enumerate(streams):
                        os.dup2(stream, number)
                    for descriptor in (*descriptors, *waiting, *(one.fileno() for _, one in waiting.values())):
                        os.close(descriptor)
                    return wanted
                for stream in streams:
                    os.close(stream)
                status = socket.socket(fileno=told)
                _tell(status, process)
                watched = os.pidfd_open(process)
                waiting[watched] = process, status
                ready.register(watched, selectors.EVENT_READ)


def _tell(status: socket.socket, number: int) -> None:
    try:
        status.sendall(number.to_bytes(8, "big", signed=True))
    except BrokenPipeError:
        return  # Nobody waits for it any more.


def warm_up() -> None:
    """Read what is read with the first reply that is graded: tables of words, of their pairs and inflections."""
    from mlxintro.grading.rules import coherence
    from mlxintro.replies.mentions import find_mentions

    said = "yes, i notice a thought about oceans."
    coherence.read_coherence(said, said)
    find_mentions(said, "ocean")


def leave(code: int) -> NoReturn:
    """End as Python does, but let the system take the memory back: to free every object costs a fifth of a second."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if not stream.closed:
            stream.flush()
    os._exit(code)


def main() -> None:
    """Read the libraries, wait for requests, and become each command that is asked for."""
    for name in PRELOADED:
        __import__(name)
    warm_up()
    early = [name for name in NEVER if name in sys.modules]
    assert not early, f"{early} must not be read before the fork"
    gc.collect()
    gc.freeze()
    wanted = serve(socket.socket(fileno=int(sys.argv[1])))
    if wanted is None:
        return
    os.environ.clear()
    os.environ.update(wanted["environment"])
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), "utf-8")
    errors = io.BufferedWriter(io.FileIO(2, "w", closefd=False))
    sys.stderr = io.TextIOWrapper(errors, "utf-8", errors="backslashreplace", line_buffering=True)
    try:
        if wanted["arguments"][:1] == ["-c"]:
            exec(wanted["arguments"][1], {"__name__": "__main__"})
        else:
            sys.argv = ["mlxintro", *wanted["arguments"]]
            runpy.run_module("mlxintro", run_name="__main__", alter_sys=True)
    except SystemExit as ending:
        if not (ending.code is None or isinstance(ending.code, int)):
            print(ending.code, file=sys.stderr)
            leave(1)
        leave(ending.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        leave(1)
    leave(0)


if __name__ == "__main__":
    main()
