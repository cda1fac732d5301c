"""How many trials run together: chosen by a person, kept by a run, and halved after a session that was killed."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli import RUN, events, mlxintro, started, until

LONG = (
    *("run", "injected-thoughts", "--backend", "fake", "-m", "detector?delay=0.05", "--no-grade"),
    *("--concepts", "ocean,fear", "--strengths", "2,4", "--trials", "20", "--controls", "0", "--name", "long"),
)


def rows_of(home: Path) -> int:
    with closing(sqlite3.connect(home / "mlxintro.db")) as db:
        (size,) = db.execute("SELECT batch_size FROM runs").fetchone()
    return int(size)


def ended_by(home: Path, how: signal.Signals) -> None:
    """Start a run and end it in the middle of its first block."""
    process = started(home, *LONG, "--batch-size", "8", "--json")
    until(events(process), "TrialFinished")
    process.send_signal(how)
    process.communicate(timeout=60)


def test_a_run_keeps_the_size_it_was_given(tmp_path: Path) -> None:
    done = mlxintro(tmp_path, *RUN, "--concepts", "ocean", "--trials", "2", "--batch-size", "5")
    assert done.code == 0
    assert rows_of(tmp_path) == 5


def killed_before_the_next_trial(home: Path) -> None:
    """Go on with the run and kill it in the block that it was killed in before, with no trial more."""
    process = started(home, "run", "--resume", "long", "--json")
    until(events(process), "BatchStarted")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)


def test_after_a_kill_the_blocks_stay_as_long_so_that_texts_agree(tmp_path: Path) -> None:
    ended_by(tmp_path, signal.SIGKILL)
    resumed = mlxintro(tmp_path, "run", "--resume", "long")
    assert resumed.code == 0
    assert "was killed in the middle of a block: going on with blocks of the same 8 rows" in resumed.err
    assert rows_of(tmp_path) == 8


def test_after_two_kills_at_one_place_half_as_many_rows_run_and_it_is_said(tmp_path: Path) -> None:
    ended_by(tmp_path, signal.SIGKILL)
    killed_before_the_next_trial(tmp_path)
    resumed = mlxintro(tmp_path, "run", "--resume", "long")
    assert resumed.code == 0
    assert "two sessions of long were killed at the same place" in resumed.err
    assert "going on with 4 rows at a time instead of 8 (--batch-size 8 takes that back)" in resumed.err
    assert rows_of(tmp_path) == 4
    again = mlxintro(tmp_path, "run", "--resume", "long")
    assert "killed" not in again.err
    assert rows_of(tmp_path) == 4


@pytest.mark.slow
def test_a_person_who_gives_the_size_has_the_last_word(tmp_path: Path) -> None:
    ended_by(tmp_path, signal.SIGKILL)
    resumed = mlxintro(tmp_path, "run", "--resume", "long", "--batch-size", "6")
    assert resumed.code == 0
    assert "killed" not in resumed.err
    assert rows_of(tmp_path) == 6


@pytest.mark.slow
def test_an_interruption_is_no_kill(tmp_path: Path) -> None:
    ended_by(tmp_path, signal.SIGINT)
    resumed = mlxintro(tmp_path, "run", "--resume", "long")
    assert resumed.code == 0
    assert "killed" not in resumed.err
    assert rows_of(tmp_path) == 8


@pytest.mark.parametrize("size", ["0", "-1", "many", "99999"])
def test_a_size_that_is_none_is_refused(tmp_path: Path, size: str) -> None:
    done = mlxintro(tmp_path, *RUN, f"--batch-size={size}")
    assert done.code == 2
    assert "--batch-size" in done.err
