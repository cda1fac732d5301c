"""Tell whether a sentence that speaks of noticing something reports it, of the writer and now.

Free replies are full of sentences with all the words of a claim that claim nothing: conditions, assumptions, examples,
promises and purposes (``patterns/suppositions.py``), lectures and remarks about people or models
(``patterns/lectures.py``), and remarks about the prompt's text (``patterns/prompt_text.py``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mlxintro.grading.base import Span
from mlxintro.grading.rules.frames import takes_back
from mlxintro.grading.rules.patterns import lectures, prompt_text, suppositions
from mlxintro.replies.text import Piece


@dataclass(frozen=True, slots=True)
class Around:
    """Says what stands next to a sentence, folded."""

    previous: str
    """The sentence before it; empty at the beginning."""
    following: Sequence[str]
    """The next two."""


def speaks_in_general(sentence: str) -> bool:
    """Tell whether a sentence supposes, explains or gives examples rather than telling of the writer's thinking."""
    return bool(
        suppositions.SUPPOSED.search(sentence)
        or lectures.GENERAL.search(sentence)
        or lectures.ITEM_LIST.search(sentence)
    )


def is_no_naming(sentence: str, before: str) -> bool:
    """Tell whether what a sentence names is only supposed, listed or explained.

    Args:
        sentence: the whole sentence.
        before: what stands in it before the name. A guess ("if I had to guess, the ocean") names it all the same.
    """
    if suppositions.GUESS.search(before):
        return False
    about_thoughts = re.search(r"\b(?:inject|detect|thoughts?\b)", sentence) is not None
    return bool(
        suppositions.THOUGHT_UP.search(before)
        or lectures.ITEM_LIST.search(sentence)
        or (about_thoughts and lectures.GENERAL.search(sentence))
    )


def asserts(sentence: Piece, span: Span, around: Around, *, lecture: bool) -> bool:
    """Tell whether a claim found at a span is made of the writer and now.

    Args:
        sentence: Folded, with its place in the reply.
        span: Where the claim stands in the reply, inside the sentence.
        around: The sentences before and behind it.
        lecture: Whether the reply is laid out under headings or as a list of points.
    """
    text, previous, following = sentence.text, around.previous, around.following
    begin, end = span[0] - sentence.start, span[1] - sentence.start
    before, claim, after = text[:begin], text[begin:end], text[end:]
    myself = bool(lectures.MYSELF.search(text))
    if suppositions.COUNTERFACTUAL.search(text) and suppositions.WOULD_BE.search(text):
        return False
    if (
        suppositions.HABITUAL.search(text[begin:])
        or lectures.SAID_BY_OTHERS.search(before)
        or (not myself and lectures.TITLE.match(text))
    ):
        return False
    if _supposed(before, claim) or _planned(before, claim):
        return False
    if (
        suppositions.ONLY_WHEN.search(claim + after)
        or suppositions.METHOD.match(text)
        or suppositions.NEGATED_FAR.search(before + claim)
    ):
        return False
    if takes_back(before, claim, after) or (lectures.ELSEWHERE.search(text) and not lectures.OF_MIND.search(text)):
        return False
    if lectures.GENERAL.search(before[-60:] + claim + after[:20]) and not _first_person(claim):
        return False
    if not myself and (
        lectures.OTHERS.search(lectures.BY_YOU.sub(" ", before + claim[:25])) or not lectures.PLAIN_FINDING.match(text)
    ):
        return False
    if (
        not myself
        and lectures.OTHERS.search(previous)
        and not lectures.MYSELF.search(previous)
        and not previous.endswith("?")
    ):
        return False
    if (
        lecture
        and not myself
        and (lectures.ITEM.match(text) or lectures.HEADING.match(text) or lectures.LABELLED.match(text))
    ):
        return False
    return not _told_of_text(claim, after, following)


def _first_person(claim: str) -> bool:
    """Tell whether the claim opens with the writer as its subject, and not only with "I want to note that"."""
    return bool(re.match(r"\W*i(?:'m|'ve)?\b(?!.{0,40}\bthat\ \w+ing\b)", claim))


def _supposed(before: str, claim: str) -> bool:
    spoken = before + claim
    for found in suppositions.SUPPOSED.finditer(spoken):
        if found.start() > len(before) + _reach(claim):
            continue
        rest = spoken[found.end() :]
        if (
            suppositions.OF_CIRCUMSTANCE.match(found.group())
            and suppositions.MAIN_CLAUSE.match(rest)
            and not suppositions.WOULD_BE.search(rest)
        ):
            continue
        return True
    return False


def _reach(claim: str) -> int:
    """How far into a claim a supposition still governs it: to just behind its verb ("aware of the possibility")."""
    verb = prompt_text.PERCEIVING.search(claim)
    return verb.end() + 12 if verb else 0


def _planned(before: str, claim: str) -> bool:
    verb = re.sub(r"^\W*i(?:'ve|'m)?\s+", "", claim)
    lead = before + claim[: len(claim) - len(verb)]
    if suppositions.PLANNED.search(lead) and not suppositions.SAYS_IT.search(lead):
        return True
    if re.search(r"\b(?:would|i'd|will|i'll)\ (?:then\ )?(?:tell|report|answer|reply|write)\b", lead):
        return True
    return (
        suppositions.AWARE_OF_CHANCE.search(claim[:70]) is not None
        and re.search(r"\b(?:aware|conscious)\b", claim) is not None
    )


def _told_of_text(claim: str, after: str, following: Sequence[str]) -> bool:
    said = claim + after
    apart = prompt_text.UNRELATED.search(said) is not None
    verb = prompt_text.PERCEIVING.search(said)
    object_of = said[verb.end() :] if verb else ""
    if prompt_text.MISFIT_OF_TEXT.search(said) or (not apart and prompt_text.OF_TEXT.match(object_of)):
        return True
    if prompt_text.PUT_DOWN.search(said) and not apart:
        return True
    return any(prompt_text.PUT_DOWN.search(one) and not prompt_text.UNRELATED.search(one) for one in following[:2])


def is_lecture(folded: str) -> bool:
    """Tell whether a reply is laid out as an explanation: a heading with points, or three labelled points."""
    lines = folded.splitlines()
    headings = sum(bool(re.match(r"\s*#+\s", line)) for line in lines)
    items = sum(bool(lectures.ITEM.match(line)) for line in lines)
    labelled = sum(bool(lectures.LABELLED.match(line)) for line in lines)
    introduced = any(line.rstrip().endswith(":") for line in lines)
    return ((headings >= 1 or introduced) and items >= 2) or labelled >= 3 or items >= 4
