"""Where graders of one run differ, worst first: what a person should read before believing a rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from mlxintro.backends.errors import UsageError
from mlxintro.grading.base import Grade
from mlxintro.grading.passes import from_record, gradable
from mlxintro.store.records import GRADE_FIELDS, Run, Trial
from mlxintro.store.store import Store

_WEIGHTS = {"success": 8, "detects": 8, "affirms": 4, "identifies": 2, "coherent": 2, "refuses": 1}
"""What moves a headline rate weighs most."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Holds one reply that was read differently."""

    trial: Trial
    grades: dict[str, Grade]
    """Grades of those who graded the reply, by grader."""
    fields: tuple[str, ...]
    """Fields on which at least two of them decided, and differently."""
    weight: int


def disagreements(store: Store, run: Run, graders: Sequence[str] = ()) -> list[Disagreement]:
    """Return the replies on which graders contradict each other, worst first. A field left open contradicts nothing.

    Args:
        graders: whose latest grades are compared, all when empty.

    Raises:
        UsageError: one of them has not graded this run, or there are not two.
    """
    known = store.grades.graders(run.id)
    for name in graders:
        if name not in known:
            raise UsageError(f"{name!r} has not graded {run.name}: choose among {', '.join(known) or 'none yet'}")
    chosen = list(dict.fromkeys(graders)) or known
    if len(chosen) < 2:
        raise UsageError(
            f"{run.name} has grades of {', '.join(chosen) or 'nobody'}: two graders are needed, see mlxintro grade -h"
        )
    grades: dict[str, dict[str, Grade]] = {}
    for name in chosen:
        for record in store.grades.latest(run.id, grader=name):
            grades.setdefault(record.key, {})[name] = from_record(record)
    found = []
    for trial in gradable(store, run):
        fields = contradictions(list(grades.get(trial.key, {}).values()))
        if fields:
            weight = sum(_WEIGHTS.get(name, 1) for name in fields)
            found.append(Disagreement(trial, grades[trial.key], fields, weight))
    return sorted(found, key=lambda one: (-one.weight, one.trial.ordinal))


def contradictions(grades: Sequence[Grade]) -> tuple[str, ...]:
    """Return the fields, and what follows from them, that one grader calls true and another false."""
    return tuple(
        name
        for name in (*GRADE_FIELDS, "detects", "success")
        if any(
            None not in (values := (getattr(a, name), getattr(b, name))) and values[0] != values[1]
            for a, b in combinations(grades, 2)
        )
    )
