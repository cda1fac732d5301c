"""Commands in processes forked from one that has read the large libraries already.

Reading scipy, statsmodels, pandas and pydantic costs each process two seconds of a core, far more than most commands
themselves. A forked process has its own memory, environment, folder, standard streams and exit code, and ends as any
other does. What depends on how Python starts (encodings, a hub's folder) is for a process of its own.
"""

from __future__ import annotations

import atexit
import gc
import io
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[1]

PRELOADED = (
    "anthropic",
    "openai",
    "pandas",
    "pydantic",
    "scipy.optimize",
    "scipy.stats",
    "statsmodels.api",
    "statsmodels.stats.multitest",
    "statsmodels.stats.proportion",
    "mlxintro.analysis.run",
    "mlxintro.backends.simulated.backend",
    "mlxintro.cli.main",
    "mlxintro.grading.alongside",
    "mlxintro.running.launch",
    "mlxintro.store.store",
)

NEVER = ("huggingface_hub", "mlx", "textual", "torch", "transformers")
"""They read the environment, start threads, or belong to few commands: no forked process may have them from before."""


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

    def run(
        self, arguments: list[str], environment: dict[str, str], streams: tuple[int, int, int], timeout: float
    ) -> int:
        """Fork a process, run a command in it, and return its exit code, negative for a signal.

        Args:
            arguments: of ``mlxintro``; after ``-c`` stands code to run instead.
            environment: of the process.
            streams: file descriptors of stdin, stdout and stderr.
            timeout: in seconds, after which the process is killed.
        """
        request = json.dumps({"arguments": arguments, "environment": environment}).encode()
        self._socket.settimeout(timeout)
        socket.send_fds(self._socket, [len(request).to_bytes(8, "big")], list(streams))
        self._socket.sendall(request)
        process = int.from_bytes(_exactly(self._socket, 8), "big")
        try:
            return int.from_bytes(_exactly(self._socket, 8), "big", signed=True)
        except TimeoutError:
            os.kill(process, signal.SIGKILL)
            raise subprocess.TimeoutExpired(arguments, timeout) from None


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
        code = nursery().run(arguments, environment, (given.fileno(), target, err.fileno()), seconds)
        return code, _content(out), _content(err)


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
    """Fork for every request; return what a forked process is to do, and ``None`` at the end."""
    while True:
        size, streams, _, _ = socket.recv_fds(connection, 8, 3)
        if not size:
            return None
        wanted: dict[str, Any] = json.loads(_exactly(connection, int.from_bytes(size, "big")))
        process = os.fork()
        if process == 0:
            connection.close()
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
                os.close(stream)
            return wanted
        for stream in streams:
            os.close(stream)
        connection.sendall(process.to_bytes(8, "big"))
        _, status = os.waitpid(process, 0)
        connection.sendall(os.waitstatus_to_exitcode(status).to_bytes(8, "big", signed=True))


def main() -> None:
    """Read the libraries, wait for requests, and become each command that is asked for."""
    for name in PRELOADED:
        __import__(name)
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
    if wanted["arguments"][:1] == ["-c"]:
        exec(wanted["arguments"][1], {"__name__": "__main__"})
        return
    sys.argv = ["mlxintro", *wanted["arguments"]]
    runpy.run_module("mlxintro", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
