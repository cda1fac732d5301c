"""Text from outside, made safe to draw: a reply, a name, a token or an error may hold what steers the terminal."""

from __future__ import annotations

_CONTROLS = {*range(0x20), *range(0x7F, 0xA0)} - {0x09, 0x0A}
"""C0 with escape and NUL, delete, and C1; tabs and line feeds are left."""
_DIRECTING = {0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
"""They turn the direction of text around, so that it reads as something else."""
_BREAKING = {0x2028, 0x2029}
_HALVES = range(0xD800, 0xE000)
"""Halves of characters, which cannot be written."""

_REPLACED = dict.fromkeys({*_CONTROLS, *_DIRECTING, *_BREAKING, *_HALVES}, "\N{REPLACEMENT CHARACTER}")
_ESCAPED = {code: f"\\u{code:04x}" for code in {*_CONTROLS, *_DIRECTING, *_BREAKING, *_HALVES} if code > 0x20}


def visible(text: str) -> str:
    """Replace every character that steers a terminal, reverses text or cannot be written by U+FFFD.

    This is the one place for it: the command line calls it in ``echo``, ``chatter`` and the error line, the terminal
    app where it draws text that is not its own. Line feeds and tabs are kept.
    """
    return text.translate(_REPLACED)


def escaped_json(text: str) -> str:
    r"""Write the same characters of JSON text as ``\u`` escapes, which keeps its value."""
    return text.translate(_ESCAPED)
