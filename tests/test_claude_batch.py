"""Message Batches against a real server: half the price, killed at every point, damaged in every way."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from mlxintro.backends.errors import KnownError
from mlxintro.grading.claude.api import open_client
from mlxintro.grading.claude.batch import BatchRunner
from mlxintro.grading.claude.passes import Report
from mlxintro.store.calls import PaidQuestion
from mlxintro.store.store import Store
from tests.cli import StartedProcess, mlxintro, started
from tests.grading_runs import ANSWER, check_all_graded, expected, fields, graded, job_for, stored_run
from tests.messages_server import KEY, Batch, MessagesServer, serving

HALF = ANSWER / 2


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[MessagesServer]:
    with serving() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


def grade(
    path: Path, run: str, *, wait: bool = True, budget: float | None = None, grace: float = 0.0, again: bool = False
) -> tuple[Report, list[str]]:
    told: list[str] = []
    with Store(path) as store, closing(open_client()) as client:
        job = job_for(store, run, budget=budget, batch=True)
        with job.alone():
            if again:
                job.forget()
            BatchRunner(job, client, notify=told.append, grace=grace).run(job.open_dossiers, wait=wait)
        return job.report, told


def questions(server: MessagesServer) -> Counter[tuple[str, str]]:
    return Counter((asked.question, asked.reply) for asked in server.paid)


def test_a_batch_gives_the_same_grades_at_half_the_price(server: MessagesServer, tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    run = stored_run(path, 40)
    report, _ = grade(path, run)
    assert (report.graded, report.failed, report.left, report.waiting) == (40, 0, 0, 0)
    check_all_graded(path, run, 40)
    # One batch of stances, then one of the namings that the stances ask for.
    kinds = [{asked["params"]["system"][0]["text"][-300:] for asked in b.requests} for b in server.batches.values()]
    assert [len(kind) for kind in kinds] == [1, 1]
    assert set(questions(server).values()) == {1}
    with Store(path) as store:
        assert store.calls.spent(run, "claude") == pytest.approx(len(server.paid) * HALF)
    report, _ = grade(path, run)
    assert (report.graded, report.skipped) == (0, 40)
    assert len(server.batches) == 2


@pytest.mark.parametrize("fault", ["429", "529"])
def test_a_batch_that_is_not_accepted_for_now_is_submitted_again(
    server: MessagesServer, tmp_path: Path, fault: str
) -> None:
    run = stored_run(tmp_path / "s.db", 5)
    server.batch_faults.extend([fault])
    grade(tmp_path / "s.db", run)
    check_all_graded(tmp_path / "s.db", run, 5)


def test_a_batch_that_is_not_accepted_at_all_costs_nothing_and_blocks_nothing(
    server: MessagesServer, tmp_path: Path
) -> None:
    path = tmp_path / "s.db"
    run = stored_run(path, 5)
    server.batch_faults.append("400")
    with pytest.raises(KnownError, match="not accepted"):
        grade(path, run)
    with Store(path) as store:
        assert store.calls.spent(run, "claude") == 0
    grade(path, run)
    check_all_graded(path, run, 5)


def test_an_accepted_batch_whose_answer_is_lost_is_found_and_not_submitted_twice(
    server: MessagesServer, tmp_path: Path
) -> None:
    run = stored_run(tmp_path / "s.db", 12)
    server.batch_faults.extend(["drop", "drop"])
    # Batches of somebody else, of the same size, accepted before and after: neither may be taken for ours.
    expired = [json.dumps({"custom_id": f"other-{n}", "result": {"type": "expired"}}) for n in range(12)]

    def crowd(batch: Batch) -> None:
        if "before" not in server.batches:
            for name, seconds in (("before", -60), ("after", 60)):
                created = batch.created + timedelta(seconds=seconds)
                server.batches[name] = Batch(name, created, [{}] * 12, ended=True, lines=expired)

    server.submitting = crowd
    _, told = grade(tmp_path / "s.db", run, grace=30.0)
    check_all_graded(tmp_path / "s.db", run, 12)
    assert set(questions(server).values()) == {1}
    assert sum(len(b.requests) for b in server.batches.values() if b.lines != expired) == len(server.paid)
    assert any("is the one submitted before" in line for line in told)


def test_a_batch_that_never_arrived_is_submitted_again(server: MessagesServer, tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    run = stored_run(path, 12)
    with Store(path) as store:
        job = job_for(store, run, batch=True)
        asks = [PaidQuestion(dossier.key, "stance", 0.5) for dossier in job.open_dossiers()]
        store.calls.open_batch(job.where, "feedfeedfeedfeed", asks)
        assert store.calls.spent(run, "claude") == pytest.approx(6.0)
    grade(path, run)
    check_all_graded(path, run, 12)
    assert set(questions(server).values()) == {1}
    with Store(path) as store:
        assert store.calls.spent(run, "claude") == pytest.approx(len(server.paid) * HALF)


@pytest.mark.parametrize("fault", ["truncate", "drop", "half", "fewer"])
def test_results_that_arrive_damaged_are_read_again(server: MessagesServer, tmp_path: Path, fault: str) -> None:
    path = tmp_path / "s.db"
    run = stored_run(path, 24)
    server.result_faults.extend([fault, fault])
    report, _ = grade(path, run)
    assert (report.graded, report.failed) == (24, 0)
    check_all_graded(path, run, 24)
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute(
            "SELECT state, count(*), count(DISTINCT key || question) FROM grading_calls GROUP BY 1"
        ).fetchall()
    assert [row[0] for row in rows] == ["answered"]
    assert rows[0][1] == rows[0][2]
    with Store(path) as store:
        assert store.calls.spent(run, "claude") == pytest.approx(rows[0][1] * HALF)


def test_a_batch_the_api_does_not_know_yet_is_waited_for(server: MessagesServer, tmp_path: Path) -> None:
    run = stored_run(tmp_path / "s.db", 4)
    server.forgetful = 2
    grade(tmp_path / "s.db", run)
    check_all_graded(tmp_path / "s.db", run, 4)


@pytest.mark.parametrize("fate", ["errored", "expired", "canceled", "refusal", "schema"])
def test_a_question_that_fails_in_a_batch_is_unscored_and_retried_by_the_next_command(
    server: MessagesServer, tmp_path: Path, fate: str
) -> None:
    path = tmp_path / "s.db"
    run = stored_run(path, 10)
    server.fate = lambda asked: fate if "[4]" in asked.reply else "succeeded"
    report, _ = grade(path, run)
    assert (report.graded, report.failed) == (9, 1)
    with Store(path) as store:
        grades = graded(store, run)
        billed = len(server.paid)
        assert store.calls.spent(run, "claude") == pytest.approx(billed * HALF)
    assert fields(grades[4]) == (None, None, None, None, None, False)
    assert grades[4].state == "unscored"
    assert {n: fields(g) for n, g in grades.items() if n != 4} == {n: expected(n) for n in range(10) if n != 4}
    server.fate = lambda asked: "succeeded"
    report, _ = grade(path, run)
    assert (report.graded, report.skipped) == (1, 9)
    check_all_graded(path, run, 10)


def test_the_budget_holds_over_several_batches(server: MessagesServer, tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    run = stored_run(path, 60)
    report, _ = grade(path, run, budget=0.06)
    assert report.left > 0
    assert "raise --budget" in report.stopped
    assert len(server.batches) > 1, "what came back for less than its worst case was not used for more"
    assert 0 < len(server.paid) * HALF <= 0.06
    with Store(path) as store:
        assert len(server.paid) * HALF == pytest.approx(store.calls.spent(run, "claude"))
    grade(path, run, budget=5.0)
    check_all_graded(path, run, 60)
    assert set(questions(server).values()) == {1}


def test_asking_anew_in_batches_ends(server: MessagesServer, tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    run = stored_run(path, 8)
    grade(path, run)
    report, _ = grade(path, run, again=True)
    assert report.graded == 8
    assert set(questions(server).values()) == {2}


def test_without_waiting_a_batch_is_left_and_collected_later(server: MessagesServer, tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    run = stored_run(path, 8)
    server.hold_batches = True
    grade(path, run, wait=False)
    assert len(server.batches) == 1
    grade(path, run, wait=False)
    assert len(server.batches) == 1
    server.hold_batches = False
    grade(path, run)
    check_all_graded(path, run, 8)
    assert set(questions(server).values()) == {1}


# Killed for real, as processes.


def command(home: Path, server: MessagesServer, *more: str) -> StartedProcess:
    return started(home, "grade", "r", "--grader", "claude", "--batch", *more, **server.environment)


def finish(home: Path, server: MessagesServer) -> str:
    done = mlxintro(home, "grade", "r", "--grader", "claude", "--batch", **server.environment)
    assert done.code == 0, done.err
    assert KEY not in done.out + done.err
    return done.err


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_killed_while_the_batch_is_under_way_it_is_picked_up(tmp_path: Path) -> None:
    run = stored_run(tmp_path / "mlxintro.db", 16)
    with serving() as server:
        server.hold_batches = True
        for _ in range(2):
            process = command(tmp_path, server)
            wait_until(lambda: any("/batches/msgbatch" in path for _, path, _ in server.seen))
            process.send_signal(signal.SIGKILL)
            process.communicate()
            server.seen.clear()
        assert len(server.batches) == 1
        server.hold_batches = False
        finish(tmp_path, server)
        check_all_graded(tmp_path / "mlxintro.db", run, 16)
        assert set(questions(server).values()) == {1}
        assert len(server.batches) == 2


def test_killed_before_it_hears_of_its_batch_it_finds_it_again(tmp_path: Path) -> None:
    """The gap: the API has accepted the batch, and the process dies before its id is stored."""
    run = stored_run(tmp_path / "mlxintro.db", 16)
    with serving() as server:
        victims: list[StartedProcess] = []
        server.submitting = lambda batch: os.kill(victims[-1].pid, signal.SIGKILL) if len(victims) < 2 else None
        victims.append(command(tmp_path, server))
        victims[0].communicate(timeout=60)
        assert victims[0].returncode == -signal.SIGKILL
        with closing(sqlite3.connect(tmp_path / "mlxintro.db")) as db:
            assert db.execute("SELECT state, remote FROM grading_batches").fetchall() == [("intent", None)]
        assert len(server.batches) == 1
        server.submitting = lambda batch: None
        (ours,) = server.batches.values()
        ours.ended = True
        err = finish(tmp_path, server)
        assert "is the one submitted before" in err
        check_all_graded(tmp_path / "mlxintro.db", run, 16)
        assert set(questions(server).values()) == {1}
        assert len(server.batches) == 2


def test_killed_while_it_stores_results_it_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "mlxintro.db"
    run = stored_run(path, 300)
    with serving() as server:
        process = command(tmp_path, server)

        def some() -> bool:
            with closing(sqlite3.connect(path)) as db:
                tables = db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'grading_calls'").fetchone()
                found = db.execute("SELECT count(*) FROM grading_calls WHERE state = 'answered'").fetchone()
                return bool(tables[0]) and 20 < found[0] < 280

        wait_until(some)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        finish(tmp_path, server)
        check_all_graded(path, run, 300)
        assert len(server.batches) == 2
        with closing(sqlite3.connect(path)) as db:
            grades = db.execute("SELECT count(*), count(DISTINCT key) FROM grades").fetchone()
        assert grades == (300, 300)


def test_a_batch_can_be_given_up(tmp_path: Path) -> None:
    run = stored_run(tmp_path / "mlxintro.db", 6)
    with serving() as server:
        server.hold_batches = True
        process = command(tmp_path, server, "--no-wait")
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert re.search(r"6 wait in a batch", err)
        server.batches.clear()
        server.hold_batches = False
        process = command(tmp_path, server, "--abandon")
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        check_all_graded(tmp_path / "mlxintro.db", run, 6)
