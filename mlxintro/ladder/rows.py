"""The rows of a run of injected thoughts by what they are for, and what each reply counts as.

Abstained and ungraded replies are in no rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mlxintro.analysis.results import Row
from mlxintro.analysis.stats import Rate, rate

Place = tuple[int, float]
"""Layer and strength."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A run's rows by what they are for."""

    injected: list[Row]
    pool: list[Row]
    """Uninjected replies."""
    arms: Mapping[str, list[Row]]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Rows:
        arms: dict[str, list[Row]] = {}
        for row in rows:
            if row.arm:
                arms.setdefault(row.arm, []).append(row)
        main = [row for row in rows if not row.arm]
        injected = [row for row in main if row.condition == "injected"]
        return cls(injected, [row for row in main if row.condition == "control"], arms)

    @property
    def places(self) -> list[Place]:
        return sorted({place_of(row) for row in self.injected})

    @property
    def words(self) -> list[str]:
        return sorted({row.concept for row in self.injected if row.concept is not None})


def place_of(row: Row) -> Place:
    return (-1 if row.layer is None else row.layer, 0.0 if row.strength is None else row.strength)


def share(rows: Iterable[Row], holds: Callable[[Row], bool | None]) -> Rate:
    """Rate of rows for which something holds, over those for which it can be told, with concepts as its clusters."""
    answers = [(row.concept, answer) for row in rows if (answer := holds(row)) is not None]
    plain = rate(sum(answer for _, answer in answers), len(answers))
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


def effective(one: Rate) -> Rate:
    """Counts of as many independent trials as weigh the same."""
    if one.design <= 1:
        return one
    trials = max(round(one.trials / one.design), 1)
    return rate(min(round(one.successes / one.design), trials), trials)


def detects(row: Row) -> bool | None:
    return row.grade.detects if row.grade else None


def names(row: Row) -> bool | None:
    return row.grade.success if row.grade else None


def leaks(row: Row) -> bool | None:
    if row.grade is None or row.grade.detects is None:
        return None
    return row.grade.coherent is True and row.grade.affirms is False and row.grade.identifies is True


def coherent(row: Row) -> bool | None:
    return row.grade.coherent if row.grade else None


def by_place(rows: Iterable[Row]) -> dict[Place, list[Row]]:
    found: dict[Place, list[Row]] = {}
    for row in rows:
        found.setdefault(place_of(row), []).append(row)
    return dict(sorted(found.items()))
