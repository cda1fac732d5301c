"""Tables and numbers for people. Plain text: no colour carries meaning, and a pipe gets the same lines."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

import click

_CONTROLS = dict.fromkeys({*range(32), *range(127, 160)} - {9, 10}, "\N{REPLACEMENT CHARACTER}")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Columns as wide as they need; those listed in ``right`` are aligned to the right."""
    from mlxintro.rendering.text import grid

    return "\n".join(grid(header, rows, right))


def json_line(value: Any) -> str:
    """One line of JSON."""
    return json.dumps(value, default=_plain, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if hasattr(value, "as_dict"):
        return value.as_dict()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def chatter(text: str) -> None:
    """Something for the person at the terminal: stderr, so that data on stdout stays clean."""
    click.echo(text, err=True)


def shell(name: str) -> str:
    """A name as it is typed into a shell, for commands that are suggested."""
    return shlex.quote(name)


def visible(text: str) -> str:
    """Text of a model or of somebody else's store, without what would steer the terminal."""
    return text.translate(_CONTROLS)


def shorten(text: str, width: int) -> str:
    """One line of at most ``width`` characters, none of which steers the terminal."""
    line = visible(" ".join(text.split()))
    return line if len(line) <= width else line[: width - 1] + "…"
