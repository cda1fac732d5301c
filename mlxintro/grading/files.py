"""Grading replies from elsewhere: one JSON object per line in, one per line out, in order, as they come. No store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from mlxintro.backends.errors import UsageError
from mlxintro.grading.base import Grade, Grader
from mlxintro.protocol.concepts import Library
from mlxintro.protocol.concepts import library as shipped_library
from mlxintro.protocol.plain_data import is_utf16, parse_json
from mlxintro.store.records import GRADE_FIELDS

FileVerdict = Literal["success", "failure"]


@dataclass(frozen=True, slots=True)
class BadLine:
    """Says which line could not be graded, and why."""

    number: int
    """Number of the line, from 1."""
    problem: str


@dataclass(frozen=True, slots=True)
class GradedLine:
    id: Any
    """Id as given, or the line's number where none is."""
    grade: Grade
    concept: str | None

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            **{name: getattr(self.grade, name) for name in GRADE_FIELDS},
            "detects": self.grade.detects,
            "verdict": verdict(self.grade, self.concept),
            "naming": self.grade.naming,
            "state": self.grade.state,
            "reason": self.grade.reason,
        }


def verdict(grade: Grade, concept: str | None) -> FileVerdict | None:
    """Return success for a readable reply that claims a thought and names the concept no earlier than it claims.

    The order is the paper's. Without a concept nothing can be named, so that a claim there (a false alarm if nothing
    was injected) is a failure. None when the grader abstained.
    """
    if grade.abstained or grade.detects is None:
        return None
    if grade.detects and grade.identifies is None and concept is not None:
        return None
    return "success" if grade.success else "failure"


def grade_lines(
    lines: Iterable[bytes], grader: Grader, library: Library | None = None
) -> Iterator[GradedLine | BadLine]:
    """Grade line by line. A line that is not as it should be is reported in its place; empty ones are passed over.

    Args:
        lines: UTF-8, each an object with ``response`` (text), and ``concept`` (text or null) and ``id`` if given.
        grader: learns the reply and the concept, and nothing else that a line may hold.
        library: concepts with their near names; those that ship when ``None``.

    Raises:
        UsageError: the file is UTF-16.
    """
    for number, line in enumerate(lines, 1):
        if number == 1 and is_utf16(line):
            raise UsageError("the file is UTF-16: save it as UTF-8")
        if line.strip():
            yield _grade_line(number, line, grader, library or shipped_library())


def _grade_line(number: int, line: bytes, grader: Grader, library: Library) -> GradedLine | BadLine:
    try:
        row = parse_json(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return BadLine(number, "it is not UTF-8")
    except ValueError as error:
        return BadLine(number, f"{error}: write one object per line")
    if not isinstance(row, dict):
        return BadLine(number, 'it is not an object: write {"response": ..., "concept": ...}')
    response, concept = row.get("response"), row.get("concept")
    if not isinstance(response, str):
        return BadLine(number, 'it has no text under "response"')
    if concept is not None and not isinstance(concept, str):
        return BadLine(number, '"concept" is neither text nor null')
    concept = (concept or "").strip() or None
    given = row.get("id")
    grade = grader.grade(response, concept, library.related(concept))
    return GradedLine(number if given is None else given, grade, concept)
