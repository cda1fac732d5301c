"""Two graders that read a reply alike are believed; where they differ, nobody is, and a person decides.

The joint verdict is stored as a grader of its own, so that rates can be counted by it and the replies it leaves open
can be labelled (``label RUN --open NAME``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from mlxintro.backends.errors import UsageError
from mlxintro.grading.base import Grade
from mlxintro.grading.passes import Pass, counted, graded_trials, to_record
from mlxintro.replies.grade_terms import GradeState
from mlxintro.store.records import GradeRecord, Run
from mlxintro.store.store import Store
from mlxintro.thinking.grades import as_raw, thought_verdict

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Pair:
    """Names two graders that have to agree, as one."""

    name: str
    version: str


def agreed(one: Grade, other: Grade) -> Grade:
    """Return what two grades have in common.

    Fields in which they differ stay open, and so does a claim they differ on.
    """
    readable = one.coherent if one.coherent is other.coherent else None
    # Whether garble claims anything is never asked again: both call it garble.
    affirms = one.affirms if one.affirms is other.affirms else None
    open_ = readable is None or (affirms is None and readable is not False) or one.detects is not other.detects
    return Grade(
        affirms=None if open_ else affirms,
        identifies=one.identifies if one.identifies is other.identifies else None,
        named_before_affirming=(
            one.named_before_affirming if one.named_before_affirming is other.named_before_affirming else None
        ),
        coherent=readable,
        refuses=one.refuses if one.refuses is other.refuses else None,
        state=GradeState.ABSTAINED if open_ else GradeState.SCORED,
        reason="both say the same" if not open_ else f"they differ: {one.reason} / {other.reason}"[:300],
        naming=one.naming if one.naming == other.naming else None,
        evidence=one.evidence,
    )


def _on_thoughts(store: Store, run: Run, grader: str) -> dict[str, Grade]:
    """What one grader says of thoughts, by trial."""
    verdicts = ((one.key, thought_verdict(one)) for one in store.grades.latest(run.id, grader=grader))
    counted_ = ((key, counted(one)) for key, one in verdicts)
    return {key: grade for key, grade in counted_ if grade is not None}


def grade_by_pair(store: Store, run: Run, first: str, second: str) -> tuple[Pair, Pass]:
    """Store the joint verdict of two graders on every reply that both have graded.

    Args:
        store: opened for writing.
        run: graded by both before.
        first: a grader's name; its evidence is kept.
        second: another's.

    Raises:
        UsageError: they are one, or one of them has not graded the run.
    """
    if first == second:
        raise UsageError(f"{first} and {second} are one grader: name two")
    known = store.grades.graders(run.id)
    for name in (first, second):
        if name not in known:
            raise UsageError(f"{name!r} has not graded {run.name}: run `mlxintro grade` with it first")
    versions = []
    for name in (first, second):
        latest = store.grades.latest(run.id, grader=name)
        versions.append(latest[-1].version if latest else "")
    pair = Pair(f"{first}+{second}", " + ".join(versions))
    others = {trial.key: grade for trial, grade in graded_trials(store, run, second)}
    thoughts = [_on_thoughts(store, run, name) for name in (first, second)]
    waiting: list[GradeRecord] = []
    graded = abstained = missing = 0
    for trial, one in graded_trials(store, run, first):
        other = others.get(trial.key)
        if one is None or other is None:
            missing += 1
            continue
        joint = agreed(one, other)
        graded += 1
        abstained += joint.abstained
        of_thought = [found.get(trial.key) for found in thoughts]
        noticed = None if None in of_thought else agreed(*cast(list[Grade], of_thought))
        waiting.append(replace(to_record(trial.key, pair, joint), raw=as_raw(noticed)))
        if len(waiting) == _CHUNK:
            store.grades.add(run.id, waiting)
            waiting = []
    store.grades.add(run.id, waiting)
    return pair, Pass(graded, abstained, missing)
