"""Estimates against what then happens, and power against simulation."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from statsmodels.stats.proportion import proportion_confint

from mlxintro.analysis.power import chance, power_of
from mlxintro.backends import registry
from mlxintro.backends.machine import footprint
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.cli.main import cli
from mlxintro.protocol.study import make_study
from mlxintro.rendering.estimate_text import estimate_lines
from mlxintro.running import launch
from mlxintro.running.preview.estimate import estimate, rows_for, workload_of
from mlxintro.store import Store


def study(**settings: object) -> launch.Checked:
    return launch.check(make_study(**{"model": "detector", "backend": "fake", "strengths": (2.0, 4.0), **settings}))


def test_an_estimate_counts_what_the_plan_holds() -> None:
    checked = study(layers=(3, 5), trials=4, controls=20)
    with FakeBackend("detector", batch_size=8) as backend:
        planned = launch.plan(checked, backend)
        found = estimate(checked, planned, backend)
        lengths = [len(prompt.tokens) for prompt in planned.prompts.values()]
    specs = list(planned)
    assert found.trials == len(specs)
    assert found.injected == sum(bool(spec.injections) for spec in specs) == 5 * 4 * 2 * 2
    assert (found.rows, found.batches) == (8, -(-len(specs) // 8))
    assert found.workload.prompt_tokens == max(lengths)
    assert found.power is not None
    assert (found.power.trials, found.power.controls) == (20, 20)


def test_what_is_shared_ends_where_the_first_injection_begins() -> None:
    with FakeBackend("detector") as backend:
        planned = launch.plan(study(trials=1, window="question"), backend)
    starts = {injection.start for spec in planned for injection in spec.injections}
    assert workload_of(planned).shared_prefix == min(starts) > 8


def test_an_estimate_of_a_simulated_subject_is_instant_and_leaves_nothing_behind() -> None:
    checked = study(trials=20)
    with FakeBackend("detector") as backend:
        planned = launch.plan(checked, backend)
        power_of(10, 10)  # loads statsmodels
        begun = time.process_time()
        estimate(checked, planned, backend)
        assert time.process_time() - begun < 1.0
        specs = list(islice(planned, 4))
        assert all(spec.max_tokens == checked.study.max_tokens for spec in specs)


def test_time_grows_with_the_batches_and_the_tokens() -> None:
    """A subject that sleeps in every step: what a run takes can be told beforehand."""
    checked = study(model="detector?delay=0.004", trials=3, controls=9, strengths=(2.0,), max_tokens=40)
    with FakeBackend("detector?delay=0.004", batch_size=10) as backend:
        planned = launch.plan(checked, backend)
        found = estimate(checked, planned, backend)
        batches = -(-len(planned) // 10)
        asleep = 0.004 * 40 * batches
        assert found.seconds.replies > 0.9 * asleep
        longer = [replace(spec, max_tokens=80) for spec in planned]
        twice = estimate(checked, replace(planned, expand=lambda: iter(longer)), backend)
    assert twice.seconds.replies > 0.9 * 2 * asleep  # a sleep is never shorter, however busy the machine


@pytest.mark.parametrize(("trials", "controls"), [(15, 15), (50, 50), (62, 62), (100, 40), (40, 100)])
def test_power_is_what_simulated_studies_find(trials: int, controls: int) -> None:
    """The rule is the one of ``stats``: Newcombe's interval of the difference lies above 0."""
    generator = np.random.default_rng(1)
    hits, alarms = generator.binomial(trials, 0.3, 50_000), generator.binomial(controls, 0.1, 50_000)
    lowest, _ = proportion_confint(hits, trials, method="wilson")
    _, highest = proportion_confint(alarms, controls, method="wilson")
    p, q = hits / trials, alarms / controls
    found = np.mean(p - q > np.sqrt((p - lowest) ** 2 + (highest - q) ** 2))
    assert chance(trials, controls) == pytest.approx(found, abs=0.02)


