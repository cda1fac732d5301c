"""Reading replies: what was claimed, what was named, and whether the text can be trusted to mean anything.

Graders are imported from their own modules: whoever only counts verdicts need not wait for the rules' patterns.
"""

from mlxintro.grading.base import Evidence, Grade, Grader, Span

__all__ = ["Evidence", "Grade", "Grader", "Span"]
