"""How familiar a text's word pairs are: connected English repeats pairs that others have written, word salad does not.

For two neighbouring words the pointwise mutual information, log2 of how much more often they stand together than chance
would have it (Church and Hanks 1990), is read from a table of pairs; a pair that is not in it gets the most it could
have. Prose averages above one bit, shuffled words below zero. Frequencies of words come from ``wordfreq`` (Apache-2.0;
its data CC BY-SA 4.0), the pairs from ``data/word_pairs.npz``, whose sources ``scripts/build_word_pairs.py`` names.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files

import numpy as np
import numpy.typing as npt

from mlxintro.replies.text import word_set

STEP = 8.0
LOWEST = -32.0
RAREST_LISTED = math.log2(1.5e-7)
"""Log2 of the probability a pair has at most when the table does not hold it."""
KNOWN = 2e-8
"""Share of all words below which a word counts as unknown."""
UNKNOWN_BITS = -3.0
FIELD_BITS = 0.3
LEAST_BITS, MOST_BITS = -4.0, 3.0

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
# Within a phrase words follow each other; commas, stops and line breaks end it.
_PHRASE_END = re.compile(r"[^\w\s'\"*_\-]|\n")
_NEGATED = re.compile(r"^(can|won|shan|ain|[a-z]+)n't$")
_STEMS = {"ca": "can", "wo": "will", "sha": "shall", "ai": "is", "can": "can"}
_ENDINGS = {"'m": "am", "'re": "are", "'ve": "have", "'ll": "will", "'d": "would"}
_IS = word_set("it that there what he she here let who where how this something everything nothing")
# Words of the experiment, which books and speeches hardly pair as replies do.
_FIELD = word_set(
    "inject injected injection injections detect detected detecting detection detectable thought thoughts notice "
    "noticed noticing sense processing concept trial introspect introspection ai unusual odd strange foreign intrusive "
    "anomalous concepts patterns pattern activations activation"
)


def encode(log2_probability: float) -> int:
    """Return a byte for a logarithm between -32 and 0."""
    return max(0, min(255, round((log2_probability - LOWEST) * STEP)))


@lru_cache(maxsize=1)
def _table() -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.float64]]:
    with as_file(files("mlxintro") / "data" / "word_pairs.npz") as path, np.load(path) as data:
        return data["keys"], data["codes"].astype(np.float64) / STEP + LOWEST


@lru_cache(maxsize=1)
def frequencies() -> Mapping[str, float]:
    """Return the share of all English words that a word makes up."""
    from wordfreq import get_frequency_dict

    found: Mapping[str, float] = get_frequency_dict("en")
    return found


def words_by_phrase(folded: str) -> Iterator[list[tuple[str, int]]]:
    """Return the words with their offsets, phrase by phrase, contractions written out ("don't": do, not)."""
    phrase: list[tuple[str, int]] = []
    last = 0
    for found in _WORD.finditer(folded):
        if phrase and _PHRASE_END.search(folded, last, found.start()):
            yield phrase
            phrase = []
        phrase.extend((word, found.start()) for word in spoken_words(found.group()))
        last = found.end()
    if phrase:
        yield phrase


@lru_cache(maxsize=20_000)
def spoken_words(word: str) -> tuple[str, ...]:
    """Return a folded word as it is spoken, a contraction written out."""
    if "'" not in word:
        return ("can", "not") if word == "cannot" else (word,)
    if _NEGATED.match(word):
        stem = word.removesuffix("n't")
        return _STEMS.get(stem, stem), "not"
    for ending, spoken in _ENDINGS.items():
        if word.endswith(ending):
            return word.removesuffix(ending), spoken
    if word.endswith("'s"):
        stem = word.removesuffix("'s")
        return (stem, "is") if stem in _IS else (stem,)
    return tuple(part for part in word.split("'") if part)


@dataclass(frozen=True, slots=True)
class Familiarity:
    """Says what a text's words and pairs are worth, one number a word, in bits."""

    bits: npt.NDArray[np.float64]
    """Shape (words,): the pair a word ends; NaN for the first of a phrase."""
    offsets: npt.NDArray[np.intp]
    """Offset of every word in the text."""
    unknown: int
    """How many words are in no word list."""

    @property
    def mean(self) -> float:
        """Return the average over all pairs; NaN without any."""
        pairs = self.bits[~np.isnan(self.bits)]
        return float(pairs.mean()) if pairs.size else math.nan


def familiarity(folded: str) -> Familiarity:
    """Look up every word and pair of a folded text."""
    known = frequencies()
    bits: list[float] = []
    offsets: list[int] = []
    pairs: list[str] = []
    places: list[int] = []
    chance: list[float] = []
    open_pairs: list[bool] = []
    unknown = 0
    for phrase in words_by_phrase(folded):
        before, share_before = "", 0.0
        for word, offset in phrase:
            share = known.get(word, 0.0)
            offsets.append(offset)
            if share < KNOWN and len(word) > 1:
                unknown += 1
                bits.append(UNKNOWN_BITS)
                before, share_before = "", 0.0
                continue
            share = max(share, KNOWN)
            bits.append(math.nan)
            if before:
                pairs.append(f"{before} {word}")
                places.append(len(bits) - 1)
                chance.append(math.log2(share_before * share))
                open_pairs.append(before in _FIELD or word in _FIELD)
            before, share_before = word, share
    result = np.array(bits, dtype=np.float64)
    if pairs:
        result[places] = _values(pairs, np.array(chance), np.array(open_pairs))
    return Familiarity(result, np.array(offsets, dtype=np.intp), unknown)


def _values(pairs: list[str], chance: npt.NDArray[np.float64], field: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    keys, logs = _table()
    sums = np.array([zlib.crc32(pair.encode("utf-8", "replace")) for pair in pairs], dtype=np.uint32)
    at = np.minimum(np.searchsorted(keys, sums), len(keys) - 1)
    listed = keys[at] == sums
    unlisted = np.where(field, FIELD_BITS, np.minimum(0.0, RAREST_LISTED - chance))
    values: npt.NDArray[np.float64] = np.clip(np.where(listed, logs[at] - chance, unlisted), LEAST_BITS, MOST_BITS)
    return values
