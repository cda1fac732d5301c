"""Filters and pages of a run against the plain functions: what SQL finds is what reading every trial finds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest

from mlxintro.grading.disagreements import contradictions
from mlxintro.grading.passes import from_record
from mlxintro.rendering.verdict_words import in_words
from mlxintro.replies.grade_terms import GradeState
from mlxintro.store import Finished, GradeRecord, Label, Store, TrialFilter
from mlxintro.store.searching.filter_plan import Route
from tests.plans import outcome, plan

THREE = (None, False, True)


def _every_verdict(key: Iterator[str], grader: str) -> list[GradeRecord]:
    """Every combination of the five fields and of abstaining, one per trial."""
    return [
        GradeRecord(
            key=next(key),
            grader=grader,
            version="1",
            affirms=affirms,
            identifies=identifies,
            named_before_affirming=first,
            coherent=coherent,
            refuses=refuses,
            state=state,
        )
        for affirms, identifies, first, coherent, refuses in product(THREE, repeat=5)
        for state in (GradeState.SCORED, GradeState.ABSTAINED)
    ]


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """486 trials with every verdict by one grader, every one shifted by 7 by another, and 14 without any."""
    with Store(tmp_path_factory.mktemp("pages") / "mlxintro.db") as store:
        run = store.runs.create("injected-thoughts", planned=500, name="r", model={"model": "x"})
        store.trials.add(run.id, [Finished(i, s, outcome(s, f"Reply {i}.")) for i, s in enumerate(plan(500))])
        keys = [trial.key for trial in store.trials.of_run(run.id)]
        # An earlier verdict that no longer counts.
        store.grades.add(
            run.id, [GradeRecord(key=key, grader="rules", version="0", coherent=False) for key in keys[:486]]
        )
        store.grades.add(run.id, _every_verdict(iter(keys), "rules"))
        store.grades.add(run.id, _every_verdict(iter(keys[7:493]), "claude"))
        yield store


def _ordinals(store: Store, where: TrialFilter) -> list[int]:
    run = store.runs.all()[0].id
    route = store.browse.route(run, where)
    stretches = [replace(route, start=at, stop=min(route.stop, at + 97)) for at in range(route.start, route.stop, 97)]
    rows = [row for stretch in stretches for row in store.browse.matching(run, where, stretch)]
    return [seen.trial.ordinal for seen in store.browse.seen(run, rows)]


@pytest.mark.parametrize("grader", ["rules", "claude"])
def test_classes_are_those_of_the_words(graded: Store, grader: str) -> None:
    run = graded.runs.all()[0].id
    verdicts = {grade.key: grade for grade in graded.grades.latest(run, grader=grader)}
    expected: dict[str, list[int]] = {}
    for trial in graded.trials.of_run(run):
        expected.setdefault(in_words(verdicts.get(trial.key)), []).append(trial.ordinal)
    assert len(expected) == 10
    for verdict, ordinals in expected.items():
        assert _ordinals(graded, TrialFilter(grader=grader, verdict=verdict)) == ordinals, verdict


def test_disputed_are_those_that_contradict_each_other(graded: Store) -> None:
    run = graded.runs.all()[0].id
    by_key: dict[str, list[GradeRecord]] = {}
    for grade in graded.grades.latest(run):
        by_key.setdefault(grade.key, []).append(grade)
    expected = [
        trial.ordinal
        for trial in graded.trials.of_run(run)
        if contradictions([from_record(grade) for grade in by_key.get(trial.key, [])])
    ]
    assert 0 < len(expected) < 486
    assert _ordinals(graded, TrialFilter(disputed=True)) == expected
    everything = set(range(500))
    assert set(_ordinals(graded, TrialFilter(disputed=False))) == everything - set(expected)


def test_plain_filters_text_and_their_combination(graded: Store) -> None:
    run = graded.runs.all()[0].id
    trials = list(graded.trials.of_run(run))
    wanted = TrialFilter(condition="injected", concept="bread", layer=5, strength=2.0, text="REPLY 1")
    expected = [
        t.ordinal
        for t in trials
        if (t.condition, t.concept, t.layer, t.strength) == ("injected", "bread", 5, 2.0) and "eply 1" in t.response
    ]
    assert expected
    assert _ordinals(graded, wanted) == expected
    assert [t.ordinal for t in graded.trials.of_run(run, wanted)] == expected


def test_a_withdrawn_label_does_not_count(graded: Store) -> None:
    run = graded.runs.all()[0].id
    first, second = (trial.key for trial in graded.trials.of_run(run, limit=2))
    graded.labels.add(run, [Label(key=key, labeller="ada", fields={"affirms": True}) for key in (first, second)])
    graded.labels.add(run, [Label(key=second, labeller="ada", fields={})])
    assert _ordinals(graded, TrialFilter(labelled=True)) == [0]
    assert len(_ordinals(graded, TrialFilter(labelled=False))) == 499
    (one, two) = graded.browse.seen(run, graded.browse.matching(run, TrialFilter(), Route(0, 2)))
    assert [label.labeller for label in one.labels] == ["ada"]
    assert two.labels == ()
    assert [grade.grader for grade in two.grades] == ["rules"]


def test_choices_are_the_values_there_are(graded: Store) -> None:
    run = graded.runs.all()[0].id
    trials = list(graded.trials.of_run(run))
    choices = graded.browse.choices(run)
    assert choices.concepts == tuple(sorted({t.concept for t in trials if t.concept}))
    assert choices.layers == tuple(sorted({t.layer for t in trials if t.layer is not None}))
    assert choices.strengths == tuple(sorted({t.strength for t in trials if t.strength is not None}))
    assert (choices.arms, choices.graders) == (("",), ("claude", "rules"))
    assert graded.browse.route(run, TrialFilter()) == Route(0, 500)
    keys = [trials[3].key, trials[1].key, "b2:gone"]
    assert [t.ordinal for t in graded.trials.by_keys(run, keys)] == [3, 1]
    assert graded.trials.keys(run, TrialFilter(layer=4)) == sorted(t.key for t in trials if t.layer == 4)
