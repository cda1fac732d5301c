"""The one Unicode form in which words are compared, whoever wrote them.

An accented letter can be one character, or a letter and a mark behind it: file systems, keyboards and models differ,
and nobody sees which it is. Whatever compares words (concepts, replies, labels, searches) compares them in form C of
Unicode (Unicode Standard Annex 15), here called composed.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

_JAMO = ("\u1160", "\u11ff")
"""Vowels and finals of Korean, which compose with what stands before them though they are no marks."""


def composed(text: str) -> str:
    """Write every letter and its marks as one character, where there is one."""
    return text if text.isascii() or unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)


def comparable(text: str) -> str:
    """Return a text as it is compared where case does not matter either."""
    return composed(composed(text).casefold())


def spellings(text: str) -> tuple[str, str]:
    """Return both forms of a text, composed first, for looking it up among texts that were stored as they came."""
    return composed(text), unicodedata.normalize("NFD", text)


def places(text: str) -> Sequence[int]:
    """Return where each character of the composed text, and its end, stands in the text itself."""
    found: list[int] = []
    begin = 0
    for at in range(1, len(text) + 1):
        if at == len(text) or not _joins(text[at]):
            # What composition makes of a letter and its marks begins where the letter does.
            found += [begin] * len(unicodedata.normalize("NFC", text[begin:at]))
            begin = at
    return [*found, len(text)]


def find(text: str, wanted: str) -> tuple[int, int] | None:
    """Return where a phrase stands in a text, in whichever form either is written; letter case matters."""
    phrase = composed(wanted)
    start = composed(text).find(phrase) if phrase else -1
    if start < 0:
        return None
    at = places(text)
    return at[start], at[start + len(phrase)]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a question after the name that was meant, in brackets and with a space before it; else nothing."""
    close = get_close_matches(comparable(name.strip()), list(known), n=1, cutoff=0.7)
    return f" (did you mean {close[0]}?)" if close else ""


def _joins(character: str) -> bool:
    return unicodedata.category(character)[0] == "M" or _JAMO[0] <= character <= _JAMO[1]
