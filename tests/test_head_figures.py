"""Head figures, which displays show, are the figures of the full analysis, for every experiment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from mlxintro import experiments
from mlxintro.analysis.head_figures import CLAIMS_DISPLAY
from mlxintro.analysis.run import analysis_of, display_of, tally_of
from mlxintro.analysis.stats import Rate
from mlxintro.analysis.tally import CellTally, RunTally
from mlxintro.analysis.trial_classes import GRADED_CLASSES, graded_class
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.grading.base import Grade
from mlxintro.grading.passes import find_grader, grade_run, rows_of
from mlxintro.protocol.study import make_study
from mlxintro.replies.grade_terms import GradeState
from mlxintro.running import launch
from mlxintro.store.records import Run
from mlxintro.store.store import Store

WORDS = ("dust", "trumpets", "cameras", "lightning")
STUDIES: dict[str, dict[str, Any]] = {
    "ablation": {"trials": 2},
    "patching": {},
    "transfer": {},
    "injected-thoughts": {"layers": (4, 5), "strengths": (2.0,), "trials": 2},
    "thought-vs-text": {},
    "prefill": {},
    "forced-identification": {"layers": (4, 5)},
    "localization": {},
    "latent": {"options": {"through": None, "framings": ["accurate"], "infos": ["none"], "orders": 1}},
    "intentional-control": {"options": {"band": 4, "centre": 3}},
}
INBAND: dict[str, Any] = {"layers": (5,), "strengths": (2.0,), "unit": "resid", "concepts": WORDS}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, dict[str, Run]]]:
    """One finished run of every experiment on a subject that notices half of the time."""
    path = tmp_path_factory.mktemp("heads") / "mlxintro.db"
    runs = {}
    with FakeBackend("detector?hit=0.6") as backend, Store(path) as store:
        for name, settings in STUDIES.items():
            study = make_study(experiment=name, model=backend.info.model, backend="fake", **{**INBAND, **settings})
            checked = launch.check(study)
            plan = launch.plan(checked, backend)
            run = launch.begin(store, checked, backend, plan)
            session = launch.prepare(store, backend, plan)
            for _ in launch.execute(store, run, checked, plan, session):
                pass
            if checked.experiment.graded:
                grade_run(store, run, find_grader("rules"))
            runs[name] = run
        yield store, runs


def test_every_experiment_declares_what_displays_show() -> None:
    assert set(STUDIES) == set(experiments.names())
    for name in experiments.names():
        experiment = experiments.find(name)
        display = experiment.display(experiment.preset_of(make_study(experiment=name, model="m")))
        assert display.figures, name
        assert display.figures[0].baseline is not None
        for class_ in display.classes:
            assert len(class_.sign) == 1
        assert len({class_.label for class_ in display.classes}) == len(display.classes)


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_head_figures_are_those_of_the_analysis(stored: tuple[Store, dict[str, Run]], name: str) -> None:
    store, runs = stored
    tally = tally_of(store, runs[name], "rules")
    analysis = analysis_of(store, runs[name], "rules")
    compared = 0
    for at, head in enumerate(tally.display.figures):
        for group, counted in ((head.case, tally.case), (head.baseline, tally.baseline)):
            if group is None or not group.figure:
                continue
            figure = analysis.figure(group.figure)
            assert figure is not None, group.figure
            assert counted.figures[at].value == figure.value
            assert counted.figures[at].observations > 0
            compared += 1
    assert compared >= 2


@pytest.mark.parametrize("name", sorted(set(STUDIES) - {"intentional-control", "patching"}))
def test_cells_hold_the_figures_of_the_heat_map(stored: tuple[Store, dict[str, Run]], name: str) -> None:
    store, runs = stored
    tally = tally_of(store, runs[name], "rules")
    (heat, *_) = analysis_of(store, runs[name], "rules").heat_maps
    assert {cell: one.figures[0].value for cell, one in tally.cells.items()} == dict(heat.cells)


def test_counts_made_by_the_store_give_what_the_trials_give(stored: tuple[Store, dict[str, Run]]) -> None:
    store, runs = stored
    run = runs["injected-thoughts"]
    counted = tally_of(store, run, "rules")
    summed = RunTally.of_rows(display_of(run), rows_of(store, run, "rules"))

    def plain(tally: CellTally) -> tuple[object, ...]:
        return tally.trials, tally.classes, [(one.hits, one.observations) for one in tally.figures]

    assert counted.case.trials == 16
    for one, other in ((counted.case, summed.case), (counted.baseline, summed.baseline)):
        assert plain(one) == plain(other)
    assert {cell: plain(one) for cell, one in counted.cells.items()} == {
        cell: plain(one) for cell, one in summed.cells.items()
    }


def test_every_trial_has_a_class_of_its_experiment(stored: tuple[Store, dict[str, Run]]) -> None:
    store, runs = stored
    for name, run in runs.items():
        display = display_of(run)
        found = Counter(display.classify(row) for row in rows_of(store, run, "rules"))
        assert set(found) <= set(display.classes), name
        if name not in ("intentional-control", "patching"):
            assert len(found) > 1, name


def test_forced_identification_is_not_shown_by_its_claims(stored: tuple[Store, dict[str, Run]]) -> None:
    store, runs = stored
    tally = tally_of(store, runs["forced-identification"], "rules")
    named = tally.case.figures[0].value
    assert isinstance(named, Rate)
    assert named.value is not None
    assert named.value > 0.2
    assert tally.display.figures[0].label == "names it"


def test_every_grade_has_one_class_and_rates_follow_from_the_classes() -> None:
    values = (True, False, None)
    for fields in product(values, values, values, values, values, GradeState):
        grade = Grade(*fields)
        class_ = graded_class(grade, injected=True)
        assert class_ in GRADED_CLASSES
        if grade.detects and grade.state is GradeState.SCORED:
            assert class_.role in ("hit", "partial")
            assert graded_class(grade, injected=False).role == "alarm"
        elif class_.role in ("hit", "partial"):
            pytest.fail(f"{grade} does not detect and is shown as {class_.label}")
        if grade.success:
            assert class_.role == "hit"


def test_the_display_of_claims_tells_signs_apart_by_role() -> None:
    roles: dict[str, set[str]] = {}
    for class_ in CLAIMS_DISPLAY.classes:
        roles.setdefault(class_.sign, set()).add(class_.role)
    assert all(len(found) == 1 for found in roles.values())


def test_a_run_of_a_folder_that_is_gone_is_no_matter(tmp_path: Path) -> None:
    """Reading figures needs the stored run alone: no model, and nothing but the preset's wording."""
    with Store(tmp_path / "mlxintro.db") as store:
        run = store.runs.create("latent", planned=0, name="r", study={}, model={"model": "x"}, environment={})
        assert tally_of(store, run, "rules").case.trials == 0