def test_power_agrees_with_the_books() -> None:
    # Fleiss, Levin and Paik 2003, equation 4.14 without continuity correction: 10 % against 30 %, 80 % power, 5 %.
    mean, difference = 0.2, 0.2
    a, b = 1.959964 * (2 * mean * (1 - mean)) ** 0.5, 0.841621 * (0.3 * 0.7 + 0.1 * 0.9) ** 0.5
    assert power_of(50, 50).needed == int(np.ceil(((a + b) / difference) ** 2))
    # The textbook's +-14 points at n = 50, of which Wilson's interval is a little inside.
    assert 0.12 < power_of(50, 50).margin <= 1.96 * (0.25 / 50) ** 0.5
    assert power_of(50, 0).power is None


def test_rows_follow_the_study_unless_somebody_chose_them(tiny: Callable[[str], Path]) -> None:
    with registry.open_backend(str(tiny("qwen2")), "torch", device="cpu") as backend:
        checked = study(model=str(tiny("qwen2")), backend="torch", layers=(1,), trials=1, max_tokens=20)
        planned = launch.plan(checked, backend)
        shape = backend.shape
        assert shape is not None
        work = workload_of(planned)
        backend.shape = replace(shape, cached=10**7)
        rows = rows_for(backend, planned)
        assert rows.bit_count() == 1
        assert rows * (work.prompt_tokens + 20) * 10**7 < backend.memory().free
        assert rows == 1 or 2 * rows * (work.prompt_tokens + work.shared_prefix + 64) * 10**7 > 0.3 * (
            backend.memory().free
        )
        backend.batch_size, backend.batch_size_given = 3, True
        assert rows_for(backend, planned) == 3


def test_a_prediction_is_split_by_cause_and_grows_with_each() -> None:
    shape = footprint.Shape(weights=10**9, cached=46_080, width=576, inner=1536, vocabulary=49_152, item=4)
    base = footprint.predict(shape, rows=8, prompt_tokens=121, new_tokens=60, shared_prefix=91)
    assert base.total == base.weights + base.cache + max(base.logits, base.activations)
    # Nothing can hold fewer bytes than every row's own keys and values, and its float32 logits.
    assert base.cache >= 8 * (121 + 60 - 1) * 46_080
    assert base.logits >= 8 * 49_152 * 4
    double = footprint.predict(shape, rows=16, prompt_tokens=121, new_tokens=60, shared_prefix=91)
    assert double.work == 2 * base.work


def test_the_memory_of_a_study_on_a_real_model_is_said_beside_its_weights() -> None:
    checked = study(layers=(3,))
    with FakeBackend("detector", batch_size=8) as backend:
        found = estimate(checked, launch.plan(checked, backend), backend)
    taken = footprint.Footprint(weights=2 * 10**9, cache=3 * 10**8, logits=10**8, activations=2 * 10**8)
    record = json.loads(json.dumps(replace(found, memory=taken, free=5 * 10**9).as_dict()))
    assert "memory:    about 500 MB beside 2.0 GB of weights; 5.0 GB are free" in estimate_lines(record)


def test_a_dry_run_says_what_it_would_take_and_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    command = ["--db", str(path), "run", "injected-thoughts", "--backend", "fake", "--trials", "10", "--dry-run"]
    said = CliRunner().invoke(cli, command)
    assert said.exit_code == 0, said.output
    for word in (
        "trials",
        "batches:",
        "time:      about",
        "power:     n = 50 per cell (95 % interval up to ±13 points)",
    ):
        assert word in said.stdout
    plain = json.loads(CliRunner().invoke(cli, [*command, "--json"]).stdout)
    assert {"trials", "rows", "batches", "memory", "free", "seconds", "power", "layers", "study"} <= plain.keys()
    assert plain["seconds"]["total"] > 0
    assert not path.exists() or not Store(path, read_only=True).runs.all()
