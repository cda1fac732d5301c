"""Figures of a run are the same from the store's counts as from one row for every trial, and memory stays flat."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from benchmarks.large_store import multiply
from mlxintro.analysis.across.published import compare
from mlxintro.analysis.arm_rates import arm_rates
from mlxintro.analysis.counted_rows import analysed_rows, example_rows
from mlxintro.analysis.reply_tally import trials_in
from mlxintro.analysis.run import analysis_of, display_of
from mlxintro.analysis.stats import Rate
from mlxintro.analysis.summary import summarise
from mlxintro.backends.errors import KnownError
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.grading.open_replies import waiting
from mlxintro.grading.passes import find_grader, grade_run, rows_of
from mlxintro.protocol.study import make_study
from mlxintro.rendering.report import PER_CLASS, examples_of
from mlxintro.replies.grade_terms import NAMING_LEVELS, GradeState
from mlxintro.running import launch
from mlxintro.store.records import GradeRecord, Label, Run, TrialFilter
from mlxintro.store.store import Store

WORDS = ("dust", "trumpets", "cameras")
STUDIES: dict[str, dict[str, Any]] = {
    "plain": {"layers": (4, 5), "strengths": (2.0,), "trials": 4, "controls": 6},
    "every arm": {"layers": (5,), "strengths": (2.0,), "trials": 2, "controls": "full"},
    "standard": {"layers": (4, 5), "strengths": (2.0,), "trials": 3, "controls": "standard"},
}
LARGE = 3_000


class Runs:
    """Finished runs, each made when it is asked for; beside the rules' verdicts they have drawn ones of every kind."""

    def __init__(self, store: Store, backend: FakeBackend) -> None:
        self.store = store
        self._backend = backend
        self._made: dict[str, Run] = {}

    def __getitem__(self, name: str) -> Run:
        if name not in self._made:
            large = name == "large"
            run = _large(self.store, self["plain"]) if large else _ran(self.store, self._backend, name, STUDIES[name])
            # Twice, so that some verdicts are taken back.
            for seed in (1, 2):
                self.store.grades.add(run.id, _drawn(self.store, run, random.Random(seed)))
            if large:
                for trial in list(self.store.trials.of_run(run.id, limit=60))[5::3]:
                    fields = {"affirms": True} if trial.ordinal % 2 else {}
                    self.store.labels.add(run.id, [Label(key=trial.key, labeller="me", fields=fields)])
            self._made[name] = self.store.runs.get(run.id)
        return self._made[name]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    path = tmp_path_factory.mktemp("counted") / "mlxintro.db"
    with FakeBackend("detector?hit=0.6&fa=0.1") as backend, Store(path) as store:
        yield Runs(store, backend)


SLOW = pytest.mark.slow


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
    [
        ("plain", "nobody"),
        ("large", "drawn"),
        pytest.param("standard", "drawn", marks=SLOW),
        pytest.param("every arm", "drawn", marks=SLOW),
        pytest.param("every arm", "rules", marks=SLOW),
    ],
)
def test_the_analysis_of_counts_is_that_of_every_row(stored: Runs, name: str, grader: str) -> None:
    store, run = stored.store, stored[name]
    every, counts = rows_of(store, run, grader), analysed_rows(store, run, grader)
    assert trials_in(counts) == len(every)
    assert analysis_of(store, run, grader, counts) == analysis_of(store, run, grader, every)
    assert summarise(counts).as_dict() == summarise(every).as_dict()
    assert _with_designs(arm_rates(counts)) == _with_designs(arm_rates(every))


@SLOW
def test_published_figures_stand_beside_the_same_cells(stored: Runs) -> None:
    store, run = stored.store, stored["standard"]
    counts, every = (make(store, run, "drawn") for make in (analysed_rows, rows_of))
    assert compare(run, counts, "drawn") == compare(run, every, "drawn")


def _with_designs(found: Any) -> list[tuple[Any, ...]]:
    """Rates compare without their design effects; here these count too."""
    return [(one, *(share.design for share in one.shares.values() if isinstance(share, Rate))) for one in found]


@pytest.mark.parametrize("grader", ["rules", "drawn"])
def test_examples_are_the_first_replies_of_every_row(stored: Runs, grader: str) -> None:
    store = stored.store
    for run in (stored["plain"], stored["large"]):
        found = example_rows(store, run, grader, (), PER_CLASS)
        shown = [(label, row.key, row.response) for label, row in examples_of(found, display_of(run))]
        every = examples_of(rows_of(store, run, grader), display_of(run))
        assert shown == [(label, row.key, row.response) for label, row in every]
        assert len(shown) > 2


def test_a_large_grid_comes_to_few_rows(stored: Runs) -> None:
    every, counts = (make(stored.store, stored["large"], "rules") for make in (rows_of, analysed_rows))
    assert len(every) == LARGE
    assert len(counts) < LARGE / 4


@pytest.mark.parametrize("name", ["plain", "large"])
def test_replies_that_wait_are_counted_as_they_are_listed(stored: Runs, name: str) -> None:
    store, run = stored.store, stored[name]
    assert store.grades.waiting(run.id) == len(waiting(store, run))


def test_a_specification_that_cannot_be_read_is_told_in_a_line(stored: Runs) -> None:
    store, run = stored.store, stored["plain"]
    pool = next(store.trials.of_run(run.id, TrialFilter(arm="", condition="control")))
    with store.database.write() as db:
        db.execute("UPDATE trials SET spec = '{' WHERE run = ? AND key = ?", (run.id, pool.key))
    try:
        with pytest.raises(KnownError, match="its spec cannot be read, the row is damaged"):
            analysed_rows(store, run, "rules")
    finally:
        with store.database.write() as db:
            db.execute("UPDATE trials SET spec = ? WHERE run = ? AND key = ?", (pool.spec_json, run.id, pool.key))
