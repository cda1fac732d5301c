"""How well each word of a text fits the two before it, by the classes the words belong to.

Connected English strings word classes together in ways that others have: "of the NOUN is". Salad does not, even where
every pair of its words is familiar. A class is one of the hundred commonest words and marks by itself, or a group of
words that stand in the same surroundings (Schütze 1995, "Distributional part-of-speech tagging"); what follows what was
counted in openly licensed text that ``scripts/build_word_classes.py`` names. A rare word, a name or a term costs
nothing as long as its neighbours stand where they should.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from itertools import chain

import numpy as np
import numpy.typing as npt

from mlxintro.replies.familiarity import spoken_words

STOP, MARK, NUMBER, LINE = ".", ",", "#", "/"
"""Tokens for the end of a sentence, any mark inside one, any number, and a line break within a sentence."""
LEAST_BITS, MOST_BITS = -3.0, 1.0
"""What one word counts for at most: below, one slip says no more than that it is one; above, phrases hide salad."""
CODES_PER_OCTAVE = 8.0
_FROM_PAIRS, _FROM_SINGLES = 30.0, 20.0
"""Occurrences that a shorter history counts for beside a longer one (Dirichlet smoothing)."""

_TOKEN = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*|\d[\d.,:/]*|[.!?]+|\n+|[,;:()\-]+")


@dataclass(frozen=True, slots=True)
class TextToken:
    text: str
    """A word as it is spoken, or one of the marks above."""
    start: int
    """Offset in the text, in characters."""


def tokens(folded: str) -> list[TextToken]:
    """Return the words and marks of folded text, contractions written out ("don't": do, not), marks in a row as one."""
    found: list[TextToken] = []
    for match in _TOKEN.finditer(folded):
        first = match.group()[0]
        if first in ".!?\n":
            text = LINE if match.group() == "\n" else STOP
        elif first in ",;:()-":
            text = MARK
        elif first.isdecimal():
            text = NUMBER
        else:
            found.extend(TextToken(word, match.start()) for word in spoken_words(match.group()))
            continue
        if not found or found[-1].text not in (STOP, MARK, LINE):
            found.append(TextToken(text, match.start()))
        elif text == STOP:
            found[-1] = TextToken(STOP, found[-1].start)
    return found


class _Grammar:
    """Holds word classes, and by how many bits a class is likelier behind two others than anywhere."""

    def __init__(self, words: list[str], classes: npt.NDArray[np.uint8], counts: npt.NDArray[np.float32]) -> None:
        self.unknown = len(counts) - 1
        self.of = dict(zip(words, classes.tolist(), strict=True))
        self.stop = self.of[STOP]
        pairs = counts.sum(0)
        singles = pairs.sum(0) + 1
        one = singles / singles.sum()
        two = (pairs + _FROM_SINGLES * one) / (pairs.sum(1, keepdims=True) + _FROM_SINGLES)
        three = (counts + _FROM_PAIRS * two) / (counts.sum(2, keepdims=True) + _FROM_PAIRS)
        self.bits: npt.NDArray[np.float32] = np.clip(np.log2(three / one), LEAST_BITS, MOST_BITS).astype(np.float32)

    def fit(self, text: list[str]) -> npt.NDArray[np.float32]:
        """Return the bits by token, the text taken to begin a sentence."""
        codes = [self.of.get(word, self.unknown) for word in text]
        code = np.fromiter(chain((self.stop, self.stop), codes), dtype=np.intp, count=len(codes) + 2)
        bits = self.bits[code[:-2], code[1:-1], code[2:]]
        # Names and terms crowd together in glossaries; in a reply a row of unknown words is no evidence of grammar.
        return np.where(code[2:] == self.unknown, np.minimum(bits, 0.0), bits)


@lru_cache(maxsize=1)
def _grammar() -> _Grammar:
    with as_file(files("mlxintro") / "data" / "word_classes.npz") as path, np.load(path) as data:
        words = data["words"].tobytes().decode("utf-8").split("\n")
        size = int(data["size"])
        counts = np.zeros(size**3, dtype=np.float32)
        counts[np.cumsum(data["gaps"], dtype=np.int64)] = np.exp2(data["codes"] / CODES_PER_OCTAVE) - 1
        return _Grammar(words, data["classes"], counts.reshape(size, size, size))


def grammatical_fit(found: list[TextToken]) -> npt.NDArray[np.float32]:
    """Return how much likelier each token is behind the two before it than anywhere, in bits, float32 (tokens,).

    Lines of verse, lists and headlines may or may not go on from the line before: a token behind a line break gets the
    better of the two. The line break itself gets 0.
    """
    texts = [token.text for token in found]
    broken = _grammar().fit([STOP if text == LINE else text for text in texts])
    if LINE not in texts:
        return broken
    inside = np.array([text != LINE for text in texts])
    flowing = np.zeros_like(broken)
    flowing[inside] = _grammar().fit([text for text in texts if text != LINE])
    return np.where(inside, np.maximum(broken, flowing), 0.0).astype(np.float32)
