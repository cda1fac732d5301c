"""The words in which a grade speaks of a reply beside its yes-no fields: whether it was graded, how near it names."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, get_args

NamingLevel = Literal["exact", "close", "category"]
"""``exact``: the concept's own word; ``close``: a synonym or unmistakable relative, the paper's criterion;
``category``: something looser that tells a reader what is meant."""
NAMING_LEVELS: tuple[NamingLevel, ...] = get_args(NamingLevel)


class GradeState(StrEnum):
    """Says what became of an attempt to grade a reply."""

    SCORED = "scored"
    """The grader decided what the reply claims, or that it is unreadable."""
    ABSTAINED = "abstained"
    """The grader read the reply and cannot tell what it claims."""
    UNSCORED = "unscored"
    """The grader failed: it was unreachable, or could not read the reply. Such a trial counts as ungraded."""

    @classmethod
    def of(cls, affirms: bool | None, coherent: bool | None) -> GradeState:
        """Tell whether a grader that answered has decided: it has once the reply's claim or its garble is settled."""
        return cls.ABSTAINED if affirms is None and coherent is not False else cls.SCORED
