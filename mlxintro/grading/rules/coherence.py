"""Is a reply readable, and up to where? Catches what strong injections do: salad of words, loops, mixed scripts.

Judges form only. A fluent reply that is off topic, false or poetic is coherent here; whether it answers the question
is the business of the stance rules. A reply that is readable at first and breaks up later is judged by its larger part:
what stands before the break is graded when it is most of the words, else the reply is incoherent.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from mlxintro.replies.connectedness import Connectedness, Stretch, connectedness
from mlxintro.replies.familiarity import frequencies
from mlxintro.replies.text import (
    compression_ratio,
    longest_run,
    repeated_share,
    sentences,
    word_set,
    word_starts,
    words,
)

FOREIGN = "not written in English"
GARBLED_SHARE = 0.35
"""Share of its words in garble above which a reply as a whole is incoherent."""
ALLOWED_BITS = 3.1
"""What connected text may fall short of the level in one stretch, times the root of its length in tokens and ten."""
BROKEN_LEVEL, RUINED_LEVEL = 0.0, -0.5
"""Bits a token below which a stretch is part of the garble, and below which it can be nothing else."""
STRING_LEVEL = -0.5
"""Bits a token, on average, below which words without function words are a mere string."""
UNKNOWN_SHARE, UNKNOWN_WORDS = 0.06, 3
"""Words in lower case that are in no word list, as a share and as a count, from which a reply is made up of them."""
LOOP_WORDS = 24
"""Words of nothing new in a row."""

_FUNCTION_WORDS = word_set(
    "a about all also an and any are as at be because been but by can could did do does don't for from had has have he "
    "her here his how i i'm if in into is it it's its just like may me more my no not of on one only or our out she so "
    "some than that that's the their them then there there's these they this to up was we were what when which who "
    "will with would yes you your"
)
_LETTERS = re.compile(r"[^\W\d_]")
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")
_CHARACTER_RUN = re.compile(r"([^\W_])\1{7,}|([^\w\s])\2{19,}|(_)\3{39,}")
_FENCE = re.compile(r"[-=_*~#.]{4,}")
# Zeros, rules and blanks behind an answer are where sampling ran on; they say nothing. A run is looked at from where it
# begins only: from each of its characters would take the square of its length.
_EMPTY_TAIL = re.compile(r"(?<![\s0_\-=.*#~|])[\s0_\-=.*#~|]{12,}+\Z")


@dataclass(frozen=True, slots=True)
class Reading:
    """Says up to where a reply can be read."""

    flaw: str | None
    """Why the reply as a whole is unreadable; None when it can be graded."""
    stop: int
    """Offset in characters where its readable part ends; its length when nothing breaks up."""
    broken: str | None = None
    """Kind of fault of the part after ``stop``."""


def read_coherence(text: str, folded: str) -> Reading:
    """Return how far a reply is connected English.

    Args:
        text: The reply, trimmed, in its original case.
        folded: The same text after ``fold``.

    Returns:
        ``flaw`` is ``FOREIGN`` for fluent text in another language, which these rules cannot judge.
    """
    tail = _EMPTY_TAIL.search(text)
    end = tail.start() if tail and _LETTERS.search(text[: tail.start()]) else len(text)
    reason = _whole(text[:end], folded[:end])
    if reason:
        return Reading(reason, 0)
    if _is_another_language(folded[:end]):
        return Reading(FOREIGN, 0)
    found = connectedness(text[:end], folded[:end])
    if _is_string_of_words(found, words(folded[:end])):
        return Reading(_language(folded) or "a string of words without grammar", 0)
    spans = [one for one in (_salad(found), _loop(folded[:end], found)) if one]
    garbled: set[int] = set()
    for span in spans:
        garbled.update(range(span.first, span.stop))
    total = max(len(found.starts), 1)
    if spans and len(garbled) / total > GARBLED_SHARE:
        return Reading(_language(folded) or max(spans, key=lambda one: one.stop - one.first).why, 0)
    spoken = int(found.spoken.sum())
    if found.unknown >= UNKNOWN_WORDS and found.unknown / spoken > UNKNOWN_SHARE:
        return Reading(_language(folded) or "many words that are none", 0)
    if not spans:
        return Reading(None, end)
    first = min(spans, key=lambda one: one.cut)
    # A full stop that opens the stretch still belongs to the sentence before it.
    word = first.cut + int(np.argmax(found.spoken[first.cut :]))
    head = _sentence_start(folded, int(found.starts[word]))
    if len(words(folded[:head])) < 3:
        return Reading(first.why, 0)
    return Reading(None, head, first.why)


def _is_string_of_words(found: Connectedness, spoken: list[str]) -> bool:
    """Whether a text has hardly any of the words that hold others together; headlines have few, but stand in order."""
    if len(spoken) < 12 or sum(word in _FUNCTION_WORDS for word in spoken) / len(spoken) >= 0.1:
        return False
    return float(found.bits.mean()) < STRING_LEVEL


@dataclass(frozen=True, slots=True)
class _Garble:
    """Marks a stretch of tokens that cannot be read."""

    first: int
    stop: int
    why: str
    cut: int
    """Offset where the text is cut, when what stands before is graded: where the garble is beyond doubt."""


def _whole(text: str, folded: str) -> str | None:
    """What makes a reply as a whole unreadable, whatever its words are."""
    if not text.strip():
        return "empty"
    letters = len(_LETTERS.findall(text))
    # Eight equal letters in a row occur in no word and in few cries; twenty equal marks are more than any ruled line
    # that chat models draw, which are allowed for below.
    plain = _FENCE.sub(" ", text)
    if _CHARACTER_RUN.search(plain):
        return "one character repeated over and over"
    if letters == 0 and not re.search(r"\d", text):
        return "no words"
    visible = sum(not char.isspace() for char in plain)
    # Markdown lists and code-like answers stay above 0.7 letters per visible character; salad of symbols is below 0.5.
    if visible >= 12 and letters / visible < 0.5:
        return "mostly symbols"
    if letters:
        # A quoted foreign word or a name stays below 15 % of the letters. Above 85 % it is another language.
        share = 1 - len(_LATIN.findall(text)) / letters
        if share > 0.85:
            return FOREIGN
        if share > 0.15:
            return "mixed scripts"
    return _repetition(folded, words(folded))


def _repetition(folded: str, found: list[str]) -> str | None:
    if longest_run(found) >= 4:  # "no no no" is emphasis, four in a row is not
        return "one word repeated over and over"
    # Stutter: a word said twice at once happens to fluent writers now and then, not in every tenth pair.
    twice = sum(a == b for a, b in pairwise(found))
    if twice >= 3 and twice / len(found) > 0.1:
        return "words stuttered"
    # Replies of 70 words have 65 % different ones in the median; shorter ones have more.
    least = 0.25 if len(found) < 15 or len(found) > 120 else 0.33
    if len(found) >= 10 and len(set(found)) / len(found) < least:
        return "a handful of words repeated"
    # Replies of 70 words repeat 4 % of their trigrams in the median; nine denials strung together repeat 35-40 %.
    if len(found) >= 15 and repeated_share(found, 3) > 0.4:
        return "phrases repeated over and over"
    # At 400 characters prose compresses to 0.54 in the median and 0.33 at the least, a looping sentence to 0.14-0.20.
    if 250 <= len(folded) <= 2000 and compression_ratio(folded) < 0.3:
        return "text repeated over and over"
    return None


def _salad(found: Connectedness) -> _Garble | None:
    """Where a text is salad: all of it, or the stretch without which the rest is connected."""
    if not _falls_short(found.worst()):
        return None
    core = found.worst(BROKEN_LEVEL)
    rest = found.without(core.first, core.stop)
    if core.stop > core.first and not _falls_short(rest.worst()):
        ruined = found.worst(RUINED_LEVEL)
        inside = core.first <= ruined.first < core.stop
        return _Garble(core.first, core.stop, "word salad", ruined.first if inside else core.first)
    return _Garble(0, len(found.starts), "word salad", 0)


def _falls_short(worst: Stretch) -> bool:
    return worst.deficit > ALLOWED_BITS * math.sqrt(worst.total + 10)


def _loop(folded: str, found: Connectedness) -> _Garble | None:
    """The longest stretch in which next to every run of four words has been said before."""
    spoken = words(folded)
    seen: set[tuple[str, ...]] = set()
    best: tuple[int, int] | None = None
    total, first, most = 0.0, 0, LOOP_WORDS - 1.0
    for place in range(3, len(spoken)):
        gram = tuple(spoken[place - 3 : place + 1])
        if total <= 0:
            total, first = 0.0, place
        total += 1.0 if gram in seen else -2.0
        seen.add(gram)
        if total > most:
            most, best = total, (first, place + 1)
    if best is None:
        return None
    # Contractions count as one word here and as two there, so the places are found by their offsets.
    offsets = word_starts(folded)
    first, last = np.searchsorted(found.starts, [offsets[best[0]], offsets[best[1] - 1]]).tolist()
    return _Garble(first, last + 1, "a loop", first)


def _sentence_start(folded: str, offset: int) -> int:
    starts = [piece.start for piece in sentences(folded[: offset + 1])]
    return starts[-1] if starts else 0


_OTHER_LANGUAGES = (
    "es",
    "fr",
    "de",
    "it",
    "pt",
    "nl",
    "pl",
    "sv",
    "da",
    "nb",
    "fi",
    "cs",
    "hu",
    "ro",
    "id",
    "tr",
    "vi",
)


def _is_another_language(folded: str) -> bool:
    """Tell whether a reply, be it of four words, is made of everyday words of one other language and few of English.

    Judged before anything else, since the tables of English words take other languages for salad.
    """
    found = words(folded)
    if len(found) < 4:
        return False
    english = _share_of_english(found)
    return english <= 0.35 and _share_of_another(found) >= max(0.5, english + 0.3)


def _share_of_english(found: list[str]) -> float:
    return sum(frequencies().get(word, 0.0) >= 1e-5 for word in found) / len(found)


def _share_of_another(found: list[str]) -> float:
    return max(sum(word in _everyday(code) for word in found) / len(found) for code in _OTHER_LANGUAGES)


def _language(folded: str) -> str | None:
    """``FOREIGN`` when the words are everyday words of another language, and fewer are of English."""
    found = words(folded)
    if len(found) < 6:
        return None
    best = _share_of_another(found)
    return FOREIGN if best >= 0.75 and best > _share_of_english(found) + 0.1 else None


@lru_cache(maxsize=len(_OTHER_LANGUAGES))
def _everyday(language: str) -> frozenset[str]:
    from wordfreq import get_frequency_dict

    return frozenset(word for word, share in get_frequency_dict(language, "small").items() if share >= 1e-5)
