"""The benchmark's arithmetic, by hand; how fast anything is, is not a matter for a test."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import pytest

from mlxintro.backends.errors import UsageError
from mlxintro.backends.machine.roofline import Roofline
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.tools import bench

MACHINE = Roofline(
    bandwidth=1e9,
    matmul=1e12,
    weight_bytes=500_000_000,
    block_parameters=1_000_000,
    head_parameters=50_000,
    cache_bytes=2_000,
)


def test_the_floor_of_a_single_token_is_reading_the_weights() -> None:
    # 500 MB and 100 cached positions of 2 kB at 1 GB/s; the 2.1 million operations take 2 microseconds.
    assert bench.floor_seconds(MACHINE, bench.TimedPass(1, 1, 100)) == pytest.approx(0.5002)


def test_the_floor_of_a_long_prompt_is_its_products() -> None:
    # 2 x (1e6 x 1e6 + 5e4) operations at 1e12 per second.
    assert bench.floor_seconds(MACHINE, bench.TimedPass(1_000_000, 1, 0)) == pytest.approx(2.0000001)


def test_passes_read_the_shared_prompt_once_and_follow_the_rows_that_are_left() -> None:
    passes = list(bench.passes(rows=2, length=10, shared=7, fed_back=[1, 3]))
    assert passes == [
        bench.TimedPass(7, 0, 0),
        bench.TimedPass(2 * 3, 2, 2 * 7),
        bench.TimedPass(2, 2, 2 * 10),
        bench.TimedPass(1, 1, 11),
        bench.TimedPass(1, 1, 12),
    ]


def test_the_cost_of_injection_is_the_median_ratio_of_neighbouring_runs() -> None:
    ticks = itertools.count()
    report = bench.measure(FakeBackend("detector"), batches=(2,), tokens=4, repeats=3, clock=lambda: float(next(ticks)))
    # Every timing takes one tick of this clock, so injection costs nothing.
    assert [cost.trial for cost in report.costs] == [1.0]
    assert [(one.rows, one.injected, one.trial_rate) for one in report.speeds] == [(2, False, 2.0), (2, True, 2.0)]
    assert report.roofline is None


def test_a_benchmark_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 1 row"):
        bench.measure(FakeBackend("detector"), batches=())


def test_the_command_prints_one_json_object() -> None:
    command = [
        sys.executable,
        "-m",
        "mlxintro",
        "bench",
        "--backend",
        "fake",
        "--batches",
        "1,2",
        "--tokens",
        "3",
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    assert [(one["rows"], one["injected"]) for one in report["speeds"]] == [
        (1, False),
        (1, True),
        (2, False),
        (2, True),
    ]
    assert all(one["tokens"] == 3 * one["rows"] for one in report["speeds"])
