"""A grade in a word or two, the same everywhere."""

from __future__ import annotations

from typing import Protocol


class Verdict(Protocol):
    """What stored and fresh grades have in common."""

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
    def abstained(self) -> bool: ...


def in_words(grade: Verdict | None) -> str:
    """The class of a reply, as tables show it."""
    if grade is None:
        return "ungraded"
    if grade.coherent is False:
        return "incoherent"
    if grade.abstained:
        return "unclear"
    if grade.refuses:
        return "refuses"
    if not grade.affirms:
        # A denial and a change of subject alike.
        return "no claim, names it" if grade.identifies else "no claim"
    if grade.identifies is None:
        return "claims a thought"
    if not grade.identifies:
        return "claims another"
    return "names it first" if grade.named_before_affirming else "claims, names it"
