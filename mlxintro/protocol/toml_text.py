"""TOML that people write: read with errors that name the line, and the line at which something is set."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from mlxintro.backends.errors import UsageError

_TWICE = {
    "Cannot overwrite a value": "this is set twice",
    "Cannot declare": "this table is there twice: ",
}
"""What the parser says of a key that was given before."""


def text_of(path: Path) -> str:
    """A file's text.

    Raises:
        UsageError: there is none, or it is no text.
    """
    try:
        # Some editors begin a file with a mark of byte order.
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text in UTF-8: save it as such") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def parsed(text: str, name: str) -> dict[str, Any]:
    """Parse TOML.

    Args:
        name: of the file, for messages.

    Raises:
        UsageError: it is none; with the line.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, _, where = str(error).partition(" (at ")
        found = re.match(r"line (\d+)", where)
        line = int(found.group(1)) if found else len(text.splitlines())
        for said, meant in _TWICE.items():
            what = what.replace(said, meant)
        raise UsageError(f"{name}:{line}: this is not TOML: {what[:1].lower()}{what[1:]}") from None


def line_of(text: str, key: str) -> int | None:
    """The line, from 1, at which a key is set, whatever its table, or at which a table of that name begins."""
    if not key:
        return None
    own = rf"[\"']?{re.escape(key)}[\"']?"
    for pattern in (rf"\s*(?:[\w-]+\.)*{own}\s*=", rf"\s*\[+\s*(?:[\w-]+\s*\.\s*)*{own}\s*\]"):
        for number, line in enumerate(text.splitlines(), 1):
            if re.match(pattern, line):
                return number
    return None


def place(name: str, text: str, key: str) -> str:
    """``file:line: `` where a key is set, else ``file: ``; what messages begin with."""
    line = line_of(text, key)
    return f"{name}:{line}: " if line else f"{name}: "
