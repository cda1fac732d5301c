"""``mlxintro run`` from start to end, in processes of its own."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.cli.main import COMMANDS
from mlxintro.protocol.study import make_study
from mlxintro.running import launch
from mlxintro.store import Store
from tests.cli import RUN, SMALL, Call, Result, content, ended, events, mlxintro, started, until

SLOW = (
    *(*RUN, "-m", "detector?delay=0.02", "--concepts", "ocean,fear", "--strengths", "2,4", "--trials", "8"),
    *("--controls", "16"),
)
LONG = (*SLOW, "--trials", "64", "--controls", "128")
"""Does not end before a command that is started meanwhile has had its say."""
PLANNED = 2 * 8 * 2 + 2 * 8
"""Trials, of which a batch takes about a second."""


def keys(home: Path, run: str) -> list[str]:
    with Store(home / "mlxintro.db", read_only=True) as store:
        return [trial.key for trial in store.trials.of_run(store.runs.find(run).id)]


def stored(home: Path) -> list[tuple[str, str, int]]:
    with closing(sqlite3.connect(home / "mlxintro.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return db.execute("SELECT name, state, done FROM runs ORDER BY created").fetchall()


def test_a_run_prints_its_rates_on_stdout_and_everything_else_on_stderr(tmp_path: Path) -> None:
    done = mlxintro(tmp_path, *SMALL, "--name", "night")
    assert done.code == 0
    assert done.out.startswith("night: detector on fake, graded by rules\n")
    assert re.search(r"^  detection +\d+\.\d% \(\d/12, ", done.out, re.MULTILINE)
    assert "loading detector" in done.err
    assert "trials: 18/18" in done.err
    assert stored(tmp_path) == [("night", "done", 18)]


def test_every_planned_trial_is_stored_once_with_its_proof(filled: Path) -> None:
    rows = mlxintro(filled, "runs", "export", "first").lines
    study = make_study(
        model="detector", backend="fake", concepts=("ocean", "fear"), strengths=(2.0, 4.0), trials=3, controls=6
    )
    with FakeBackend("detector") as backend:
        plan = [spec.key for spec in launch.plan(launch.check(study), backend)]
    assert [row["trial_key"] for row in rows] == plan
    assert Counter(row["condition"] for row in rows) == {"injected": 12, "control": 6}
    for row in rows:
        assert len(row["proofs"]) == (row["condition"] == "injected")
        assert all(proof["positions"] > 0 and proof["change"] > 0 for proof in row["proofs"])


def test_with_json_every_line_of_stdout_is_an_object_and_the_last_one_holds_the_rates(tmp_path: Path) -> None:
    told = mlxintro(tmp_path, *SMALL, "--json").lines
    kinds = Counter(line.get("event") for line in told)
    assert (kinds["RunStarted"], kinds["TrialFinished"], kinds["RunFinished"]) == (1, 18, 1)
    assert told[-1]["overall"]["counts"]["trials"] == 12
    assert told[-1]["controls"]["trials"] == 6
    assert told[-1]["overall"]["detection"]["trials"] <= 12


def test_a_dry_run_says_what_would_run_and_writes_nothing(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLXINTRO_HOME", str(tmp_path / "new"))
    done = call(*SMALL, "--layers", "0.5,6", "--dry-run", "--json")
    (line,) = done.lines
    assert (done.code, line["trials"], line["layers"]) == (0, 2 * 2 * 2 * 3 + 6, [4, 6])
    assert call(*SMALL, "--dry-run").out.startswith("18 trials, preset lindsey")
    assert content(tmp_path / "new") == ([], [])


def test_ctrl_c_ends_with_130_and_resuming_completes_the_plan_once(tmp_path: Path) -> None:
    process = started(tmp_path, *SLOW, "--name", "slow", "--json")
    told = events(process)
    before = [until(told, "TrialFinished")["key"] for _ in range(20)]
    process.send_signal(signal.SIGINT)
    done = ended(process)
    assert done.code == 130
    assert "everything finished is stored. Go on with: mlxintro run --resume slow" in done.err
    assert done.err.rstrip().endswith("mlxintro: interrupted")
    ((name, state, count),) = stored(tmp_path)
    assert (name, state) == ("slow", "interrupted")
    assert 20 <= count < PLANNED
    assert set(before) <= set(keys(tmp_path, "slow"))

    resumed = mlxintro(tmp_path, "run", "--resume", "slow", "--json")
    assert resumed.code == 0
    kinds = Counter(line.get("event") for line in resumed.lines)
    assert kinds["TrialFinished"] == PLANNED - count, "nothing is measured anew"
    study = make_study(
        model="detector?delay=0.02",
        backend="fake",
        concepts=("ocean", "fear"),
        strengths=(2.0, 4.0),
        trials=8,
        controls=16,
    )
    with FakeBackend("detector?delay=0.02") as backend:
        plan = [spec.key for spec in launch.plan(launch.check(study), backend)]
    assert keys(tmp_path, "slow") == plan
    assert stored(tmp_path) == [("slow", "done", PLANNED)]


def test_a_run_is_paused_resumed_and_cancelled_from_another_terminal(tmp_path: Path) -> None:
    process = started(tmp_path, *LONG, "--name", "slow", "--json")
    told = events(process)
    until(told, "TrialFinished")
    assert "being run by process" in mlxintro(tmp_path, "run", "--resume", "slow").err
    assert "cancel it first" in mlxintro(tmp_path, "runs", "rm", "slow", "--yes").err
    assert mlxintro(tmp_path, "runs", "pause", "slow").code == 0
    until(told, "RunPaused")
    assert [one["state"] for one in mlxintro(tmp_path, "runs", "list", "--json").lines] == ["paused"]
    assert mlxintro(tmp_path, "runs", "resume", "slow").code == 0
    until(told, "RunResumed")
    assert mlxintro(tmp_path, "runs", "cancel", "slow").code == 0
    assert until(told, "RunFinished")["state"] == "cancelled"
    assert ended(process).code == 0
    ((_, state, done),) = stored(tmp_path)
    assert state == "cancelled"
    assert 0 < done < 8 * PLANNED
    assert mlxintro(tmp_path, "run", "--resume", "slow").code == 0
    assert stored(tmp_path) == [("slow", "done", 8 * PLANNED)]


def test_resuming_a_finished_run_measures_nothing(call: Call, home: Path) -> None:
    before = content(home)
    done = call("run", "--resume", "first")
    assert (done.code, done.out) == (0, call("stats", "first").out)
    after = content(home)
    assert [row for row in after[0] if not row.startswith('INSERT INTO "runs"')] == [
        row for row in before[0] if not row.startswith('INSERT INTO "runs"')
    ]


def test_failed_trials_are_rows_and_make_the_exit_code_1(tmp_path: Path) -> None:
    done = mlxintro(
        tmp_path, *RUN, "--concepts", "ocean", "--strengths", "2,3e38", "--controls", "1", "--name", "mixed"
    )
    assert done.code == 1
    assert "1 trials failed" in done.err
    rows = mlxintro(tmp_path, "runs", "export", "mixed").lines
    assert [(row["strength"], row["status"]) for row in rows] == [(None, "done"), (2.0, "done"), (3e38, "error")]
    assert "exceeds what float32 can hold" in rows[-1]["error"]


def test_a_damaged_vector_is_told_made_again_and_changes_nothing(call: Call, home: Path) -> None:
    before = {row["trial_key"]: row["response"] for row in call("runs", "export", "first").lines}
    damaged = sorted((home / "vectors").iterdir())
    for file in damaged:
        data = bytearray(file.read_bytes())
        data[-7] ^= 1
        file.write_bytes(data)
    again = call(*SMALL, "--name", "again")
    assert again.code == 0
    notices = [line for line in again.err.splitlines() if "in the vector cache is ignored and made again" in line]
    assert {line.split()[0] for line in notices} == {file.name for file in damaged}
    assert {r["trial_key"]: r["response"] for r in call("runs", "export", "again").lines} == before
    assert "made again" not in call(*SMALL, "--name", "third").err


def test_db_names_a_store_anywhere_and_its_vectors_lie_beside_it(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLXINTRO_HOME", str(tmp_path / "new"))
    db = tmp_path / "deep" / "er" / "my store.db"
    assert call("--db", str(db), *SMALL).code == 0
    assert db.exists()
    assert list((db.parent / "vectors").glob("*.safetensors"))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ['it\'s "so" so', "🌊 海", "100%", "a/*", "x" * 80])
def test_a_run_may_be_called_almost_anything_and_is_found_again(call: Call, name: str) -> None:
    assert call(*RUN, "--concepts", "ocean", "--strengths", "2", "--name", name).code == 0
    assert json.loads(call("runs", "show", name, "--json").out)["name"] == name
    assert call("stats", name, "--json").code == 0
    assert call("runs", "rm", name, "--yes").code == 0


def test_a_folder_is_stored_with_its_whole_path(
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlxintro.running.subject_names import model_name

    (tmp_path / "weights").mkdir()
    monkeypatch.chdir(tmp_path)
    assert model_name({"model": "./weights", "backend": "torch"}) == str(tmp_path / "weights")
    assert model_name({"model": "qwen2.5-7b", "backend": "torch"}) == "qwen2.5-7b"


SUBCOMMANDS = [
    *[(name,) for name in COMMANDS],
    *[("runs", name) for name in ("list", "show", "rm", "export", "import", "pause", "resume", "cancel")],
    *[("models", name) for name in ("list", "fetch")],
]


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("command", [(), *SUBCOMMANDS], ids=" ".join)
def test_every_command_has_help(call: Call, command: tuple[str, ...], flag: str) -> None:
    shown: Result = call(*command, flag)
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith(f"Usage: {' '.join(('mlxintro', *command))} ")


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    done = mlxintro(tmp_path, "--help", PYTHONPROFILEIMPORTTIME="1")
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.err.splitlines()}
    assert "click" in loaded
    assert not loaded & {"torch", "mlx", "transformers", "textual", "numpy", "scipy", "pydantic", "rich", "sqlite3"}
