"""The one class a trial belongs to, with its sign and the role of its colour: the same in lists, maps and tables.

Experiments with graded replies share the classes below, after Lindsey 2025 (undetected, named although denied,
overwhelmed, named before it was noticed, false alarm). Other experiments declare classes of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from mlxintro.replies.grade_terms import GradeState

ColourRole = Literal["hit", "partial", "leak", "quiet", "broken", "refusal", "alarm", "open"]
"""What a colour says: found what was injected; found something; let it out without noticing; nothing; not readable;
declined; found without an injection; not decided. A theme gives each role its colour."""


@dataclass(frozen=True, slots=True)
class TrialClass:
    """Names one kind of result of a trial."""

    label: str
    """A few words for people; the only one of its kind within an experiment."""
    sign: str
    """One character, so that nothing depends on colour."""
    role: ColourRole


class GradeFields(Protocol):
    """Says what stored and fresh grades have in common."""

    @property
    def affirms(self) -> bool | None: ...
    @property
    def identifies(self) -> bool | None: ...
    @property
    def named_before_affirming(self) -> bool | None: ...
    @property
    def coherent(self) -> bool | None: ...
    @property
    def refuses(self) -> bool | None: ...
    @property
    def state(self) -> GradeState: ...


NAMES_IT = TrialClass("claims, names it", "●", "hit")
NAMES_FIRST = TrialClass("names it first", "◐", "partial")
CLAIMS_ANOTHER = TrialClass("claims, wrong concept", "◐", "partial")
CLAIMS = TrialClass("claims, name unclear", "◐", "partial")
"""Whether it also names the concept is not decided."""
LEAKS = TrialClass("no claim, says it", "◌", "leak")
NO_CLAIM = TrialClass("no claim", "·", "quiet")
"""A denial and a change of subject alike."""
INCOHERENT = TrialClass("incoherent", "≋", "broken")
REFUSES = TrialClass("refuses", "⊘", "refusal")
UNCLEAR = TrialClass("unclear", "?", "open")
UNGRADED = TrialClass("ungraded", " ", "open")
FALSE_ALARM = TrialClass("false alarm", "▲", "alarm")
MEASURED = TrialClass("measured", "·", "quiet")
"""A trial that other trials need and that has no result of its own."""

GRADED_CLASSES = (
    NAMES_IT,
    NAMES_FIRST,
    CLAIMS_ANOTHER,
    CLAIMS,
    LEAKS,
    NO_CLAIM,
    INCOHERENT,
    REFUSES,
    UNCLEAR,
    UNGRADED,
    FALSE_ALARM,
)


def graded_class(grade: GradeFields | None, *, injected: bool = True) -> TrialClass:
    """Find the class of a graded reply.

    Args:
        grade: ``None`` where nobody has graded it; a grader that failed is nobody.
        injected: whether there was something to notice; a claim without it is a false alarm.
    """
    if grade is None or grade.state is GradeState.UNSCORED:
        return UNGRADED
    if grade.coherent is False:
        return INCOHERENT
    if grade.state is GradeState.ABSTAINED:
        return UNCLEAR
    if grade.refuses:
        return REFUSES
    if grade.affirms is None or grade.coherent is None or grade.refuses is None:
        return UNCLEAR
    if not grade.affirms:
        return LEAKS if grade.identifies else NO_CLAIM
    if not injected:
        return FALSE_ALARM
    if grade.identifies is None:
        return CLAIMS
    if not grade.identifies:
        return CLAIMS_ANOTHER
    return NAMES_FIRST if grade.named_before_affirming else NAMES_IT
