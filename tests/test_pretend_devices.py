"""A model over two devices says and proves what it says on the CPU, and one thing a step waits for the device."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.families import build
from tests.matrix import each_family

ROOT = Path(__file__).parents[1]


CARRYING = ("mamba", "lfm2", "qwen3_next", "falcon_h1", "zamba2")
"""Families whose layers carry a state: alone, beside attention, in some layers, with experts."""


def in_slow_tests(*families: str) -> list[Any]:
    return [pytest.param(family, marks=pytest.mark.slow) for family in families]


@pytest.fixture(scope="module", params=[*each_family("llama", "qwen3"), *in_slow_tests("gemma3", *CARRYING)])
def told(
    request: pytest.FixtureRequest,
    tiny: Callable[[str], Path],
    made_once: Callable[[str, Callable[[Path], object]], Path],
) -> Any:
    family = request.param
    folder = made_once(f"states-{family}", partial(build, family)) if family in CARRYING else tiny(family)
    done = subprocess.run(
        [sys.executable, "-m", "tests.pretend_devices", str(folder)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("what", ["tokens", "proofs"])
def test_two_devices_say_and_prove_what_the_cpu_does(told: Any, what: str) -> None:
    assert told["found"][what] == told["expected"][what]
    assert any(told["expected"][what])


@pytest.mark.parametrize("what", ["changes", "captured", "lens", "scores"])
def test_two_devices_measure_what_the_cpu_does(told: Any, what: str) -> None:
    np.testing.assert_allclose(told["found"][what], told["expected"][what], rtol=1e-4, atol=1e-4)


def test_a_step_waits_for_the_device_once(told: Any) -> None:
    """Ten more steps are ten more waits: for the tokens, which the host has to know."""
    short, long = told["waits"]["4"], told["waits"]["14"]
    assert len(long) - len(short) == 10
    assert long.count("tolist") == 14
    # Beside the tokens the proofs, once.
    assert len(long) <= 14 + 2
