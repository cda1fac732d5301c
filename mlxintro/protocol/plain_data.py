"""JSON from outside, read so that what comes out can be stored, hashed, compared and written again."""

from __future__ import annotations

import json
from typing import Any, NoReturn

DEEPEST = 64
"""Levels of nesting. What this program writes has fewer than ten."""
_LARGEST = 2**63
"""Integers below this fit into SQLite, and into a float."""


def parse_json(text: str) -> Any:
    """Read JSON text that nobody has checked.

    Raises:
        ValueError: its message is a clause that says what is wrong, such as "it is not JSON". Beside broken syntax that
            is nesting deeper than ``DEEPEST``, numbers that are not finite or have no 64-bit form, and halves of
            characters, which have no UTF-8 form.
    """
    try:
        value = json.loads(text, parse_constant=_not_finite, parse_int=_integer, parse_float=_float)
    except RecursionError:
        raise ValueError(f"it is nested deeper than {DEEPEST} levels") from None
    except json.JSONDecodeError as error:
        raise ValueError("it is not JSON") from error
    # Most texts cannot be that deep, and have no halves of characters, which JSON can only spell with a backslash.
    if text.count("[") + text.count("{") > DEEPEST and _depth(value) > DEEPEST:
        raise ValueError(f"it is nested deeper than {DEEPEST} levels")
    if "\\u" in text or not text.isascii():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("it holds half a character (a lone surrogate)") from None
    return value


def is_utf16(start: bytes) -> bool:
    """Tell whether a file begins as UTF-16 does, as PowerShell writes it.

    With its mark, or with every other byte zero.
    """
    return start.startswith((b"\xff\xfe", b"\xfe\xff")) or (
        len(start) >= 4 and (not any(start[1:64:2]) or not any(start[0:64:2]))
    )


def _not_finite(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which is no number")


def _integer(digits: str) -> int:
    # Python refuses to read thousands of digits with a message of its own.
    if len(digits) > 20 or not -_LARGEST <= (number := int(digits)) < _LARGEST:
        raise ValueError("it holds a whole number of more than 64 bits")
    return number


def _float(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError("it holds a number too large for a float")
    return number


def _depth(value: Any) -> int:
    deepest, waiting = 0, [(value, 1)]
    while waiting:
        one, depth = waiting.pop()
        if isinstance(one, dict | list):
            deepest = max(deepest, depth)
            waiting += [(inner, depth + 1) for inner in (one.values() if isinstance(one, dict) else one)]
    return deepest
