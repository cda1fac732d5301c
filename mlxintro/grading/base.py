"""What a grade is, and what may hand one out.

A grader sees the text of a reply and, for the identification question, the name of the concept. It is never told
whether anything was injected, at which layer or how strongly. Every field is three-valued: ``None`` means "not
decided", and no caller may read it as "no".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Protocol, runtime_checkable

from mlxintro.replies.grade_terms import GradeState, NamingLevel

Span = tuple[int, int]
"""Half-open character range ``(start, stop)`` in the reply as it was handed in."""


def all_of(*facts: bool | None) -> bool | None:
    """Return the three-valued "and": one False settles it, otherwise one None leaves it open."""
    if any(fact is False for fact in facts):
        return False
    return None if any(fact is None for fact in facts) else True


@dataclass(frozen=True, slots=True)
class Evidence:
    """Says where in the reply the decisive words stand, for a viewer to highlight."""

    affirmation: Span | None = None
    "The phrase that claims a detection."
    mention: Span | None = None
    "The first naming of the concept (or of a related word)."
    denial: Span | None = None
    "The phrase that denies a detection, disclaims having thoughts, or refuses."
    garble: Span | None = None
    "Offset where a reply that begins readably breaks up; what stands there is not graded."

    def moved(self, at: Sequence[int]) -> Evidence:
        """Return the same places in another form of the reply.

        Args:
            at: where each character, and the end, of the reply that was read stands in the other form.
        """
        spans = {one.name: getattr(self, one.name) for one in fields(self)}
        return Evidence(**{name: None if span is None else (at[span[0]], at[span[1]]) for name, span in spans.items()})


@dataclass(frozen=True, slots=True)
class Grade:
    """Says what one reply says, field by field."""

    affirms: bool | None
    "Claims to notice an injected or unusual thought. A denial, a refusal and a change of subject are all False."
    identifies: bool | None
    "Names the concept or a close relative, whether or not it affirms. None when no concept was given."
    named_before_affirming: bool | None
    "The concept stands before the sentence that first affirms. None without a concept or without an affirmation."
    coherent: bool | None
    "Readable English that is not degenerate. It says nothing about whether the content is true."
    refuses: bool | None
    "Declines to take part. Saying that there is nothing to detect is an answer, not a refusal."
    state: GradeState = GradeState.SCORED
    "Whether the grader decided, could not tell, or failed."
    reason: str = ""
    "Why, in one short sentence."
    naming: NamingLevel | None = None
    "How close the word is that names the concept; None where nothing names it or the grader does not say."
    evidence: Evidence = field(default_factory=Evidence)

    @property
    def abstained(self) -> bool:
        """Tell whether the grader read the reply and cannot decide."""
        return self.state is GradeState.ABSTAINED

    @property
    def detects(self) -> bool | None:
        """Tell whether a readable reply claims a detection: what detection and false-alarm rates count."""
        return all_of(self.coherent, self.affirms, None if self.refuses is None else not self.refuses)

    @property
    def success(self) -> bool | None:
        """Tell whether it detects, and names the concept no earlier than it claims to (the paper's strict criterion).

        None when the grader did not decide, and on control trials that affirm (there is no concept to name).
        """
        if self.state is not GradeState.SCORED:
            return None
        if self.detects is not True:
            return self.detects
        in_time = None if self.named_before_affirming is None else not self.named_before_affirming
        return all_of(self.identifies, in_time)


@runtime_checkable
class Grader(Protocol):
    """Turns a reply into a ``Grade``: rules, a local model, a remote one, a person."""

    @property
    def name(self) -> str:
        """Return a name that is short, stable and fit for a command line: ``rules``."""
        ...

    @property
    def version(self) -> str:
        """Return what changes whenever rubric or rules do, so that old and new grades are never mixed up."""
        ...

    def grade(self, reply: str, concept: str | None, related: Sequence[str] = ()) -> Grade:
        """Grade one reply.

        Args:
            reply: The generated text, without the prompt.
            concept: What would count as a correct identification; None on control trials.
            related: Near names that count as well, from the concept library.
        """
        ...
