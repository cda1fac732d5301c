"""How far two graders, or a grader and a person, say the same of the same replies."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from mlxintro.analysis.stats import Rate, rate
from mlxintro.backends.errors import UsageError
from mlxintro.grading.base import Grade
from mlxintro.grading.correction import Calibration
from mlxintro.grading.labels.labelling import to_grade
from mlxintro.grading.passes import from_record, gradable
from mlxintro.store.records import GRADE_FIELDS, Run
from mlxintro.store.store import Store

FIELDS = ("detects", *GRADE_FIELDS, "success")
CONDITIONS = ("all", "injected", "control")


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts over replies that both decided: first's word, then second's."""

    yes_yes: int
    yes_no: int
    no_yes: int
    no_no: int
    undecided: int
    """Replies on which at least one of them did not decide."""

    @property
    def decided(self) -> int:
        return self.yes_yes + self.yes_no + self.no_yes + self.no_no

    @property
    def calibration(self) -> Calibration:
        """Return the second's errors, with the first's word for the truth."""
        return Calibration(self.yes_yes, self.yes_yes + self.yes_no, self.no_no, self.no_yes + self.no_no)


@dataclass(frozen=True, slots=True)
class Agreement:
    first: str
    second: str
    field: str
    condition: str
    confusion: Confusion
    same: Rate
    """Share of decided replies on which both say the same, with its Wilson interval."""
    kappa: float | None
    """Cohen's; None when one of them says the same of every reply."""
    kappa_low: float | None
    kappa_high: float | None
    """95 %, by the asymptotic standard error of Fleiss, Cohen and Everitt (1969)."""


def voices(store: Store, run: Run) -> dict[str, dict[str, Grade]]:
    """Return what everybody says of a run's trials, by name and trial.

    Graders, and people as ``NAME`` or ``label:NAME``.

    A person bears the prefix when a grader has the same name.
    """
    heard: dict[str, dict[str, Grade]] = {}
    for record in store.grades.latest(run.id):
        heard.setdefault(record.grader, {})[record.key] = from_record(record)
    graders = set(heard)
    for label in store.labels.latest(run.id):
        grade = to_grade(label.fields)
        if grade is not None:
            name = f"label:{label.labeller}" if label.labeller in graders else label.labeller
            heard.setdefault(name, {})[label.key] = grade
    return heard


def agreements(store: Store, run: Run, between: Sequence[str] = ()) -> list[Agreement]:
    """Return the agreement per field and condition, for two voices or for every pair there is; people come first.

    Raises:
        UsageError: somebody who said nothing, or not two.
    """
    heard = voices(store, run)
    for name in between:
        if name not in heard:
            raise UsageError(f"{name!r} said nothing of {run.name}: choose among {', '.join(heard) or 'nobody yet'}")
    chosen = list(dict.fromkeys(between)) or list(heard)
    if len(chosen) < 2 or (between and len(chosen) != 2):
        raise UsageError(
            f"agreement is between two: {run.name} has {', '.join(heard) or 'nobody'}; see mlxintro label and grade"
        )
    graders = set(store.grades.graders(run.id))
    chosen = chosen if between else sorted(chosen, key=lambda name: name in graders)
    conditions = {trial.key: trial.condition for trial in gradable(store, run)}
    return [
        found
        for first, second in combinations(chosen, 2)
        for found in compare(first, heard[first], second, heard[second], conditions)
    ]


def calibration_of(
    store: Store, run: Run, grader: str, field: str = "detects", condition: str = "all"
) -> Calibration | None:
    """Return a grader's errors on the replies a person labelled, for ``correction.corrected``.

    Where several people labelled, the one who labelled most is believed, the first by name among equals.

    Returns:
        None when nobody labelled what the grader decided.
    """
    heard = voices(store, run)
    graders = set(store.grades.graders(run.id))
    people = sorted((name for name in heard if name not in graders), key=lambda name: (-len(heard[name]), name))
    if not people or grader not in heard:
        return None
    conditions = {trial.key: trial.condition for trial in gradable(store, run)}
    found = compare(people[0], heard[people[0]], grader, heard[grader], conditions)
    return next((one.confusion.calibration for one in found if (one.field, one.condition) == (field, condition)), None)


def calibration_within(store: Store, run: Run, grader: str, field: str, condition: str) -> Calibration | None:
    """Return a grader's errors on labelled replies of one arm; those of steered and clean replies differ.

    Uninjected replies hardly ever hold what is looked for. Where none of the arm's labelled ones does, how often the
    grader finds it is taken from the other arm; how often it makes it up always comes from the arm itself.
    """
    own = calibration_of(store, run, grader, field, condition)
    if own is None or own.positives:
        return own
    every = calibration_of(store, run, grader, field)
    return own if every is None else replace(own, hits=every.hits, positives=every.positives)


def compare(
    first: str, one: Mapping[str, Grade], second: str, two: Mapping[str, Grade], conditions: Mapping[str, str]
) -> Iterator[Agreement]:
    """Compare what two said of the trials both have seen.

    Args:
        first: who is taken for the truth where it matters.
        one: its grades by trial.
        second: the other.
        two: its grades.
        conditions: of the trials that count, by trial.
    """
    for condition in CONDITIONS:
        both = [
            (one[key], two[key])
            for key, its in conditions.items()
            if key in one and key in two and condition in ("all", "injected" if its == "injected" else "control")
        ]
        for field in FIELDS:
            pairs = [(decided(a, field), decided(b, field)) for a, b in both]
            if any(a is not None and b is not None for a, b in pairs):
                yield _agreement(first, second, field, condition, pairs)


def decided(grade: Grade, field: str) -> bool | None:
    """Return one field of a grade; None where the grader did not decide."""
    if grade.abstained and field in ("detects", "affirms", "success"):
        return None
    value: bool | None = getattr(grade, field)
    return value


def _agreement(
    first: str, second: str, field: str, condition: str, pairs: Sequence[tuple[bool | None, bool | None]]
) -> Agreement:
    counts = {(a, b): pairs.count((a, b)) for a in (True, False) for b in (True, False)}
    table = Confusion(
        counts[True, True],
        counts[True, False],
        counts[False, True],
        counts[False, False],
        len(pairs) - sum(counts.values()),
    )
    kappa, low, high = cohen(table)
    same = rate(table.yes_yes + table.no_no, table.decided)
    return Agreement(first, second, field, condition, table, same, kappa, low, high)


def cohen(table: Confusion) -> tuple[float | None, float | None, float | None]:
    """Return Cohen's kappa with its 95 % interval; all None where it is not defined."""
    rows = (table.yes_yes + table.yes_no, table.no_yes + table.no_no)
    columns = (table.yes_yes + table.no_yes, table.yes_no + table.no_no)
    if 0 in rows or 0 in columns:
        return None, None, None
    from statsmodels.stats.inter_rater import cohens_kappa

    found = cohens_kappa([[table.yes_yes, table.yes_no], [table.no_yes, table.no_no]])
    kappa, low, high = float(found.kappa), float(found.kappa_low), float(found.kappa_upp)
    if not all(map(math.isfinite, (kappa, low, high))):
        return None, None, None
    return kappa, max(-1.0, low), min(1.0, high)
