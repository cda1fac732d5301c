"""The command line, run as a user runs it: a process with a home of its own, or ``main`` called in this one."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests import forked

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "mlxintro"]
RUN = ("run", "injected-thoughts", "--backend", "fake")
SMALL = (*RUN, "--concepts", "ocean,fear", "--strengths", "2,4", "--trials", "3", "--controls", "6")
"""Twelve injected trials and six controls."""


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Stdout as one JSON object per line; anything else on it is an error."""
        return [json.loads(line) for line in self.out.splitlines()]


def environment(home: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "MLXINTRO_HOME": str(home), "HF_HOME": str(home / "hub"), "OMP_NUM_THREADS": "1", **more}


_AT_START = ("PYTHON", "LC_", "LANG", "HF_", "OMP_", "LD_")
"""Settings that count when a process starts, or when a library is first read."""


def _can_be_forked(more: dict[str, str]) -> bool:
    return sys.platform == "linux" and not any(name.startswith(_AT_START) for name in more)


def mlxintro(
    home: Path,
    *arguments: str,
    stdin: str = "",
    stdout: int | IO[Any] | None = None,
    seconds: float = 120,
    **more: str,
) -> Result:
    """Run a command to its end, in a process of its own."""
    if _can_be_forked(more):
        code, out, err = forked.run(list(arguments), environment(home, **more), stdin, stdout, seconds)
    else:
        done = subprocess.run(
            [*COMMAND, *arguments],
            input=stdin,
            stdout=subprocess.PIPE if stdout is None else stdout,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env=environment(home, **more),
            cwd=ROOT,
            timeout=seconds,
        )
        code, out, err = done.returncode, done.stdout or "", done.stderr
    assert "Traceback" not in err, err
    assert "Exception ignored" not in err, err
    return Result(code, out, err)


StartedProcess = forked.ForkedProcess | subprocess.Popen[str]


def started(home: Path, *arguments: str, **more: str) -> StartedProcess:
    """Start a command and go on; it can be killed or told to end."""
    if _can_be_forked(more):
        return forked.start(list(arguments), environment(home, **more))
    return subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=environment(home, **more),
        cwd=ROOT,
    )


def code_started(code: str, given: dict[str, str] | None = None, *, speaking: bool = False) -> StartedProcess:
    """Start Python code in a process of its own, which can be killed, and go on.

    Args:
        code: in a process of this project, from its folder.
        given: its environment; by default that of this process.
        speaking: whether its stdin is a pipe.
    """
    if sys.platform == "linux":
        return forked.start(["-c", code], given or dict(os.environ), speaking=speaking)
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE if speaking else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=given,
        cwd=ROOT,
    )


def events(process: StartedProcess) -> Iterator[dict[str, Any]]:
    """What a run started with ``--json`` tells, as it tells it."""
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


def until(told: Iterator[dict[str, Any]], kind: str) -> dict[str, Any]:
    return next(event for event in told if event["event"] == kind)


def ended(process: StartedProcess) -> Result:
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err, err
    assert "Exception ignored" not in err, err
    return Result(process.wait(), out, err)


def content(home: Path) -> tuple[list[str], list[str]]:
    """Everything a home holds: the rows of its store, and the files beside it."""
    rows: list[str] = []
    path = home / "mlxintro.db"
    if path.exists():
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            rows = list(db.iterdump())
    files = sorted(str(file.relative_to(home)) for file in home.rglob("*") if file.is_file())
    return rows, [name for name in files if not name.startswith("mlxintro.db")]


Call = Callable[..., Result]
