"""Simulated subjects through the whole of ``certify``: dose, calibration, plan, run, grades, ladder.

Nothing is drawn by the test: every subject is a model to the command, with a residual stream that is injected into.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mlxintro.ladder.rungs import rungs_of
from tests.cli import mlxintro

SMALL = ("--concepts", "ocean,bread,fear,music,silver,trees,milk,rain", "--repeats", "3")


@dataclass(frozen=True)
class Expected:
    """Where a subject stands on the ladder."""

    subject: str
    kind: str
    left: str | None
    """The lowest rung that is not excluded; ``None`` for an introspector."""


SUBJECTS = (
    Expected("null", "no effect shown", "chance"),
    Expected("refuser", "no effect shown", "chance"),
    Expected("steering-only", "steering only", "chance"),
    Expected("yes-biased", "yes-bias", "chance"),
    Expected("biased", "yes-bias", "yes-bias"),
    Expected("compressed", "compression", "yes-bias"),
    Expected("disturbed", "any disturbance", "any disturbance"),
    Expected("text-reader", "text alone", "text alone"),
    Expected("habitual", "anomaly noticed but not named", "naming by luck"),
    Expected("echo", "own words", "own words"),
    Expected("detector?hit=0.95", "introspective identification", None),
    Expected("detector?hit=0.95&think=1&notes=1", "text alone", "own notes"),
    Expected("detector?hit=0.95&think=1&notes=0", "introspective identification", None),
)
QUICK = ("disturbed",)
"""The introspector goes through the command in ``tests/test_certify.py``."""


def certified(subject: str, home: Path) -> dict[str, Any]:
    thinking = ("--thinking", "on", "--thinking-tokens", "60") if "think=" in subject else ()
    flags = ("--backend", "fake", "--max-tokens", "40", "--json", *thinking, *SMALL)
    result = mlxintro(home, "certify", "-m", subject, *flags)
    assert result.code == 0, result.err
    return result.lines[-1]


def check(expected: Expected, home: Path) -> None:
    found = certified(expected.subject, home)
    rungs = {rung["name"]: rung for rung in found["ladder"]["rungs"]}
    assert tuple(rungs) == rungs_of(thinks="think=" in expected.subject)
    left = [name for name, rung in rungs.items() if rung["state"] == "not excluded"]
    assert found["verdict"]["kind"] == expected.kind, found["verdict"]["evidence"]
    assert (left[0] if left else None) == expected.left
    assert bool(expected.left) != (found["verdict"]["kind"] == "introspective identification")


@pytest.mark.parametrize("expected", [one for one in SUBJECTS if one.subject in QUICK], ids=lambda one: one.subject)
def test_certify_gives_a_simulated_subject_its_own_rung(expected: Expected, tmp_path: Path) -> None:
    check(expected, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("expected", SUBJECTS, ids=lambda one: one.subject)
def test_certify_gives_every_simulated_subject_its_own_rung(expected: Expected, tmp_path: Path) -> None:
    check(expected, tmp_path)
