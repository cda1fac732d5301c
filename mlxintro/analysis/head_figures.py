"""What displays show for an experiment: its head figures and the classes of its trials, as data.

Lists of runs, live maps, lines of trials and comparisons read a ``Display`` and know nothing else of the experiment.
A head figure says what one trial contributes and which trials are set against which; ``mlxintro.analysis.tally`` adds
them up, from stored rows or from the store's counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from mlxintro.analysis.reply_tally import detects, names
from mlxintro.analysis.results import Row
from mlxintro.analysis.trial_classes import GRADED_CLASSES, MEASURED, TrialClass, graded_class
from mlxintro.protocol.concepts import Library, library

FigureKind = Literal["rate", "mean", "log-odds"]
"""``rate``: a share of trials. ``mean``: a mean over concepts. ``log-odds``: a mean of natural logarithms of odds."""


@dataclass(frozen=True, slots=True)
class TrialGroup:
    """Picks the trials that a head figure is taken over."""

    label: str
    """Label for people: ``injected``, ``no injection``."""
    condition: str
    arm: str = ""
    figure: str = ""
    """Name of the figure of the experiment's ``Analysis`` that holds the same number; empty where it gives none."""

    def holds(self, row: Row) -> bool:
        """Tell whether a trial is one of the group."""
        return row.condition == self.condition and row.arm == self.arm


@dataclass(frozen=True, slots=True)
class HeadFigure:
    """Defines one number that says what an experiment measures."""

    name: str
    """Name for programs; it never changes."""
    label: str
    """A column's title, e.g. ``names it``."""
    kind: FigureKind
    value: Callable[[Row], float | None]
    """What one trial contributes: 0 or 1 for a rate; ``None`` for a trial that the figure is not about or that cannot
    be told."""
    case: TrialGroup
    """The trials in question; those with a layer and a strength also fill the map."""
    baseline: TrialGroup | None = None
    """Trials they are set against; ``None`` where there are none."""
    members: int = 1
    """How many trials with one number make one observation, which is right only when all of them are."""

    @property
    def groups(self) -> tuple[TrialGroup, ...]:
        """Return the trials in question and, if there are any, those they are set against."""
        return (self.case,) if self.baseline is None else (self.case, self.baseline)


@dataclass(frozen=True, slots=True)
class Display:
    """Holds everything that displays have to know of an experiment."""

    figures: tuple[HeadFigure, ...] = ()
    """The most important first: a list with room for one shows that one."""
    classes: tuple[TrialClass, ...] = (MEASURED,)
    """Every class there is, in the order in which tables and bars have them."""
    classify: Callable[[Row], TrialClass] = lambda row: MEASURED
    """Finds the class of a trial."""
    from_grades: bool = False
    """Figures and classes follow from condition and grade alone, so the store's counts are enough for them."""
    library: Library = field(default_factory=library, repr=False, compare=False)
    """The concepts that the run knows."""


INJECTED, UNINJECTED = "injected", "control"


def _class_of_claim(row: Row) -> TrialClass:
    """Return the class of a graded reply; what was read out without one is nothing that a grader reads."""
    if row.grade is None and not row.response and row.measurements:
        return MEASURED
    return graded_class(row.grade, injected=row.condition == INJECTED)


CLAIMS_DISPLAY = Display(
    figures=(
        HeadFigure(
            "detection",
            "detects",
            "rate",
            detects,
            TrialGroup("injected", INJECTED, figure="detection"),
            TrialGroup("false alarms", UNINJECTED, figure="false_alarms"),
        ),
        HeadFigure(
            "identification",
            "names it",
            "rate",
            names,
            TrialGroup("injected", INJECTED, figure="identification"),
        ),
    ),
    classes=(*GRADED_CLASSES, MEASURED),
    classify=_class_of_claim,
    from_grades=True,
)
"""For experiments whose replies graders of claims and names read."""


def found_or_not(row: Row, right: bool, found: TrialClass, missed: TrialClass, alarm: TrialClass) -> TrialClass:
    """Choose a trial's class by whether it is right; ``alarm`` is for one that is right without an injection."""
    if not right:
        return missed
    return found if row.condition == INJECTED else alarm
