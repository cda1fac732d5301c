"""Vectors carried to a rotated copy of a model do there what its own do; a permuted map's do not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from mlxintro.analysis.run import analysis_of
from mlxintro.backends.base import Backend
from mlxintro.backends.errors import UsageError
from mlxintro.backends.mlxlm import backend as mlx_backend
from mlxintro.backends.models import sources
from mlxintro.backends.pytorch import backend as torch_backend
from mlxintro.protocol import presets
from mlxintro.protocol.study import make_study
from mlxintro.running import launch
from mlxintro.store.records import Run
from mlxintro.store.store import Store
from mlxintro.vectors.alignment import AlignmentPlan, fit, read_model
from mlxintro.vectors.library import VectorLibrary, outcomes, with_references
from tests.rotated import make_rotated

CONCEPTS = ("ocean", "bread", "silence", "music", "fear", "celebration")


LOAD: dict[str, Callable[..., Backend]] = {"torch": torch_backend.load, "mlx": mlx_backend.load}


@contextmanager
def transferred(kind: Literal["torch", "mlx"], model_folder: Path, copy_folder: Path, home: Path) -> Iterator[Any]:
    """A finished run on the rotated copy of a tiny model, with what the model's vectors were carried to."""

    def load(folder: Path) -> Backend:
        return LOAD[kind](sources.resolve(str(folder), kind), device="cpu")

    plan = AlignmentPlan.of(CONCEPTS, presets.load("lindsey").extraction, layers=(2,), prompts=2)
    with load(model_folder) as model, load(copy_folder) as copy, Store(home / "mlxintro.db") as store:
        found = fit(read_model(model, plan), read_model(copy, plan), plan)
        VectorLibrary(store).bring_in(outcomes(found, "turned"))
        study = make_study(
            experiment="transfer", model=str(copy_folder), backend=kind, concepts=CONCEPTS, layers=(2,),
            strengths=(1.0,), max_tokens=4, options={"alignment": "turned", "prompts": 2},
        )  # fmt: skip
        checked = launch.check(with_references(study, store.path))
        planned = launch.plan(checked, copy)
        run = launch.begin(store, checked, copy, planned)
        session = launch.prepare(store, copy, planned)
        for _ in launch.execute(store, run, checked, planned, session):
            pass
        yield store, store.runs.get(run.id), checked, planned


@pytest.fixture(scope="module")
def stored(tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    home = tmp_path_factory.mktemp("transfer")
    make_rotated(tiny("qwen2"), home / "copy")
    with transferred("torch", tiny("qwen2"), home / "copy", home) as done:
        yield done


def figures(store: Store, run: Run) -> dict[str, Any]:
    return {figure.name: figure.value for figure in analysis_of(store, run, "rules").figures}


def test_the_carried_vector_is_the_copys_own_and_a_permuted_maps_is_not(stored: Any) -> None:
    found = figures(*stored[:2])
    assert found["cosine"].value > 0.99
    assert found["cosine"].count == len(CONCEPTS)
    assert found["cosine_own"].value == pytest.approx(1)
    assert abs(found["cosine_permuted"].value) < 0.25
    assert abs(found["cosine_unmapped"].value) < 0.25


def test_the_analysis_says_where_the_vectors_come_from(stored: Any) -> None:
    store, run, _, _ = stored
    remarks = analysis_of(store, run, "rules").remarks
    (found,) = [remark for remark in remarks if remark.startswith("carried over from ")]
    assert re.search(
        r"from \S*qwen2\S*, learned on \d+ words: layer 2 to 2 \(procrustes, cosine (1.00|0.99) on ", found
    )


def test_it_steers_as_the_own_does(stored: Any) -> None:
    """Two vectors of one norm and of cosine 0.99 do nearly the same, beside what unrelated ones do."""
    store, run, _, _ = stored
    by_arm: dict[str, dict[Any, float]] = {}
    for row in store.trials.of_run(run.id):
        if row.spec.detail["question"] != "steer" or not row.spec.injections:
            continue
        value = float(np.logaddexp.reduce(list(row.measurements["logprobs"].values())))
        by_arm.setdefault(row.spec.arm, {})[row.spec.trial, row.spec.detail["prompt"]] = value

    def gap(arm: str) -> float:
        return float(np.mean([abs(value - by_arm[arm][place]) for place, value in by_arm["own"].items()]))

    assert gap("") < 0.2 * gap("random")
    assert gap("") < 0.2 * gap("permuted")


def test_every_arm_injects_the_vector_it_says(stored: Any) -> None:
    _, _, checked, planned = stored
    content = {key: getattr(recipe, "content", "") for key, recipe in planned.recipes.items()}
    references = checked.study.vectors
    for spec in planned:
        for one in spec.injections:
            kind = {"": "", "random": "", "other": "", "permuted": "permuted/", "unmapped": "unmapped/"}.get(spec.arm)
            if kind is None:
                assert planned.recipes[one.vector].method == "word-minus-baseline"
                assert one.concept == spec.concept
                continue
            assert content[one.vector] == references[f"turned/{kind}{one.concept}"].content
            assert (one.concept == spec.concept) == (spec.arm != "other")
            assert (one.transform == "random") == (spec.arm == "random")


def test_an_alignment_without_a_concept_is_refused_with_the_way_out(stored: Any) -> None:
    store, run, checked, _ = stored
    with torch_backend.load(sources.resolve(run.study["model"], "torch"), device="cpu") as copy:
        study = checked.study.model_copy(update={"concepts": ("honey",)})
        with pytest.raises(UsageError, match=r"carries no vector of 'honey'.*vectors align"):
            launch.plan(launch.check(study), copy)
        other = checked.study.model_copy(update={"layers": (1,)})
        with pytest.raises(UsageError, match="only layer 2"):
            launch.plan(launch.check(other), copy)
    assert store.runs.get(run.id).state == "done"


def steered(store: Store, run: Run) -> dict[Any, list[float]]:
    """Log-probabilities of the names, by the trial's place in the plan."""
    return {
        (row.spec.arm, row.spec.concept, row.spec.trial, row.spec.detail["prompt"], bool(row.spec.injections)): list(
            row.measurements["logprobs"].values()
        )
        for row in store.trials.of_run(run.id)
        # Random vectors are drawn by the recipe's key, which names the backend.
        if row.spec.detail["question"] == "steer" and row.spec.arm != "random"
    }


@pytest.mark.slow
def test_on_mlx_vectors_are_carried_and_steer_as_on_pytorch(
    stored: Any, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    store, run, _, _ = stored
    expected = steered(store, run)
    with transferred("mlx", tiny("qwen2"), Path(run.study["model"]), tmp_path) as (other, on_mlx, _, _):
        found = steered(other, on_mlx)
        one, two = figures(store, run), figures(other, on_mlx)
    assert list(found) == list(expected)
    assert len(expected) > 50
    for place, theirs in expected.items():
        np.testing.assert_allclose(found[place], theirs, atol=2e-3)
    assert set(one) == set(two)
    for name in ("cosine", "cosine_permuted", "cosine_unmapped", "cosine_other"):
        assert two[name].value == pytest.approx(one[name].value, abs=1e-3)
