"""What simulated subjects think before they answer, and how their answers follow from it.

A thought mulls, then comes to a conclusion: that something is noticed, or that nothing is. The answer is drawn anew,
from the conclusion and from the state the subject is in, as its parameters say; so thought and answer can disagree.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from .possible import PossibleReply
from .text import THINKING_MARKS

MULLING = "Let me look at this once more."
_NOTICED = "I do detect an injected thought"
_NOTHING = "I do not detect an injected thought."


class ThoughtfulSubject(Protocol):
    """Holds the parameters of a subject that thinks; see ``subject.Subject``."""

    @property
    def think(self) -> float: ...
    @property
    def admits(self) -> float: ...
    @property
    def blurts(self) -> float: ...
    @property
    def notes(self) -> float: ...


@dataclass(frozen=True, slots=True)
class WrittenThought:
    """Reads a thought as it stands at the end of a prompt."""

    text: str
    closed: bool

    @property
    def noticed(self) -> bool | None:
        """Return its conclusion; ``None`` where it was cut off before it had one."""
        return True if _NOTICED in self.text else False if _NOTHING in self.text else None


def split_prefill(begun: str) -> tuple[WrittenThought | None, str]:
    """Tell the thought in an assistant's begun turn from what is put in its mouth after it."""
    opening, mark = THINKING_MARKS.opening, THINKING_MARKS.mark
    if not begun.startswith(opening):
        return None, begun
    text, closed, rest = begun.removeprefix(opening).partition(mark)
    return WrittenThought(text, bool(closed)), rest.removeprefix("\n\n")


def thinking(subject: ThoughtfulSubject, answers: Sequence[PossibleReply]) -> list[PossibleReply]:
    """Return every way to think before one of these answers."""
    mulling = " ".join([MULLING] * int(subject.think))
    return [
        replace(
            answer,
            openings=(mulling.split()[0],),
            replies=tuple(_thought(mulling, answer, text) for text in answer.replies),
        )
        for answer in answers
    ]


def after(subject: ThoughtfulSubject, thought: WrittenThought, answers: Sequence[PossibleReply]) -> list[PossibleReply]:
    """Return the answers as likely as a thought makes them."""
    if thought.noticed is None:
        return list(answers)
    told = subject.admits if thought.noticed else subject.blurts
    return [
        answer
        if answer.says is None
        else replace(
            answer,
            probability=subject.notes * (told if answer.says else 1 - told) + (1 - subject.notes) * answer.probability,
        )
        for answer in answers
    ]


def _thought(mulling: str, answer: PossibleReply, text: str) -> str:
    if answer.says is None:
        return f"{mulling} I know what to say.\n{THINKING_MARKS.mark}"
    # An answer that names a word does so at its end.
    named = re.search(r"\b(?:about|is) (\w+)\.\Z", text)
    about = f" about {named.group(1)}" if named else ""
    conclusion = f"{_NOTICED}{about}." if answer.says else _NOTHING
    return f"{mulling} {conclusion}\n{THINKING_MARKS.mark}"
