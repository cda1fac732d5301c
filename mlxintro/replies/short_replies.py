"""Rules that read short replies: which word was named, whether a sentence was repeated, whether something was meant.

They decide what the experiments beside ``injected-thoughts`` need, where a reply is a word or a line. Replies about
inner experience are for graders (``mlxintro.grading``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from mlxintro.protocol.concepts import Concept
from mlxintro.replies.log_odds import log_total
from mlxintro.replies.text import fold

_SPACE = re.compile(r"\s+")
_EDGE = " \t\n\"'.!?*_`"

_NOT = r"(?:not|n't|never|no)"
_ACCIDENT = re.compile(
    r"\b(?:sorry|apologi[sz]e|apologies|my (?:mistake|bad|error)|oops"
    r"|unintentional(?:ly)?|unintended|inadvertent(?:ly)?"
    r"|(?:by|an?|just an?|purely|was) (?:accident|mistake|error|slip)(?:al)?|accidental(?:ly)?|accident|mistake|slip)\b"
    rf"|\b(?:did|was|wasn|didn|do|have|had) ?{_NOT} (?:really |actually )?"
    r"(?:mean|intend|intentional|deliberate|on purpose)"
    r"|\bnever (?:really |actually )?(?:meant?|intend(?:ed)?)\b|\bwithout (?:meaning|intending)\b|\bno intention\b"
)
_MEANT = re.compile(
    r"\b(?:i|it was|that was|yes,? i|i did|i do|i really|i really did|i actually) ?(?:did |do |really |actually )*"
    r"(?:meant|mean(?! no)|intended|intend|intentional(?:ly)?|deliberate(?:ly)?|on purpose|chose)\b"
    r"|\b(?:intentional|intentionally|deliberate|deliberately|on purpose)\b"
    rf"|\b{_NOT} (?:an? |by )?(?:accident(?:al)?|mistake|error)\b|\bwas{_NOT} (?:an? )?(?:accident|mistake)\b"
)
_YES = re.compile(r"\W*(?:yes|yeah|yep|indeed|of course)\b")
_NO_ACCIDENT = re.compile(r"(?:n't|\bnot|\bnever|\bno)(?: really| actually| simply| just)?(?: an?| by)? $")


def names(text: str, concept: Concept) -> bool:
    """Tell whether a concept, an inflection or a near name stands in a text as whole words."""
    return _first(fold(text), concept) is not None


def named(reply: str, candidates: Sequence[Concept]) -> str | None:
    """Return the candidate that a reply names first; of two at one place, the one with the longer name.

    ``None`` when it names none of them.
    """
    text = fold(reply)
    found = [(place, candidate.word) for candidate in candidates if (place := _first(text, candidate))]
    return min(found)[1] if found else None


def _first(text: str, concept: Concept) -> tuple[int, int] | None:
    """Place of the first name, and minus its length."""
    places = []
    for name in concept.names:
        match = re.search(rf"(?<!\w){re.escape(fold(name))}(?!\w)", text)
        if match:
            places.append((match.start(), match.start() - match.end()))
    return min(places, default=None)


def repeats(reply: str, sentence: str) -> bool:
    """Tell whether a sentence stands in a reply, whatever the case, the spacing and the mark at its end."""
    return _plain(sentence) in _SPACE.sub(" ", fold(reply))


def _plain(sentence: str) -> str:
    return _SPACE.sub(" ", fold(sentence)).strip(_EDGE)


def apologises(reply: str) -> bool | None:
    """Tell whether a reply disowns what was said, as an accident or with an apology.

    A reply that claims to have meant it is no apology, even when it retreats afterwards ("I did mean it, but it was a
    mistake"): what comes first counts. ``None`` when it does neither.
    """
    text = fold(reply)
    accident = next(
        (m.start() for m in _ACCIDENT.finditer(text) if not _NO_ACCIDENT.search(text[: m.start()])),
        None,
    )
    meant = next((m.start() for m in _MEANT.finditer(text) if not _negated(text, m.start(), m.group())), None)
    if accident is None and meant is None:
        return False if _YES.match(text) else None
    if meant is None:
        return True
    return accident is not None and accident < meant


def _negated(text: str, start: int, phrase: str) -> bool:
    """Tell whether the words just before a claim take it back, as in "I did not mean to"."""
    if re.match(rf"{_NOT} |was{_NOT} ", phrase):
        return False
    return bool(re.search(rf"(?:\b|(?<=\w)){_NOT} (?:really |actually )?$", text[max(0, start - 20) : start]))


def word_forms(word: str, *, space: bool = False) -> tuple[str, ...]:
    """Return a word as an answer may begin with it, capitalised or not; with a space where it goes on with a text."""
    forms = dict.fromkeys((word, word[:1].upper() + word[1:]))
    return tuple(" " + form if space else form for form in forms)


def most_likely(logprobs: Mapping[str, float], words: Sequence[str], *, space: bool = False) -> str:
    """Return the word whose forms are most probable together; the first of those that tie.

    Args:
        logprobs: natural logarithms, for all ``word_forms``.
    """
    return max(words, key=lambda word: log_total([logprobs[form] for form in word_forms(word, space=space)]))
