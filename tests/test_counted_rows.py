"""Figures of a run are the same from the store's counts as from one row for every trial, and memory stays flat."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from benchmarks.large_store import multiply
from mlxintro.analysis.arm_rates import arm_rates
from mlxintro.analysis.counted_rows import analysed_rows, example_rows
from mlxintro.analysis.published import compare
from mlxintro.analysis.reply_tally import trials_in
from mlxintro.analysis.run import analysis_of, display_of
from mlxintro.analysis.stats import Rate
from mlxintro.analysis.summary import summarise
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.grading.open_replies import waiting
from mlxintro.grading.passes import find_grader, grade_run, rows_of
from mlxintro.protocol.study import make_study
from mlxintro.rendering.report import PER_CLASS, examples_of
from mlxintro.replies.grade_terms import NAMING_LEVELS, GradeState
from mlxintro.running import launch
from mlxintro.store.records import GradeRecord, Label, Run
from mlxintro.store.store import Store

WORDS = ("dust", "trumpets", "cameras")
STUDIES: dict[str, dict[str, Any]] = {
    "plain": {"layers": (4, 5), "strengths": (2.0,), "trials": 4, "controls": 6},
    "every arm": {"layers": (5,), "strengths": (2.0,), "trials": 2, "controls": "full"},
    "standard": {"layers": (4, 5), "strengths": (2.0,), "trials": 3, "controls": "standard"},
}
LARGE = 3_000


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, dict[str, Run]]]:
    """Finished runs; beside the rules' verdicts there are drawn ones of every kind, some withdrawn later."""
    path = tmp_path_factory.mktemp("counted") / "mlxintro.db"
    with FakeBackend("detector?hit=0.6&fa=0.1") as backend, Store(path) as store:
        runs = {name: _ran(store, backend, name, settings) for name, settings in STUDIES.items()}
        runs["large"] = _large(store, runs["plain"])
        for run in runs.values():
            for seed in (1, 2):
                store.grades.add(run.id, _drawn(store, run, random.Random(seed)))
        for trial in list(store.trials.of_run(runs["large"].id, limit=60))[5::3]:
            fields = {"affirms": True} if trial.ordinal % 2 else {}
            store.labels.add(runs["large"].id, [Label(key=trial.key, labeller="me", fields=fields)])
        yield store, runs


def _ran(store: Store, backend: FakeBackend, name: str, settings: dict[str, Any]) -> Run:
    study = make_study(model=backend.info.model, backend="fake", unit="resid", concepts=WORDS, **settings)
    checked = launch.check(study)
    plan = launch.plan(checked, backend)
    run = launch.begin(store, checked, backend, plan, name)
    for _ in launch.execute(store, run, checked, plan, launch.prepare(store, backend, plan)):
        pass
    grade_run(store, run, find_grader("rules"))
    return store.runs.get(run.id)


def _large(store: Store, pattern: Run) -> Run:
    """A run of a few thousand trials like those of another one, over 100 cells."""
    run = store.runs.create(
        pattern.experiment, planned=LARGE, name="large", study=pattern.study, model=pattern.model, environment={}
    )
    store.prompts.add(run.id, store.prompts.of_run(pattern.id).values())
    with closing(sqlite3.connect(store.path, isolation_level="DEFERRED")) as db:
        multiply(db, pattern.id, run.id, LARGE)
    return store.runs.get(run.id)


def _drawn(store: Store, run: Run, rng: random.Random) -> list[GradeRecord]:
    """Verdicts of every kind on most replies; what they say is drawn."""
    found = []
    for trial in store.trials.of_run(run.id):
        if not trial.response or rng.random() < 0.2:
            continue
        found.append(
            GradeRecord(
                key=trial.key,
                grader="drawn",
                version=rng.choice(("1", "2")),
                affirms=rng.choice((True, False, False, None)),
                identifies=rng.choice((True, False, None)),
                named_before_affirming=rng.choice((True, False, False, None)),
                coherent=rng.choice((True, True, True, False, None)),
                refuses=rng.choice((False, False, False, True, None)),
                state=rng.choice((GradeState.SCORED,) * 6 + (GradeState.ABSTAINED, GradeState.UNSCORED)),
                naming=rng.choice((*NAMING_LEVELS, None)),
            )
        )
    return found


@pytest.mark.parametrize(
    ("name", "grader"),
    [("plain", "nobody"), ("every arm", "drawn"), ("every arm", "rules"), ("standard", "drawn"), ("large", "drawn")],
)
def test_the_analysis_of_counts_is_that_of_every_row(
    stored: tuple[Store, dict[str, Run]], name: str, grader: str
) -> None:
    store, runs = stored
    run = runs[name]
    every, counts = rows_of(store, run, grader), analysed_rows(store, run, grader)
    assert trials_in(counts) == len(every)
    assert analysis_of(store, run, grader, counts) == analysis_of(store, run, grader, every)
    assert summarise(counts).as_dict() == summarise(every).as_dict()
    assert _with_designs(arm_rates(counts)) == _with_designs(arm_rates(every))


def test_published_figures_stand_beside_the_same_cells(stored: tuple[Store, dict[str, Run]]) -> None:
    store, runs = stored
    run = runs["standard"]
    counts, every = (make(store, run, "drawn") for make in (analysed_rows, rows_of))
    assert compare(run, counts, "drawn") == compare(run, every, "drawn")


def _with_designs(found: Any) -> list[tuple[Any, ...]]:
    """Rates compare without their design effects; here these count too."""
    return [(one, *(share.design for share in one.shares.values() if isinstance(share, Rate))) for one in found]


@pytest.mark.parametrize("grader", ["rules", "drawn"])
def test_examples_are_the_first_replies_of_every_row(stored: tuple[Store, dict[str, Run]], grader: str) -> None:
    store, runs = stored
    for run in runs.values():
        found = example_rows(store, run, grader, (), PER_CLASS)
        shown = [(label, row.key, row.response) for label, row in examples_of(found, display_of(run))]
        every = examples_of(rows_of(store, run, grader), display_of(run))
        assert shown == [(label, row.key, row.response) for label, row in every]
        assert len(shown) > 2


def test_a_large_grid_comes_to_few_rows(stored: tuple[Store, dict[str, Run]]) -> None:
    store, runs = stored
    every, counts = (make(store, runs["large"], "rules") for make in (rows_of, analysed_rows))
    assert len(every) == LARGE
    assert len(counts) < LARGE / 4


@pytest.mark.parametrize("name", [*STUDIES, "large"])
def test_replies_that_wait_are_counted_as_they_are_listed(stored: tuple[Store, dict[str, Run]], name: str) -> None:
    store, runs = stored
    assert store.grades.waiting(runs[name].id) == len(waiting(store, runs[name]))
