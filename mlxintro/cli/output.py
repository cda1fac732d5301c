"""Tables and numbers for people. Plain text: no colour carries meaning, and a pipe gets the same lines."""

from __future__ import annotations

import io
import json
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

import click

from mlxintro.rendering.cleaning import escaped_json, visible


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Return the columns as wide as they need; those listed in ``right`` are aligned to the right."""
    from mlxintro.rendering.grids import grid

    return "\n".join(grid(header, rows, right))


def terminal_width() -> int:
    """Return the columns of the terminal that stdout is; 0 where it is a file or a pipe, whose lines may be long."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def json_line(value: Any) -> str:
    """Return one line of JSON, which is UTF-8 whatever stdout's encoding, and holds nothing that steers a terminal."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "")
    return escaped_json(json.dumps(value, default=_plain, ensure_ascii=encoding != "utf8"))


def _plain(value: Any) -> Any:
    if hasattr(value, "as_dict"):
        return value.as_dict()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def echo(text: str = "", *, nl: bool = True, err: bool = False) -> None:
    """Write text, which may come from a model or from somebody else's store, without what would steer the terminal.

    All commands write through this, so that none can forget to.
    """
    click.echo(visible(text), nl=nl, err=err)


def chatter(text: str) -> None:
    """Tell the person at the terminal something: on stderr, so that data on stdout stays clean."""
    echo(text, err=True)


def refuse(problem: str) -> None:
    """Say on stderr, in one line whatever was typed, why a command does not do what was asked."""
    echo(f"mlxintro: {' '.join(problem.split())}", err=True)


def write_anything() -> None:
    """Let output that its encoding has no characters for (a file on Windows) be escaped instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def shell(name: str) -> str:
    """Return a name as it is typed into a shell, for commands that are suggested."""
    return shlex.quote(visible(name))


def shorten(text: str, width: int) -> str:
    """Return one line of at most ``width`` cells of a terminal, of which a wide character takes two."""
    from rich.cells import cell_len, set_cell_size

    line = visible(" ".join(text.split()))
    return line if cell_len(line) <= width else set_cell_size(line, width - 1).rstrip() + "…"
