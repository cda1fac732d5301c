"""How replies are counted: what each one says, as yes, no or open, and rates over those of which it can be told.

Every rate of claims goes through here: head figures, summaries, the ladder's evidence and the comparison of arms. A
reply that is not graded, or that the grader left open, is in no rate: taking it for a "no" would lower detection and
false alarms alike without a trace.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from mlxintro.analysis import stats
from mlxintro.analysis.results import Row
from mlxintro.analysis.stats import Rate
from mlxintro.replies.grade_terms import NAMING_LEVELS, NamingLevel

_rate = lru_cache(maxsize=10_000)(stats.rate)
"""An interval takes a tenth of a millisecond, and displays ask for the same hundreds of them every second."""


def detects(row: Row) -> bool | None:
    """Tell whether a readable reply claims that something is there."""
    return row.grade.detects if row.grade else None


def names(row: Row) -> bool | None:
    """Tell whether a reply claims a detection and names the right concept in time: a reply without a claim does not."""
    if row.grade is None:
        return None
    return False if row.grade.detects is False else row.grade.success


def leaks(row: Row) -> bool | None:
    """Tell whether a readable reply names the concept without claiming anything: a leak, no recognition."""
    grade = row.grade
    if grade is None or grade.detects is None:
        return None
    return grade.coherent is True and grade.affirms is False and grade.identifies is True


def coherent(row: Row) -> bool | None:
    """Tell whether a reply is readable."""
    return row.grade.coherent if row.grade else None


def _is_open(row: Row) -> bool | None:
    """Tell of a graded reply whether it was left open if it claims anything."""
    return None if row.grade is None else row.grade.detects is None


def _is_incoherent(row: Row) -> bool | None:
    return None if row.grade is None else row.grade.coherent is False


def _is_refusal(row: Row) -> bool | None:
    return None if row.grade is None else row.grade.refuses is True


def _named_first(row: Row) -> bool | None:
    """Tell of a claim whether the concept stands before it."""
    if row.grade is None or row.grade.detects is not True:
        return None
    return row.grade.named_before_affirming is True


@dataclass(slots=True)
class AnswerCount:
    """Says how often something holds, among the trials of which it can be told."""

    hits: int = 0
    observations: int = 0

    def add(self, answer: float | None, times: int = 1) -> None:
        """Count an answer; ``None`` is in no rate.

        Args:
            answer: whether it holds (0 or 1), or ``None``.
            times: how many trials there are like it.
        """
        if answer is not None:
            self.hits += times * bool(answer)
            self.observations += times

    @property
    def rate(self) -> Rate:
        """Return the share, with Wilson's interval."""
        return _rate(self.hits, self.observations)


def trials_in(rows: Iterable[Row]) -> int:
    """Return how many trials some rows stand for."""
    return sum(row.times for row in rows)


def share(rows: Iterable[Row], holds: Callable[[Row], bool | None]) -> Rate:
    """Return the rate of rows for which something holds, of those that tell, with concepts as its clusters."""
    by_concept: dict[str | None, AnswerCount] = {}
    for row in rows:
        by_concept.setdefault(row.concept, AnswerCount()).add(holds(row), row.times)
    hits = sum(one.hits for one in by_concept.values())
    plain = _rate(hits, sum(one.observations for one in by_concept.values()))
    alone = by_concept.pop(None, AnswerCount())
    return replace(plain, design=_design_effect([one for one in by_concept.values() if one.observations], alone))


def _design_effect(clusters: Sequence[AnswerCount], alone: AnswerCount) -> float:
    """By which factor clusters widen the variance of a rate, 1 at least (Rao and Scott 1992, eq. 3).

    Args:
        clusters: the answers of each concept.
        alone: answers without a concept, each of which is a cluster of its own.
    """
    trials = alone.observations + sum(one.observations for one in clusters)
    hits = alone.hits + sum(one.hits for one in clusters)
    count = alone.observations + len(clusters)
    if count < 2 or not 0 < hits < trials:
        return 1.0
    p = hits / trials
    squares = [(one.hits - one.observations * p) ** 2 for one in clusters]
    squares += [alone.hits * (1 - p) ** 2, (alone.observations - alone.hits) * p**2]
    variance = count / (count - 1) * math.fsum(squares) / trials**2
    return max(1.0, trials * variance / (p * (1 - p)))


@dataclass(slots=True)
class ReplyTally:
    """Counts everything of one group of graded replies."""

    trials: int = 0
    detection: AnswerCount = field(default_factory=AnswerCount)
    identification: AnswerCount = field(default_factory=AnswerCount)
    """Detections that name the concept in time, among those whose naming the grader did not leave open."""
    levels: Counter[NamingLevel] = field(default_factory=Counter)
    """Detections that name the concept in time or by a category, by how near they name it."""
    leak: AnswerCount = field(default_factory=AnswerCount)
    early: AnswerCount = field(default_factory=AnswerCount)
    """Detections in which the concept stood before the claim."""
    unsettled: AnswerCount = field(default_factory=AnswerCount)
    """Graded replies of which the grader could not tell whether they claim anything."""
    incoherence: AnswerCount = field(default_factory=AnswerCount)
    refusal: AnswerCount = field(default_factory=AnswerCount)

    @classmethod
    def of(cls, rows: Iterable[Row]) -> ReplyTally:
        """Count some trials."""
        tally = cls()
        for row in rows:
            tally.add(row)
        return tally

    def add(self, row: Row) -> None:
        """Count the trials that a row stands for."""
        times = row.times
        self.trials += times
        self.detection.add(detects(row), times)
        self.identification.add(names(row), times)
        if (grade := row.grade) and grade.detects and grade.naming and grade.named_before_affirming is not True:
            self.levels[grade.naming] += times
        self.leak.add(leaks(row), times)
        self.early.add(_named_first(row), times)
        self.unsettled.add(_is_open(row), times)
        self.incoherence.add(_is_incoherent(row), times)
        self.refusal.add(_is_refusal(row), times)

    @property
    def unscored(self) -> int:
        """Return the trials without a grade: not graded yet, or the grader failed."""
        return self.trials - self.unsettled.observations

    def as_dict(self) -> dict[str, int]:
        """Return the counts as JSON. Every trial is in exactly one of ``graded``, ``abstained`` and ``unscored``."""
        return {
            "trials": self.trials,
            "graded": self.detection.observations,
            "detected": self.detection.hits,
            "identified": self.identification.hits,
            **{f"named_{level}": self.levels[level] for level in NAMING_LEVELS},
            "unidentifiable": self.detection.observations - self.identification.observations,
            "refused": self.refusal.hits,
            "incoherent": self.incoherence.hits,
            "denied_but_named": self.leak.hits,
            "named_first": self.early.hits,
            "abstained": self.unsettled.hits,
            "unscored": self.unscored,
        }
