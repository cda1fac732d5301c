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
    """How often something holds, among the trials of which it can be told."""

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
        """The share, with Wilson's interval."""
        return _rate(self.hits, self.observations)


def share(rows: Iterable[Row], holds: Callable[[Row], bool | None]) -> Rate:
    """Rate of rows for which something holds, over those for which it can be told, with concepts as its clusters."""
    answers = [(row.concept, answer) for row in rows if (answer := holds(row)) is not None]
    plain = _rate(sum(answer for _, answer in answers), len(answers))
    return replace(plain, design=_design_effect(answers))


def _design_effect(answers: Sequence[tuple[str | None, bool]]) -> float:
    """By which factor clusters widen the variance of a rate, 1 at least (Rao and Scott 1992, eq. 3).

    Args:
        answers: concept and answer; those without a concept stand for themselves.
    """
    clusters: dict[str, list[bool]] = {}
    for at, (concept, answer) in enumerate(answers):
        clusters.setdefault(f"alone {at}" if concept is None else concept, []).append(answer)
    trials, count = len(answers), len(clusters)
    p = sum(answer for _, answer in answers) / max(trials, 1)
    if count < 2 or not 0 < p < 1:
        return 1.0
    squares = math.fsum((sum(one) - len(one) * p) ** 2 for one in clusters.values())
    variance = count / (count - 1) * squares / trials**2
    return max(1.0, trials * variance / (p * (1 - p)))


@dataclass(slots=True)
class ReplyTally:
    """Everything that is counted of one group of graded replies."""

    trials: int = 0
    detection: AnswerCount = field(default_factory=AnswerCount)
    identification: AnswerCount = field(default_factory=AnswerCount)
    """Without detections whose naming the grader left open."""
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
        """Count a trial."""
        self.trials += 1
        self.detection.add(detects(row))
        self.identification.add(names(row))
        if (grade := row.grade) and grade.detects and grade.naming and grade.named_before_affirming is not True:
            self.levels[grade.naming] += 1
        self.leak.add(leaks(row))
        self.early.add(_named_first(row))
        self.unsettled.add(_is_open(row))
        self.incoherence.add(_is_incoherent(row))
        self.refusal.add(_is_refusal(row))

    @property
    def unscored(self) -> int:
        """Trials without a grade: not graded yet, or the grader failed."""
        return self.trials - self.unsettled.observations

    def as_dict(self) -> dict[str, int]:
        """Counts as JSON. Every trial is in exactly one of ``graded``, ``abstained`` and ``unscored``."""
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
