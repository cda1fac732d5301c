"""TOML that people write and get: read with errors that name the line at which something is set, and written."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlxintro.backends.errors import UsageError

_TWICE = {
    "Cannot overwrite a value": "this is set twice",
    "Cannot declare": "this table is there twice: ",
}
"""What the parser says of a key that was given before."""


def text_of(path: Path) -> str:
    """Return a file's text.

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
    """Return the line, from 1, at which a key is set, whatever its table, or at which a table of that name begins."""
    if not key:
        return None
    own = rf"[\"']?{re.escape(key)}[\"']?"
    for pattern in (rf"\s*(?:[\w-]+\.)*{own}\s*=", rf"\s*\[+\s*(?:[\w-]+\s*\.\s*)*{own}\s*\]"):
        for number, line in enumerate(text.splitlines(), 1):
            if re.match(pattern, line):
                return number
    return None


def place(name: str, text: str, key: str) -> str:
    """Return what messages begin with: ``file:line: `` where a key is set, else ``file: ``."""
    line = line_of(text, key)
    return f"{name}:{line}: " if line else f"{name}: "


def as_document(data: Mapping[str, Any]) -> str:
    """Return the plain data as a TOML document with a table for each mapping at its top; ``None`` is left out."""
    present = list(_present(data))
    parts = ["".join(f"{_key(name)} = {as_value(item)}\n" for name, item in present if not isinstance(item, Mapping))]
    for name, table in present:
        if isinstance(table, Mapping):
            lines = (f"{_key(inner)} = {as_value(item)}\n" for inner, item in _present(table))
            parts.append(f"[{_key(name)}]\n{''.join(lines)}")
    return "\n".join(part for part in parts if part)


def as_value(value: Any) -> str:
    """Return one value as TOML, on one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case Mapping():
            return "{" + ", ".join(f"{_key(k)} = {as_value(v)}" for k, v in _present(value)) + "}"
        case Sequence():
            return "[" + ", ".join(as_value(item) for item in value) + "]"
    raise TypeError(f"{type(value).__name__} cannot be written as TOML")


def _present(value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((name, item) for name, item in value.items() if item is not None)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)
