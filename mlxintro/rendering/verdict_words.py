"""A grade in a word or two, the same everywhere."""

from __future__ import annotations

from mlxintro.analysis.trial_classes import GradeFields, graded_class


def in_words(grade: GradeFields | None) -> str:
    """Return the class of a reply, as tables show it, whether or not anything was injected."""
    return graded_class(grade).label
