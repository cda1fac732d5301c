"""A verdict as seven characters, its class, by which the store counts and finds trials (``schema.grade_states``).

One character per yes-no field (``1``, ``0``, or ``-`` where it is open), one for the state of the grade, and one for
how near the word is that names the concept.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from itertools import product

from mlxintro.rendering.verdict_words import in_words
from mlxintro.replies.grade_terms import NAMING_LEVELS, GradeState, NamingLevel
from mlxintro.store.records import GRADE_FIELDS, GradeRecord

DISPUTED, LABELLED = "disputed", "labelled"
"""Marks of trials that graders disagree on, and that a person has labelled; they stand in place of a class."""

_FIELD_VALUES: dict[str, bool | None] = {"1": True, "0": False, "-": None}
_STATES = {state[0]: state for state in GradeState}
_NAMINGS: dict[str, NamingLevel | None] = {"-": None, **{level[-1]: level for level in NAMING_LEVELS}}
IS_GRADED = f"substr(class, {len(GRADE_FIELDS) + 1}, 1) <> '{GradeState.UNSCORED[0]}'"
"""SQL: the grader of a class did not fail."""


def verdict_of(class_: str) -> GradeRecord:
    """Return the verdict of a class; it names no trial and no grader."""
    *fields, state, naming = tuple(class_)
    affirms, identifies, first, coherent, refuses = (_FIELD_VALUES[field] for field in fields)
    return GradeRecord(
        key="",
        grader="",
        version="",
        affirms=affirms,
        identifies=identifies,
        named_before_affirming=first,
        coherent=coherent,
        refuses=refuses,
        state=_STATES[state],
        naming=_NAMINGS[naming],
    )


def class_of(grade: str) -> str:
    """Return the SQL for the class of the row of ``grades`` with that name."""
    fields = [f"coalesce({grade}.{name}, '-')" for name in GRADE_FIELDS]
    return " || ".join((*fields, f"substr({grade}.state, 1, 1)", f"coalesce(substr({grade}.naming, -1), '-')"))


@cache
def _by_words() -> dict[str, tuple[str, ...]]:
    found = defaultdict(list)
    for characters in product(*[_FIELD_VALUES] * len(GRADE_FIELDS), _STATES, _NAMINGS):
        class_ = "".join(characters)
        found[in_words(verdict_of(class_))].append(class_)
    return {words: tuple(classes) for words, classes in found.items()}


def classes_of(words: str) -> tuple[str, ...]:
    """Return all classes that ``rendering.verdict_words`` has these words for; none for words that it does not use."""
    return _by_words().get(words, ())
