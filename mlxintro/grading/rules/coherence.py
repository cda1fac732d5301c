"""Is a reply readable at all? Catches what strong injections do to text: loops, salad of words, mixed scripts.

Judges form only. A fluent reply that is off topic, false or poetic is coherent here; whether it answers the question
is the business of the stance rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

from mlxintro.replies.text import compression_ratio, longest_run, repeated_share, word_set, words

# Function words make up 40-65 % of replies; strings of content words have almost none.
_FUNCTION_WORDS = word_set(
    "a about all also an and any are as at be because been but by can could did do does don't for from had has have he "
    "her here his how i i'm if in into is it it's its just like may me more my no not of on one only or our out she so "
    "some than that that's the their them then there there's these they this to up was we were what when which who "
    "will with would yes you your"
)
_DETERMINERS = word_set("a an the my your our their")
# Words that cannot follow a determiner in a sentence. Token salad made of common words does it all the time.
_AFTER_NO_DETERMINER = word_set(
    "a about an and are at be because by did do does for from had has have if in is it my of or our that the their "
    "them there these this to was were when which with you your"
)
# Function words of languages written in Latin letters that are not English words: the sign of a reply in that language.
_FOREIGN_WORDS = word_set(
    "el los las una que por para como del je ne pas les des est une vous dans avec nicht ich der das und ein eine ist "
    "mit kein keine nein oui sí nao não um uma os com il di che sono gli het een niet ik"
)

_LETTERS = re.compile(r"[^\W\d_]")
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")
_CHARACTER_RUN = re.compile(r"([^\W_])\1{7,}|([^\w\s])\2{19,}|(_)\3{39,}")
_FENCE = re.compile(r"[-=_*~#.]{4,}")
_JUNK_WORD = re.compile(r"\b(?:[a-z]+[A-Z][A-Za-z]*|[^\W\d_]{21,}|[b-df-hj-np-tv-xzB-DF-HJ-NP-TV-XZ]{5,})\b")

FOREIGN = "not written in English"


def incoherence(text: str, folded: str) -> str | None:
    """Why the text cannot be read as English prose, or None when it can.

    Args:
        text: The reply, trimmed, in its original case.
        folded: The same text after ``fold``.

    Returns:
        A short reason; ``FOREIGN`` when it looks like fluent text in another language, which these rules cannot judge.
    """
    if not text.strip():
        return "empty"
    letters = len(_LETTERS.findall(text))
    latin = len(_LATIN.findall(text))
    found = words(folded)
    checks: tuple[Callable[[], str | None], ...] = (
        lambda: _characters(text, letters),
        lambda: _scripts(letters, latin),
        lambda: _loops(folded, found),
        lambda: _salad(text, found),
    )
    return next((reason for check in checks if (reason := check())), None)


def _characters(text: str, letters: int) -> str | None:
    # Eight equal letters in a row occur in no word and in few cries; twenty equal marks are more than any ruled line
    # that chat models draw, which are allowed for below.
    plain = _FENCE.sub(" ", text)
    if _CHARACTER_RUN.search(plain):
        return "one character repeated over and over"
    visible = sum(not char.isspace() for char in plain)
    if letters == 0 and not re.search(r"\d", text):
        return "no words"
    # Markdown lists and code-like answers stay above 0.7 letters per visible character; salad of symbols is below 0.5.
    if visible >= 12 and letters / visible < 0.5:
        return "mostly symbols"
    return None


def _scripts(letters: int, latin: int) -> str | None:
    if letters == 0:
        return None
    share = 1 - latin / letters
    # A quoted foreign word or a name stays below 15 % of the letters. Above 85 % the reply is in another language.
    if share > 0.85:
        return FOREIGN
    return "mixed scripts" if share > 0.15 else None


def _loops(folded: str, found: list[str]) -> str | None:
    if longest_run(found) >= 4:  # "no no no" is emphasis, four in a row is not
        return "one word repeated over and over"
    # Stutter: a word said twice at once happens to fluent writers now and then, not in every tenth pair.
    twice = sum(a == b for a, b in pairwise(found))
    if twice >= 3 and twice / len(found) > 0.1:
        return "words stuttered"
    # Replies of 70 words have 65 % different ones in the median; shorter ones have more.
    if len(found) >= 10 and len(set(found)) / len(found) < (0.25 if len(found) < 15 else 0.33):
        return "a handful of words repeated"
    # Replies of 70 words repeat 4 % of their trigrams in the median; nine denials strung together repeat 35-40 %.
    if len(found) >= 15 and repeated_share(found, 3) > 0.4:
        return "phrases repeated over and over"
    # At 400 characters prose compresses to 0.54 in the median and 0.33 at the least, a looping sentence to 0.14-0.20.
    if len(folded) >= 250 and compression_ratio(folded) < 0.3:
        return "text repeated over and over"
    return None


def _salad(text: str, found: list[str]) -> str | None:
    if len(found) < 12:
        return None
    if sum(word in _FUNCTION_WORDS for word in found) / len(found) < 0.1:
        foreign = sum(word in _FOREIGN_WORDS for word in found) / len(found)
        return FOREIGN if foreign >= 0.15 else "a string of words without grammar"
    clashes = sum(a in _DETERMINERS and b in _AFTER_NO_DETERMINER for a, b in pairwise(found))
    # One slip happens to fluent writers; a quarter as many clashes as sentences would hold articles does not.
    if clashes >= 3 and clashes / len(found) > 0.05:
        return "function words in an impossible order"
    junk = len(_JUNK_WORD.findall(text))
    # A product name or two ("PyTorch") is no garble; glued and unpronounceable words come in numbers.
    if junk >= 3 and junk / len(found) > 0.08:
        return "many non-words"
    return None
