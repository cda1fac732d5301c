"""Reading replies: what was claimed, what was named, and whether the text can be trusted to mean anything."""

from mlxintro.grading.base import Evidence, Grade, Grader, Span
from mlxintro.grading.rules import RulesGrader

__all__ = ["Evidence", "Grade", "Grader", "RulesGrader", "Span"]
