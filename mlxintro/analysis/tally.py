"""Adding trials up to an experiment's head figures: a run's, its cells', and how many trials each class has.

One mechanism for rows and for the store's counts, so that a list, a live map and the full analysis cannot disagree.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from mlxintro.analysis import stats
from mlxintro.analysis.contrasts import concept_means
from mlxintro.analysis.head_figures import Display, HeadFigure
from mlxintro.analysis.reply_tally import AnswerCount
from mlxintro.analysis.results import Row
from mlxintro.analysis.stats import Mean, Rate
from mlxintro.analysis.trial_classes import TrialClass
from mlxintro.grading.base import Grade
from mlxintro.store.grades import VerdictCount

Place = tuple[int, float]
"""Layer and strength."""


@dataclass(slots=True)
class FigureTally:
    """Adds up one head figure over some trials."""

    figure: HeadFigure
    count: AnswerCount = field(default_factory=AnswerCount)
    """How many observations there are; of rates also how many of them hold."""
    _values: list[tuple[str, float]] = field(default_factory=list)
    """Values with their concept; for means alone."""
    _waiting: dict[tuple[object, ...], list[float]] = field(default_factory=dict)
    """Observations of several trials that are not complete."""

    def add(self, row: Row, times: int = 1) -> None:
        """Count a trial.

        Args:
            times: how many trials there are like it.
        """
        value = self.figure.value(row)
        if value is None:
            return
        if self.figure.members > 1:
            # Layer and strength are part of it, since one tally may span the whole map.
            key = (row.condition, row.arm, row.layer, row.strength, row.trial)
            values = self._waiting.setdefault(key, [])
            values.append(value)
            if len(values) < self.figure.members:
                return
            value = min(self._waiting.pop(key))
        self.count.add(value, times)
        if self.figure.kind != "rate":
            self._values += [(row.concept or "", value)] * times

    @property
    def hits(self) -> int:
        return self.count.hits

    @property
    def observations(self) -> int:
        return self.count.observations

    @property
    def value(self) -> Rate | Mean:
        """Return a rate of trials with Wilson's interval, or a mean over concepts with Student's."""
        if self.figure.kind == "rate":
            return self.count.rate
        return stats.mean(concept_means(self._values))


@dataclass(slots=True)
class CellTally:
    """Counts the trials of one group: of a cell of the map, or of the whole run."""

    figures: tuple[FigureTally, ...]
    """Tallies of the head figures, in the order of the display's."""
    trials: int = 0
    classes: Counter[TrialClass] = field(default_factory=Counter)
    """How many trials of the main arm there are of each class."""

    @classmethod
    def empty(cls, display: Display) -> CellTally:
        return cls(tuple(FigureTally(figure) for figure in display.figures))


class RunTally:
    """Counts a run's head figures with what they are set against, and the same for every cell of its map."""

    def __init__(self, display: Display) -> None:
        self.display = display
        self.case = CellTally.empty(display)
        """Every head figure over the trials in question."""
        self.baseline = CellTally.empty(display)
        """Every head figure over the baseline; without observations where there is none."""
        self.cells: dict[Place, CellTally] = defaultdict(lambda: CellTally.empty(display))
        """The trials in question by layer and strength."""

    @classmethod
    def of_rows(cls, display: Display, rows: Iterable[Row]) -> RunTally:
        """Add up finished trials."""
        tally = cls(display)
        for row in rows:
            tally.add(row, row.times)
        return tally

    @classmethod
    def of_counts(cls, display: Display, counts: Iterable[VerdictCount]) -> RunTally:
        """Add up the store's counts of verdicts; for displays whose figures follow from grades."""
        tally = cls(display)
        for count in counts:
            tally.add(_row_like(count), count.trials)
        return tally

    def add(self, row: Row, times: int = 1) -> None:
        """Count a trial, or several that are alike."""
        cell = None
        if row.layer is not None and row.strength is not None and self._is_case(row):
            cell = self.cells[row.layer, row.strength]
        for at, figure in enumerate(self.display.figures):
            if figure.case.holds(row):
                self.case.figures[at].add(row, times)
                if cell is not None:
                    cell.figures[at].add(row, times)
            elif figure.baseline is not None and figure.baseline.holds(row):
                self.baseline.figures[at].add(row, times)
        group = self.case if self._is_case(row) else self.baseline if self._is_baseline(row) else None
        if group is None:
            return
        class_ = self.display.classify(row)
        for tally in (group, cell) if cell is not None else (group,):
            tally.trials += times
            tally.classes[class_] += times

    def _is_case(self, row: Row) -> bool:
        return any(figure.case.holds(row) for figure in self.display.figures)

    def _is_baseline(self, row: Row) -> bool:
        return any(figure.baseline is not None and figure.baseline.holds(row) for figure in self.display.figures)


def _row_like(count: VerdictCount) -> Row:
    """A trial as the counted ones are, as far as figures from grades look at it."""
    grade = None
    if count.graded:
        grade = Grade(
            affirms=count.affirms,
            identifies=count.identifies,
            named_before_affirming=count.named_before_affirming,
            coherent=count.coherent,
            refuses=count.refuses,
            state=count.state,
            naming=count.naming,
        )
    return Row("", count.condition, "", None, count.layer, count.strength, 0, "", {}, {}, grade)
