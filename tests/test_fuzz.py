"""A part of the inputs that chance changes; all of them by ``python -m tests.fuzz`` and with ``-m slow``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import COUNTS, SEED, prepare, run
from tests.fuzz_inputs import KINDS


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("MLXINTRO_HOME", str(tmp_path))
    prepare(tmp_path)
    return tmp_path


@pytest.mark.parametrize("part", [0.02, pytest.param(1.0, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
@pytest.mark.parametrize("kind", KINDS)
def test_inputs_that_chance_has_changed_are_a_result_or_one_line(kind: str, part: float, folder: Path) -> None:
    assert run(kind, SEED, round(COUNTS[kind] * part), folder) == []


def test_the_fuzzer_tells_a_traceback_and_a_hang(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object) -> None:
        raise ValueError("odd")

    def hanging(*_: object) -> None:
        while True:
            pass

    monkeypatch.setitem(KINDS, "configs", wrong)
    assert run("configs", 1, 2, folder) == [f"configs {at} (seed 1): ValueError: odd" for at in (0, 1)]
    monkeypatch.setitem(KINDS, "configs", hanging)
    monkeypatch.setattr("tests.fuzz.SECONDS", 0.05)
    (line,) = run("configs", 1, 1, folder)
    assert "HangError" in line


def test_every_kind_has_its_share_of_ten_thousand() -> None:
    assert set(COUNTS) == set(KINDS)
    assert sum(COUNTS.values()) == 10_000
