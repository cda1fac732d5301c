"""Replies that a grader left open: they wait for a person, a local judge or an API, and for nobody once one decides."""

from __future__ import annotations

from mlxintro.replies.grade_terms import GradeState
from mlxintro.store.records import Run
from mlxintro.store.store import Store


def left_open(store: Store, run: Run, grader: str) -> frozenset[str]:
    """Return the trials that one grader read or tried to read, and did not decide."""
    latest = store.grades.latest(run.id, grader=grader)
    return frozenset(one.key for one in latest if one.state is not GradeState.SCORED)


def waiting(store: Store, run: Run) -> frozenset[str]:
    """Return the trials that some grader left open, that no other grader decided, and that nobody labelled."""
    tried: set[str] = set()
    settled: set[str] = set()
    for one in store.grades.latest(run.id):
        (settled if one.state is GradeState.SCORED else tried).add(one.key)
    settled.update(label.key for label in store.labels.latest(run.id) if label.fields)
    return frozenset(tried - settled)
