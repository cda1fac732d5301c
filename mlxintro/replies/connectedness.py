"""How far each word of a text is connected with those before it: pairs, classes, words that are none, slips of type.

Each kind of evidence is weak by itself. Books hardly hold the pairs that verse, recipes or chat are made of, but their
words stand where words of their class stand; salad has familiar pairs, but strings them together as nobody does; and
what a model writes when it breaks up is full of words that are none, which it never misspells otherwise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mlxintro.replies.familiarity import KNOWN, familiarity, frequencies
from mlxintro.replies.grammar import LEAST_BITS, LINE, MARK, MOST_BITS, NUMBER, STOP, grammatical_fit, tokens

LEVEL = 0.5
"""Bits a token: connected English lies above, salad below."""
NO_WORD = -4.0
"""Bits of a word in lower case that is in no word list."""
SLIP = 2.0
"""Bits that a slip of type takes off: a stop without a blank behind it, capitals inside a word."""
_LONGEST_ABBREVIATION = 5
_MARKS = frozenset((STOP, MARK, NUMBER, LINE))
# "reality.No response", "HAa", "AttakSatgai"; code and names of products have them as well, so each counts for little.
_SLIP = re.compile(r"(?<=[a-z]{2})[.?!,;:](?=[A-Z][a-z])|(?<=[a-z])[A-Z]+[a-z]*|(?<=[A-Z]{2})[a-z]+|\S\ufffd")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Marks tokens of a text in a row, by their place among its tokens."""

    first: int
    stop: int
    deficit: float
    """Bits by which they fall short of the level, in sum."""
    total: int
    """How many tokens the text has."""


@dataclass(frozen=True, slots=True)
class Connectedness:
    """Says what each token of a text is worth, in bits."""

    bits: npt.NDArray[np.float64]
    """Shape (tokens,)."""
    starts: npt.NDArray[np.intp]
    """Offset of every token in the text, in characters."""
    spoken: npt.NDArray[np.bool_]
    """Which tokens are words rather than marks or numbers."""
    unknown: int
    """How many words in lower case are in no word list."""

    def worst(self, level: float = LEVEL) -> Stretch:
        """Return the stretch that falls short of a level most in sum (Kadane's algorithm, linear in the tokens)."""
        best = Stretch(0, 0, 0.0, len(self.bits))
        total, first = 0.0, 0
        for place, value in enumerate((level - self.bits).tolist()):
            if total <= 0:
                total, first = 0.0, place
            total += value
            if total > best.deficit:
                best = Stretch(first, place + 1, total, len(self.bits))
        return best

    def without(self, first: int, stop: int) -> Connectedness:
        """Leave a stretch of tokens out."""
        keep = np.ones(len(self.bits), dtype=bool)
        keep[first:stop] = False
        return replace(self, bits=self.bits[keep], starts=self.starts[keep], spoken=self.spoken[keep])


def _is_name(written: str) -> bool:
    """Whether a word that is in no list may be a name or an abbreviation, by its capitals."""
    return not written[0].islower() and not (written.isupper() and len(written) > _LONGEST_ABBREVIATION)


def connectedness(text: str, folded: str) -> Connectedness:
    """Weigh every token of a text.

    Args:
        text: In its original case, which tells names from words that are none.
        folded: The same text after ``fold``.
    """
    found = tokens(folded)
    starts = np.array([token.start for token in found], dtype=np.intp)
    spoken = np.array([token.text not in _MARKS for token in found], dtype=bool)
    pairs = np.full(len(found), np.nan)
    pairs[spoken] = familiarity(folded).bits
    known = np.clip(np.where(np.isnan(pairs), LEVEL, pairs), LEAST_BITS, MOST_BITS)
    bits = (grammatical_fit(found).astype(np.float64) + known) / 2
    listed = frequencies()
    unknown = 0
    for place in np.flatnonzero(spoken).tolist():
        word = found[place].text
        if len(word) > 2 and listed.get(word, 0.0) < KNOWN:
            is_name = _is_name(text[found[place].start : found[place].start + len(word)])
            bits[place] = LEVEL if is_name else NO_WORD
            unknown += not is_name
    for slip in _SLIP.finditer(text):
        place = min(int(np.searchsorted(starts, slip.start())), len(found) - 1)
        if place >= 0:
            bits[place] -= SLIP
    return Connectedness(bits, starts, spoken, unknown)
