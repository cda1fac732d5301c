"""Runs in a process of their own that are killed: what is stored afterwards, and what resuming makes of it."""

from __future__ import annotations

import hashlib
import random
import signal
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mlxintro.backends.base import OnToken
from mlxintro.backends.errors import KnownError
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.protocol.trials import Outcome, TrialSpec
from mlxintro.running.events import TrialFinished
from mlxintro.running.runner import run_trials
from mlxintro.store import Finished, Store
from tests.cli import StartedProcess, code_started
from tests.plans import Measure, outcome, plan, prompt_of, spec

COUNT = 110
BATCH = 8


def work(path: str, run: str, delay: str) -> None:
    """The other process: run, and print the key of every trial as soon as its end is announced."""
    with Store(path) as store, FakeBackend("detector?hit=0.4&fa=0.1") as backend:
        measure = Measure(backend, prompt_of(backend))

        def slow(specs: Sequence[TrialSpec], on_token: OnToken | None) -> Iterator[Outcome]:
            # Each reply also depends on the whole batch, as rounding can make it on a real device.
            batch = hashlib.sha256("".join(s.key for s in specs).encode()).hexdigest()[:8]
            for done in measure(specs, on_token):
                time.sleep(float(delay))
                yield replace(done, response=f"{done.response} ({batch})")

        for event in run_trials(store, run, plan(COUNT, measure.prompt.key), slow, batch_size=BATCH):
            print(event.key if isinstance(event, TrialFinished) else type(event).__name__, flush=True)


def insert(path: str, run: str) -> None:
    """The other process: store trials as fast as possible."""
    with Store(path) as store:
        first = store.runs.get(run).done
        print("ready", flush=True)
        for i in range(first, 10**6):
            store.trials.add(run, [Finished(i, spec(i), outcome(spec(i), "word " * 50))])


def start(what: str, *arguments: object) -> StartedProcess:
    return code_started(f"from tests.test_kill import {what}; {what}(*{[str(one) for one in arguments]})")


def end(process: StartedProcess, number: signal.Signals) -> tuple[list[str], str]:
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    return out.split(), err


def checked(path: Path) -> None:
    """SQLite finds the file whole, and the counters agree with the rows."""
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        counts = dict(db.execute("SELECT run, count(*) FROM trials WHERE status = 'done' GROUP BY run").fetchall())
        assert counts == dict(db.execute("SELECT id, done FROM runs WHERE done > 0").fetchall())
    db.close()


def test_a_run_killed_five_times_ends_like_one_that_was_never_killed(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    seed = random.SystemRandom().randrange(10**6)
    dice = random.Random(seed)
    with Store(path) as store:
        cut = store.runs.create("injected-thoughts", planned=COUNT, name="cut").id
        whole = store.runs.create("injected-thoughts", planned=COUNT, name="whole").id
    for kill in range(5):
        process = start("work", path, cut, 0.03)
        assert process.stdout is not None
        assert process.stdout.readline() == "RunStarted\n"
        time.sleep(dice.uniform(0.0, 0.6))
        announced, _ = end(process, signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL, f"kill {kill} came too late"
        with Store(path) as store:
            run = store.runs.get(cut)
            assert run.state == "interrupted"
            finished = {trial.key for trial in store.trials.of_run(cut) if trial.status == "done"}
            keys = {key for key in announced if key.startswith("b2:")}
            assert keys <= finished, f"announced but lost (seed {seed})"
            assert run.done == len(finished)
        checked(path)
    for run_id, delay in ((cut, 0.0), (whole, 0.0)):
        process = start("work", path, run_id, delay)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    checked(path)
    with Store(path) as store, FakeBackend("detector") as backend:
        expected = plan(COUNT, prompt_of(backend).key)
        for run_id in (cut, whole):
            assert store.runs.get(run_id).state == "done"
            trials = list(store.trials.of_run(run_id))
            assert [(t.ordinal, t.key, t.status) for t in trials] == [
                (i, s.key, "done") for i, s in enumerate(expected)
            ]
            assert all(len(t.proofs) == len(t.spec.injections) for t in trials)
        texts = [
            [(t.key, t.response, t.tokens, t.proofs) for t in store.trials.of_run(run_id)] for run_id in (cut, whole)
        ]
        assert texts[0] == texts[1], f"seed {seed}"


def test_ctrl_c_leaves_a_valid_store_and_a_run_that_nobody_holds(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with Store(path) as store:
        run = store.runs.create("injected-thoughts", planned=COUNT).id
    process = start("work", path, run, 0.05)
    assert process.stdout is not None
    while not process.stdout.readline().startswith("b2:"):
        pass
    with Store(path) as store, pytest.raises(KnownError, match=f"being run by process {process.pid}"):
        store.runs.claim(run, batch_size=BATCH)
    _, err = end(process, signal.SIGINT)
    assert err.rstrip().endswith("KeyboardInterrupt")
    checked(path)
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT state, pid FROM runs").fetchone() == ("interrupted", None)
    db.close()
    with Store(path) as store:
        assert 0 < store.runs.get(run).done < COUNT
        store.runs.claim(run, batch_size=BATCH)


def test_a_cancel_from_another_process_ends_the_run(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with Store(path) as store:
        run = store.runs.create("injected-thoughts", planned=COUNT).id
        process = start("work", path, run, 0.05)
        assert process.stdout is not None
        while not process.stdout.readline().startswith("b2:"):
            pass
        assert store.runs.set_control(run, "cancel").state == "running"
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        assert out.split()[-1] == "RunFinished"
        assert store.runs.get(run).state == "cancelled"
        assert 0 < store.runs.get(run).done < COUNT


def test_a_process_killed_while_it_writes_leaves_no_half_row(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with Store(path) as store:
        run = store.runs.create("injected-thoughts", planned=10**6).id
    done = 0
    for _ in range(5):
        process = start("insert", path, run)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(random.uniform(0.05, 0.3))
        end(process, signal.SIGKILL)
        checked(path)
        with Store(path) as store:
            assert store.runs.get(run).done > done
            done = store.runs.get(run).done
            assert [t.ordinal for t in store.trials.of_run(run)] == list(range(done)), "no gap and nothing twice"
