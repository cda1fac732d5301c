"""Plans of very many trials: they expand as they are read, and a run's memory does not grow with its length."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from mlxintro import experiments
from mlxintro.backends.base import OnToken
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.protocol.study import make_study
from mlxintro.protocol.trials import Outcome, TrialSpec
from mlxintro.running import launch
from mlxintro.running.events import TrialFinished
from mlxintro.running.runner import run_trials
from mlxintro.store import Store
from tests.plans import outcome, spec


def answers(specs: Sequence[TrialSpec], on_token: OnToken | None) -> Iterator[Outcome]:
    yield from (outcome(s) for s in specs)


def test_a_hundred_thousand_trials_expand_and_are_not_held() -> None:
    settings = {"layers": tuple(range(8)), "strengths": (1.0, 2.0, 4.0, 8.0), "trials": 625, "controls": 0}
    checked = launch.check(make_study(model="detector", backend="fake", **settings))
    with FakeBackend("detector") as backend:
        planned = launch.plan(checked, backend)
        assert sum(1 for _ in planned) == len(planned) == 5 * 625 * 32
    tracemalloc.start()
    assert sum(1 for _ in islice(planned, 20_000)) == 20_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize("experiment", sorted({*experiments.names()} - {"injected-thoughts", "intentional-control"}))
def test_every_experiment_expands_as_it_is_read(experiment: str) -> None:
    grid = {"layers": tuple(range(4)), "strengths": (1.0, 2.0), "temperature": 1.0, "concepts": ("set:lindsey-50",)}
    options: dict[str, Any] = {"options": {"through": None}} if experiment == "latent" else {}

    study = make_study(experiment=experiment, model="null", backend="fake", trials=4, **grid, **options)
    with FakeBackend("null") as backend:
        plan = launch.plan(launch.check(study), backend)
        tracemalloc.start()
        held = [tracemalloc.get_traced_memory()[0] for _ in islice(plan, 2_000)]
        tracemalloc.stop()
    assert len(held) == 2_000
    assert max(held) < 1_000_000


def test_intentional_control_expands_as_it_is_read() -> None:
    study = {"experiment": "intentional-control", "concepts": ("ocean", "bread"), "trials": 40}
    with FakeBackend("null") as backend:
        checked = launch.check(make_study(model="null", backend="fake", options={"band": 4, "centre": 2}, **study))
        plan = launch.plan(checked, backend)
        tracemalloc.start()
        assert sum(1 for _ in plan) == len(plan) == 2 * 40 * 15
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize("count", [4_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_memory_is_flat_as_a_run_goes_on(tmp_path: Path, count: int) -> None:
    """Nothing of a finished trial is kept."""
    with Store(tmp_path / "store.db") as store:
        run = store.runs.create("injected-thoughts", planned=count).id
        held: list[int] = []
        with Store(tmp_path / "store.db"):
            pass  # The watch over a run opens a second one after a second, which fills caches of the process.
        tracemalloc.start()
        for event in run_trials(store, run, (spec(i) for i in range(count)), answers, batch_size=32):
            if isinstance(event, TrialFinished) and event.ordinal % (count // 4) == count // 8:
                held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert store.runs.get(run).done == count
    assert len(held) == 4
    assert (held[-1] - held[0]) / (0.75 * count) < 8, "bytes per trial"
