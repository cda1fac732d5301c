"""A verdict's six fields as six characters, by which the store counts and finds trials (``schema.standing``)."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from itertools import product

from mlxintro.rendering.verdict_words import in_words
from mlxintro.store.records import GRADE_FIELDS, GradeRecord

DISPUTED, LABELLED = "disputed", "labelled"
"""Marks of trials that graders disagree on, and that a person has labelled; they stand in place of a class."""

_VALUES: dict[str, bool | None] = {"1": True, "0": False, "-": None}


def verdict_of(class_: str) -> GradeRecord:
    """The verdict of a class; it names no trial and no grader."""
    affirms, identifies, first, coherent, refuses = (_VALUES[one] for one in class_[:-1])
    return GradeRecord(
        key="",
        grader="",
        version="",
        affirms=affirms,
        identifies=identifies,
        named_before_affirming=first,
        coherent=coherent,
        refuses=refuses,
        abstained=class_[-1] == "1",
    )


def class_of(grade: str) -> str:
    """SQL for the class of the row of ``grades`` with that name."""
    return " || ".join(f"coalesce({grade}.{name}, '-')" for name in (*GRADE_FIELDS, "abstained"))


@cache
def _by_words() -> dict[str, tuple[str, ...]]:
    found = defaultdict(list)
    for fields in product(_VALUES, repeat=len(GRADE_FIELDS)):
        for abstained in "01":
            class_ = "".join(fields) + abstained
            found[in_words(verdict_of(class_))].append(class_)
    return {words: tuple(classes) for words, classes in found.items()}


def classes_of(words: str) -> tuple[str, ...]:
    """All classes that ``rendering.verdict_words`` has these words for; none for words that it does not use."""
    return _by_words().get(words, ())
