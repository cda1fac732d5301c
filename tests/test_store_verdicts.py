"""Verdicts, labels and vectors of a store: the latest counts, all are kept."""

from __future__ import annotations

import dataclasses
from datetime import datetime, tzinfo

import pytest

from mlxintro.backends.errors import UsageError
from mlxintro.replies.grade_terms import GradeState
from mlxintro.store import GradeRecord, Label, Store, TrialFilter, VectorRecord
from tests.plans import spec
from tests.stores import filled


def test_the_latest_grade_of_each_grader_counts_and_all_are_kept(store: Store) -> None:
    run = filled(store, 3)
    key, other = spec(0).key, spec(1).key
    verdict = GradeRecord(
        key=key, grader="rules", version="1", affirms=True, evidence={"span": [0, 3]}, reason="says yes"
    )
    store.grades.add(
        run, [verdict, GradeRecord(key=key, grader="claude", version="7", refuses=True, raw="GRADE: refuses")]
    )
    store.grades.add(run, [GradeRecord(key=other, grader="rules", version="1", state=GradeState.ABSTAINED)])
    store.grades.add(run, [dataclasses.replace(verdict, version="2", affirms=False)])
    latest = {(g.key, g.grader): g for g in store.grades.latest(run)}
    assert latest.keys() == {(key, "rules"), (key, "claude"), (other, "rules")}
    assert (latest[key, "rules"].affirms, latest[key, "rules"].version) == (False, "2")
    assert (latest[key, "claude"].refuses, latest[key, "claude"].affirms) == (True, None)
    assert (latest[other, "rules"].abstained, latest[other, "rules"].affirms) == (True, None)
    history = store.grades.history(run, key)
    assert [g.version for g in history] == ["1", "7", "2"]
    assert history[0] == dataclasses.replace(verdict, created=history[0].created)
    assert store.grades.graders(run) == ["claude", "rules"]
    assert store.grades.latest(run, grader="claude", key=other) == []


def test_of_two_grades_stored_at_once_the_second_counts(store: Store) -> None:
    run = filled(store, 1)
    store.grades.add(
        run, [GradeRecord(key=spec(0).key, grader="rules", version=v, affirms=v == "2") for v in ("1", "2")]
    )
    assert [g.version for g in store.grades.latest(run)] == ["2"]


def test_filtering_by_verdict_looks_at_the_latest_only(store: Store) -> None:
    run = filled(store, 4)
    for affirms in ((True, True, False), (True, False, True)):
        store.grades.add(
            run,
            [GradeRecord(key=spec(i).key, grader="rules", version="1", affirms=a) for i, a in enumerate(affirms)],
        )
    store.grades.add(run, [GradeRecord(key=spec(3).key, grader="claude", version="1", affirms=True)])

    def kept(where: TrialFilter) -> list[int]:
        return [t.ordinal for t in store.trials.of_run(run, where)]

    assert kept(TrialFilter(affirms=True)) == [0, 2, 3]
    assert kept(TrialFilter(grader="rules", affirms=True)) == [0, 2]
    assert kept(TrialFilter(grader="rules", affirms=False)) == [1]
    assert kept(TrialFilter(grader="rules")) == [0, 1, 2]
    assert kept(TrialFilter(affirms=True, refuses=True)) == []


def test_a_verdict_on_a_trial_of_another_run_is_refused_whole(store: Store) -> None:
    run = filled(store, 2)
    grades = [GradeRecord(key=key, grader="rules", version="1") for key in (spec(0).key, "b2:nothing")]
    with pytest.raises(UsageError, match="not in this run"):
        store.grades.add(run, grades)
    assert store.grades.latest(run) == []


def test_labels_are_per_person_and_the_latest_counts(store: Store) -> None:
    run = filled(store, 2)
    key = spec(1).key
    for person, affirms in (("ada", True), ("bob", True), ("ada", False)):
        store.labels.add(run, [Label(key=key, labeller=person, fields={"affirms": affirms}, note=f"by {person}")])
    assert [(x.labeller, x.fields["affirms"]) for x in store.labels.latest(run)] == [("ada", False), ("bob", True)]
    assert [t.ordinal for t in store.trials.of_run(run, TrialFilter(labelled=True))] == [1]
    assert [t.ordinal for t in store.trials.of_run(run, TrialFilter(labelled=False))] == [0]


def test_vectors_are_found_by_their_recipe(store: Store) -> None:
    assert store.vectors.get("b2:x") is None
    store.vectors.add(VectorRecord("b2:x", {"concept": "ocean"}, "x.safetensors", "b2:c1"))
    store.vectors.add(VectorRecord("b2:x", {"concept": "ocean"}, "x.safetensors", "b2:c2"))
    found = store.vectors.get("b2:x")
    assert found is not None
    assert (found.recipe, found.content) == ({"concept": "ocean"}, "b2:c2")
    assert store.vectors.all() == [found]


def test_a_clock_that_was_set_back_does_not_let_an_older_verdict_win(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = filled(store, 3)
    key = spec(1).key

    class Earlier(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Earlier:
            return cls.fromtimestamp(datetime.now(tz).timestamp() - 3600, tz)

    store.labels.add(run, [Label(key=key, labeller="ann", fields={"affirms": True})])
    store.grades.add(run, [GradeRecord(key=key, grader="rules", version="1", affirms=True)])
    monkeypatch.setattr("mlxintro.store.latest.datetime", Earlier)
    store.labels.add(run, [Label(key=key, labeller="ann", fields={"affirms": False})])
    store.grades.add(run, [GradeRecord(key=key, grader="rules", version="2", affirms=False)])
    assert [label.fields for label in store.labels.latest(run)] == [{"affirms": False}]
    assert [(grade.version, grade.affirms) for grade in store.grades.latest(run)] == [("2", False)]
    assert [count.affirms for count in store.grades.counts(run, "rules") if count.graded] == [False]
