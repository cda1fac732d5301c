"""The summary of a graded run: counts and rates of its trials, its cells and its concepts.

Rates are shares of *graded* trials. A trial whose grade is missing or undecided is counted beside the rate, never in
it: treating it as "no" would lower detection and false alarms alike without a trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mlxintro.analysis.stats import Difference, Rate, difference, rate
from mlxintro.grading.base import Grade

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class GradedTrial:
    """What the summary needs to know of one trial."""

    injected: bool
    concept: str | None = None
    layer: int | None = None
    strength: float | None = None
    grade: Grade | None = None
    "None when the trial was never graded, or failed."


@dataclass(frozen=True, slots=True)
class GradeTally:
    """Counts of one group of trials. Every trial is in exactly one of ``graded``, ``abstained``, ``unscored``."""

    trials: int
    graded: int
    "The grader decided whether the reply detects."
    detected: int
    identified: int
    "Detected, and the right concept named in time. A detection whose concept is undecided is not counted here."
    unidentifiable: int
    "Detections for which the grader left the naming of the concept open; not in the identification rate."
    refused: int
    incoherent: int
    denied_but_named: int
    "Readable replies that do not affirm and still name the concept: the leak without the recognition."
    named_first: int
    "Detections in which the concept stood before the claim."
    abstained: int
    "A grade exists, but the grader could not decide."
    unscored: int
    "No grade: not graded yet, or the grader failed."

    @property
    def detection(self) -> Rate:
        return rate(self.detected, self.graded)

    @property
    def identification(self) -> Rate:
        return rate(self.identified, self.graded - self.unidentifiable)


@dataclass(frozen=True, slots=True)
class GroupSummary:
    """One cell of the grid, one concept, or a whole run: injected trials against the pool of controls."""

    tally: GradeTally
    detection: Rate
    "Detects (readable, affirms, does not refuse) over graded injected trials."
    identification: Rate
    "Detects and names the concept in time, over graded injected trials."
    net: Difference
    "Detection minus the false-alarm rate of all controls of the run."
    net_identification: Difference
    "Identification minus the false-alarm rate: the net score of the paper."
    layer: int | None = None
    strength: float | None = None
    concept: str | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """A graded run."""

    overall: GroupSummary
    controls: GradeTally
    false_alarms: Rate
    "Detects, over graded controls. Refusals are not false alarms."
    cells: tuple[GroupSummary, ...]
    "One per (layer, strength), sorted."
    concepts: tuple[GroupSummary, ...]
    "One per concept, sorted by name."


def summarise(rows: Iterable[GradedTrial]) -> Summary:
    """Summarise a run, its cells and its concepts.

    Controls depend on neither layer, strength nor concept, so one pool of them serves every cell.
    """
    all_rows = list(rows)
    injected = [row for row in all_rows if row.injected]
    controls = tally(row for row in all_rows if not row.injected)
    false_alarms = controls.detection

    def group(
        members: Sequence[GradedTrial],
        *,
        layer: int | None = None,
        strength: float | None = None,
        concept: str | None = None,
    ) -> GroupSummary:
        counts = tally(members)
        detection, identification = counts.detection, counts.identification
        return GroupSummary(
            counts,
            detection,
            identification,
            difference(detection, false_alarms),
            difference(identification, false_alarms),
            layer,
            strength,
            concept,
        )

    cells = _grouped(injected, lambda row: (row.layer, row.strength))
    concepts = _grouped(injected, lambda row: row.concept)
    return Summary(
        overall=group(injected),
        controls=controls,
        false_alarms=false_alarms,
        cells=tuple(
            group(members, layer=layer, strength=strength)
            for (layer, strength), members in sorted(cells.items(), key=lambda item: _order(*item[0]))
        ),
        concepts=tuple(
            group(members, concept=concept)
            for concept, members in sorted(concepts.items(), key=lambda item: item[0] or "")
        ),
    )


def tally(rows: Iterable[GradedTrial]) -> GradeTally:
    """Count one group of trials."""
    members = list(rows)
    grades = [row.grade for row in members if row.grade is not None]
    decided = [grade for grade in grades if grade.detects is not None]
    detected = [grade for grade in decided if grade.detects]
    return GradeTally(
        trials=len(members),
        graded=len(decided),
        detected=len(detected),
        identified=sum(grade.success is True for grade in detected),
        unidentifiable=sum(grade.success is None for grade in detected),
        refused=sum(grade.refuses is True for grade in grades),
        incoherent=sum(grade.coherent is False for grade in grades),
        denied_but_named=sum(
            grade.coherent is True and grade.affirms is False and grade.identifies is True for grade in grades
        ),
        named_first=sum(grade.named_before_affirming is True for grade in detected),
        abstained=len(grades) - len(decided),
        unscored=len(members) - len(grades),
    )


def _grouped(rows: Sequence[GradedTrial], key: Callable[[GradedTrial], K]) -> dict[K, list[GradedTrial]]:
    groups: dict[K, list[GradedTrial]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def _order(layer: int | None, strength: float | None) -> tuple[int, float]:
    """Missing values sort first."""
    return (-1 if layer is None else layer, float("-inf") if strength is None else strength)
