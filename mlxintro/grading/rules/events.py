"""What a sentence of a reply does: it claims, denies, hedges, declines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from mlxintro.grading.base import Span
from mlxintro.replies.text import Piece


class Kind(StrEnum):
    AFFIRM = "affirms"
    YES = "answers yes"
    DENY = "denies"
    NO = "answers no"
    DISCLAIM = "says that it has no thoughts"
    CAVEAT = "qualifies what thoughts mean for it"
    REFUSE = "declines to take part"
    UNCERTAIN = "hedges"
    POLITE = "says yes to something else"
    CAPABLE = "speaks of an ability"
    THING = "detects a thing, not a thought"
    FELT = "describes a state"
    ODD = "calls something odd"
    TALK = "speaks of noticing without reporting it"


@dataclass(frozen=True, slots=True)
class Event:
    kind: Kind
    span: Span
    sentence: Piece


def event_at(kind: Kind, piece: Piece, start: int, stop: int, sentence: Piece) -> Event:
    """Return an event at a span of a piece of the sentence."""
    return Event(kind, (piece.start + start, piece.start + stop), sentence)


def blank(match: re.Match[str]) -> str:
    """Replace a match by blanks, so that positions stay."""
    return " " * len(match.group())


def has_any(text: str, signs: tuple[str, ...]) -> bool:
    """Return a cheap look before an expensive pattern that cannot match without one of these."""
    return any(sign in text for sign in signs)
