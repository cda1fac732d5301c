"""The keys: those that a person has chosen in a file, checked, and keys named in texts by the id of their binding."""

from __future__ import annotations

import json
import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import KEY_NAME_REPLACEMENTS, Keys

from mlxintro.backends.errors import UsageError

_NAMED = re.compile(r"\{([a-z_]+\.[a-z_]+)\}")
"""The id of a binding in a text, e.g. ``{runs.resume}``."""
_FUNCTION_KEY = re.compile(r"\bf\d+$")
_MODIFIERS = ("ctrl", "shift", "alt", "meta", "super", "hyper")
_NAMES = {str(key.value) for key in Keys} | set(KEY_NAME_REPLACEMENTS) | set(KEY_NAME_REPLACEMENTS.values())

KeyGroup = Mapping[str, Binding]
"""Bindings by id that are at work together: those of one screen, of its widgets, and of the app."""


def bindings_of(*owners: type[DOMNode]) -> dict[str, Binding]:
    """Return the bindings with an id of some classes, by id."""
    bindings = (one for owner in owners for one in owner.BINDINGS)
    return {one.id: one for one in bindings if isinstance(one, Binding) and one.id is not None}


@dataclass(frozen=True, slots=True)
class ChosenKeys:
    """Says what a file of keys comes to."""

    keys: dict[str, str]
    """Keys by the id of their binding."""
    problems: tuple[str, ...] = ()
    """Lines that are left out, and why."""


def load_keys(path: Path, groups: Sequence[KeyGroup]) -> ChosenKeys:
    """Read the keys by the id of their binding, e.g. ``"runs.delete" = "x"``; none when there is no file.

    Raises:
        UsageError: the file cannot be read at all.
    """
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return ChosenKeys({})
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}: correct or delete it; the usual keys are in use") from error
    known = {name: binding for group in groups for name, binding in group.items()}
    keys: dict[str, str] = {}
    problems = []
    for name, value in found.items():
        problem = _problem(name, value, known)
        if problem:
            problems.append(problem)
        else:
            keys[name] = ",".join(part.strip() for part in value.split(","))
    for name in list(keys):
        other = _conflict(name, keys, groups)
        if other is not None:
            problems.append(f'"{name}" = "{keys.pop(name)}": {other} has this key already')
    return ChosenKeys(keys, tuple(problems))


def _problem(name: str, value: object, known: Mapping[str, Binding]) -> str:
    if name not in known:
        return f'"{name}" is the name of no key binding'
    if not isinstance(value, str) or not value.strip():
        return f'"{name}": write it as "{name}" = "KEY"'
    wrong = [part.strip() for part in value.split(",") if not is_key(part.strip())]
    return f'"{name}" = "{value}": there is no key {wrong[0]!r}' if wrong else ""


def is_key(text: str) -> bool:
    """Tell whether a text names a key, as ``x``, ``ctrl+y``, ``f5`` or ``question_mark`` do."""
    *modifiers, key = text.split("+") if text != "+" else ["+"]
    if any(one not in _MODIFIERS for one in modifiers) or not key:
        return False
    if (len(key) == 1 and key.isprintable()) or key in _NAMES or re.fullmatch(r"f([1-9]|1\d|2[0-4])", key):
        return True
    try:
        unicodedata.lookup(key.replace("_", " "))
    except KeyError:
        return False
    return True


def _conflict(name: str, keys: Mapping[str, str], groups: Sequence[KeyGroup]) -> str | None:
    """Find what else has a key of this binding where both are at work."""
    mine = set(_parts(keys[name]))
    for group in groups:
        if name not in group:
            continue
        for other, binding in group.items():
            if other != name and mine & set(_parts(keys.get(other, binding.key))):
                return other
    return None


def _parts(keys: str) -> Iterable[str]:
    return (part.strip() for part in keys.split(","))


def keys_template(groups: Sequence[KeyGroup]) -> str:
    """Return a file to edit: every binding's id with its usual key (as a comment) and what it does."""
    known = {name: binding for group in groups for name, binding in group.items()}
    lines = ["# Keys of mlxintro's terminal app. Take the # away and change the key; read when the app starts.", ""]
    lines += [
        f"# {json.dumps(name)} = {json.dumps(one.key)}  # {one.tooltip or one.description}"
        for name, one in sorted(known.items())
    ]
    return "\n".join(lines) + "\n"


def shown_key(app: App[Any], binding: Binding) -> str:
    """Return the first key of a binding as it has to be pressed now."""
    chosen = app._keymap.get(binding.id or "")
    key = (chosen or binding.key).split(",")[0]
    return app.get_key_display(binding.with_key(key, None if chosen else binding.key_display))


def as_printed(display: str) -> str:
    """Return a key as keyboards have it: ``F3`` for ``f3``; a letter stays as it is, for its case matters."""
    return _FUNCTION_KEY.sub(lambda match: match[0].upper(), display)


def with_keys(text: str, shown: Callable[[str], str]) -> str:
    """Put the keys in place of the ids of bindings, e.g. ``r`` for ``{runs.resume}``."""
    return _NAMED.sub(lambda match: shown(match[1]), text)
