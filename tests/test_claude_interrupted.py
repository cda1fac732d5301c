"""Passes of the Claude grader that are killed or told to end, and what is left behind."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mlxintro.store.store import Store
from tests.cli import mlxintro, started
from tests.grading_runs import ANSWER, check_all_graded, stored_run
from tests.messages_server import KEY, MessagesServer, serving


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[MessagesServer]:
    with serving() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


def test_killed_at_any_moment_nothing_answered_is_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "mlxintro.db"
    run = stored_run(path, 60)
    with serving() as server:
        server.delay = 0.03
        for _ in range(3):
            process = started(tmp_path, "grade", "r", "--grader", "claude", "--price", "1,10", **server.environment)
            target = len(server.paid) + 15
            while len(server.paid) < target and process.poll() is None:
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            with closing(sqlite3.connect(path)) as db:
                answered = dict(
                    db.execute(
                        "SELECT key || question, count(*) FROM grading_calls WHERE state = 'answered' GROUP BY 1"
                    )
                )
            assert len(answered) > 0
            assert set(answered.values()) == {1}
        server.settle()
        seen = len(server.paid)
        done = mlxintro(tmp_path, "grade", "r", "--grader", "claude", "--price", "1,10", **server.environment)
        assert done.code == 0, done.err
        check_all_graded(path, run, 60)
        # Whatever was asked twice was under way in one of the three processes when it died: four questions each.
        counts = Counter((a.question, a.reply) for a in server.paid)
        assert sum(n - 1 for n in counts.values()) <= 3 * 4
        with closing(sqlite3.connect(path)) as db:
            keys = {key for (key,) in db.execute("SELECT key || question FROM grading_calls WHERE state = 'answered'")}
        assert len(keys) == len(counts)
        assert len(server.paid) - seen == len(counts) - len(answered)
        with Store(path) as store:
            assert store.calls.spent(run, "claude") >= len(server.paid) * ANSWER - 1e-9


def test_ctrl_c_keeps_the_answers_under_way(tmp_path: Path) -> None:
    path = tmp_path / "mlxintro.db"
    run = stored_run(path, 60)
    with serving() as server:
        server.delay = 0.3
        process = started(tmp_path, "grade", "r", "--grader", "claude", **server.environment)
        while len(server.paid) < 6:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 130, err
        assert "interrupted" in err
        assert "answers under way are waited for" in err
        with closing(sqlite3.connect(path)) as db:
            states = dict(db.execute("SELECT state, count(*) FROM grading_calls GROUP BY 1"))
        assert states == {"answered": len(server.paid)}
        server.delay = 0.0
        server.settle()
        assert mlxintro(tmp_path, "grade", "r", "--grader", "claude", **server.environment).code == 0
        check_all_graded(path, run, 60)
        assert set(Counter((a.question, a.reply) for a in server.paid).values()) == {1}


def test_a_second_ctrl_c_leaves_at_once_and_says_what_is_left(tmp_path: Path) -> None:
    path = tmp_path / "mlxintro.db"
    run = stored_run(path, 20)
    with serving() as server:
        server.delay = 20.0
        process = started(tmp_path, "grade", "r", "--grader", "claude", **server.environment)
        assert process.stderr is not None
        while not server.seen:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said = ""
        while "leaves at once" not in said:
            said += process.stderr.read(1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=15)
        assert process.returncode == 130, err
        assert "20 are left" in err
        server.delay = 0.0
        assert mlxintro(tmp_path, "grade", "r", "--grader", "claude", **server.environment).code == 0
        check_all_graded(path, run, 20)


def test_the_key_is_nowhere(tmp_path: Path) -> None:
    """Not in the store, not in what is printed, not in the SDK's own log, though the server repeats it in an error."""
    stored_run(tmp_path / "mlxintro.db", 6)
    with serving() as server:
        server.faults.extend(["", "echo", "drop", "schema", "429"])
        done = mlxintro(tmp_path, "grade", "r", "--grader", "claude", ANTHROPIC_LOG="debug", **server.environment)
        assert any(
            headers.get("authorization", headers.get("Authorization", "")).endswith(KEY) for *_, headers in server.seen
        )
    assert "[ANTHROPIC_API_KEY]" in "".join(
        row for (row,) in sqlite3.connect(tmp_path / "mlxintro.db").execute("SELECT reason FROM grades")
    )
    # The debug log of the SDK prints what the server sent; the key is in there only if a response repeats it.
    assert KEY not in done.out
    assert KEY not in done.err
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes(), file
