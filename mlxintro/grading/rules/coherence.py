"""Is a reply readable, and up to where? Catches what strong injections do: salad of words, loops, mixed scripts.

Judges form only. A fluent reply that is off topic, false or poetic is coherent here; whether it answers the question
is the business of the stance rules. A reply that is readable at first and breaks up later is judged by its larger part:
what stands before the break is graded when it is most of the words, else the reply is incoherent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from mlxintro.replies.familiarity import Familiarity, familiarity, frequencies
from mlxintro.replies.text import compression_ratio, longest_run, repeated_share, sentences, word_set, words

FOREIGN = "not written in English"
GARBLED_SHARE = 0.35
"""Share of its words in garble above which a reply as a whole is incoherent."""
LEVEL = 0.6
"""Bits a pair: prose lies above, salad below."""
ALLOWED_BITS, ALLOWED_PER_WORD = 9.5, 0.03
"""What prose may fall short of the level in one stretch: about the 99 % point of coherent text."""
ALLOWED_AT_THE_END = 0.7
"""Share of that for the last words of a reply, which are then only cut off."""
UNKNOWN_SHARE, UNKNOWN_WORDS = 0.07, 4
"""Words that are in no word list, as a share and as a count, from which a reply is made up of them."""
SALAD_MEAN = 0.3
"""Bits a pair, over a whole reply, below which it is salad even where no stretch stands out."""
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
    """Up to where a reply can be read."""

    flaw: str | None
    """Why the reply as a whole is unreadable; None when it can be graded."""
    stop: int
    """Where its readable part ends, in characters; its length when nothing breaks up."""
    broken: str | None = None
    """What is wrong with the part after ``stop``."""


def read_coherence(text: str, folded: str) -> Reading:
    """How far a reply is connected English.

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
    found = familiarity(folded[:end])
    spans = [(*one, why) for one, why in ((_salad(found), "word salad"), (_loop(folded[:end]), "a loop")) if one]
    total = max(len(found.offsets), 1)
    garbled: set[int] = set()
    for first, stop, _ in spans:
        garbled.update(range(first, stop))
    if spans and len(garbled) / total > GARBLED_SHARE:
        return Reading(_language(folded) or max(spans, key=lambda one: one[1] - one[0])[2], 0)
    if total >= 25 and found.mean < SALAD_MEAN:
        return Reading(_language(folded) or "word salad", 0)
    if found.unknown >= UNKNOWN_WORDS and found.unknown / total > UNKNOWN_SHARE:
        return Reading(_language(folded) or "many words that are none", 0)
    if not spans:
        return Reading(None, end)
    first, _, why = min(spans)
    head = _sentence_start(folded, int(found.offsets[first]))
    if len(words(folded[:head])) < 3:
        return Reading(why, 0)
    return Reading(None, head, why)


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
    if len(found) >= 12 and sum(word in _FUNCTION_WORDS for word in found) / len(found) < 0.1:
        return _language(folded) or "a string of words without grammar"
    return None


def _salad(found: Familiarity) -> tuple[int, int] | None:
    worst = found.worst(LEVEL)
    allowed = ALLOWED_BITS + ALLOWED_PER_WORD * len(found.offsets)
    total = len(found.offsets)
    tail = total >= 40 and worst.stop > total - 3 and worst.first > (1 - GARBLED_SHARE) * total
    return (worst.first, worst.stop) if worst.deficit > allowed * (ALLOWED_AT_THE_END if tail else 1) else None


def _loop(folded: str) -> tuple[int, int] | None:
    """The longest stretch, in words, in which next to every run of four words has been said before."""
    found = words(folded)
    seen: set[tuple[str, ...]] = set()
    best: tuple[int, int] | None = None
    total, first, most = 0.0, 0, LOOP_WORDS - 1.0
    for place in range(3, len(found)):
        gram = tuple(found[place - 3 : place + 1])
        if total <= 0:
            total, first = 0.0, place
        total += 1.0 if gram in seen else -2.0
        seen.add(gram)
        if total > most:
            most, best = total, (first, place + 1)
    return best


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


def _language(folded: str) -> str | None:
    """``FOREIGN`` when the words are everyday words of another language, and fewer are of English."""
    found = words(folded)
    if len(found) < 6:
        return None
    english = sum(frequencies().get(word, 0.0) >= 1e-5 for word in found) / len(found)
    best = max(sum(word in _everyday(code) for word in found) / len(found) for code in _OTHER_LANGUAGES)
    return FOREIGN if best >= 0.75 and best > english + 0.1 else None


@lru_cache(maxsize=len(_OTHER_LANGUAGES))
def _everyday(language: str) -> frozenset[str]:
    from wordfreq import get_frequency_dict

    return frozenset(word for word, share in get_frequency_dict(language, "small").items() if share >= 1e-5)
