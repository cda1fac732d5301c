"""The rows of a run of injected thoughts by what they are for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlxintro.analysis.results import Row
from mlxintro.analysis.stats import Rate, rate
from mlxintro.analysis.tally import Place


@dataclass(frozen=True, slots=True)
class Rows:
    """Sorts a run's rows by what they are for."""

    injected: list[Row]
    pool: list[Row]
    """Uninjected replies."""
    arms: Mapping[str, list[Row]]
    thinks: bool = False
    """Whether the subject thought before it answered."""

    @classmethod
    def of(cls, rows: Sequence[Row], *, thinks: bool = False) -> Rows:
        """Sort the rows of a run.

        Args:
            rows: all of them.
            thinks: whether the subject thought before it answered.
        """
        arms: dict[str, list[Row]] = {}
        for row in rows:
            if row.arm:
                arms.setdefault(row.arm, []).append(row)
        main = [row for row in rows if not row.arm]
        injected = [row for row in main if row.condition == "injected"]
        return cls(injected, [row for row in main if row.condition == "control"], arms, thinks)

    @property
    def places(self) -> list[Place]:
        return sorted({place_of(row) for row in self.injected})

    @property
    def words(self) -> list[str]:
        return sorted({row.concept for row in self.injected if row.concept is not None})


def place_of(row: Row) -> Place:
    return (-1 if row.layer is None else row.layer, 0.0 if row.strength is None else row.strength)


def effective(one: Rate) -> Rate:
    """Return the counts of as many independent trials as weigh the same."""
    if one.design <= 1:
        return one
    trials = max(round(one.trials / one.design), 1)
    return rate(min(round(one.successes / one.design), trials), trials)


def by_place(rows: Iterable[Row]) -> dict[Place, list[Row]]:
    found: dict[Place, list[Row]] = {}
    for row in rows:
        found.setdefault(place_of(row), []).append(row)
    return dict(sorted(found.items()))
