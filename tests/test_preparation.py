"""A run that is being prepared can be paused and cancelled, and waits for a store that another program holds locked."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from mlxintro.backends.errors import KnownError
from mlxintro.running.preparation import PreparationCancelled, preparing
from mlxintro.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "mlxintro.db")


def test_a_pause_holds_the_preparation_until_it_is_taken_back(store: Store) -> None:
    run = store.runs.create("injected-thoughts", planned=3)
    steps: list[float] = []

    def work() -> None:
        with Store(store.path) as own, preparing(own, run.id) as progress:
            for done in range(3):
                progress(done, 3)
                steps.append(time.monotonic())
                if done == 0:
                    started.set()
                    go_on.wait(5)

    started, go_on = threading.Event(), threading.Event()
    thread = threading.Thread(target=work)
    thread.start()
    assert started.wait(5)
    assert store.runs.get(run.id).preparing
    store.runs.set_control(run.id, "pause")
    go_on.set()
    time.sleep(0.7)
    assert len(steps) == 1
    store.runs.set_control(run.id, "run")
    thread.join(5)
    assert len(steps) == 3


def test_what_was_asked_while_it_was_prepared_still_holds_when_it_runs(store: Store) -> None:
    run = store.runs.create("injected-thoughts", planned=3)
    with preparing(store, run.id) as progress:
        progress(1, 1)
        store.runs.set_control(run.id, "pause")
    assert store.runs.claim(run.id, batch_size=1).control == "pause"


def test_a_cancelled_preparation_ends_and_is_recorded(store: Store) -> None:
    run = store.runs.create("injected-thoughts", planned=3)
    with pytest.raises(PreparationCancelled), preparing(store, run.id) as progress:
        progress(0 if store.runs.set_control(run.id, "cancel") else 1, 2)
    now = store.runs.get(run.id)
    assert (now.state, now.pid, now.control) == ("cancelled", None, "run")


def test_a_preparation_that_fails_says_why_with_the_run(store: Store) -> None:
    run = store.runs.create("injected-thoughts", planned=3)
    with pytest.raises(KnownError), preparing(store, run.id):
        raise KnownError("the disk is full: free some space")
    now = store.runs.get(run.id)
    assert (now.state, now.error) == ("failed", "the disk is full: free some space")


def test_a_preparing_process_that_is_gone_leaves_an_interrupted_run(store: Store) -> None:
    run = store.runs.create("injected-thoughts", planned=3)
    store.runs.prepare(run.id)
    assert store.runs.get(run.id).pid == os.getpid()
    with sqlite3.connect(store.path) as db:
        db.execute("UPDATE runs SET pid = 2147480000, pid_created = 1.0")
    assert store.runs.get(run.id).state == "interrupted"
    store.runs.prepare(run.id)


def test_a_run_that_another_process_prepares_is_not_taken(store: Store) -> None:
    run = store.runs.create("injected-thoughts", planned=3)
    with sqlite3.connect(store.path) as db:
        db.execute(
            "UPDATE runs SET pid = ?, host = ?, heartbeat = ?",
            (os.getppid(), os.uname().nodename, time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())),
        )
    with pytest.raises(KnownError, match="is being run by process"):
        store.runs.claim(run.id, batch_size=1)
    with pytest.raises(KnownError, match="cancel it first"):
        store.runs.delete(run.id)


def test_a_patient_store_waits_for_the_lock_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlxintro.store.database.BUSY_SECONDS", 0.1)
    said: list[str] = []
    with Store(tmp_path / "mlxintro.db") as store:
        other = sqlite3.connect(store.path, isolation_level=None, check_same_thread=False)
        run = store.runs.create("injected-thoughts", planned=1)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(KnownError, match="holds it locked"):
            store.runs.beat(run.id)
        store.database.be_patient(30, said.append)
        timer = threading.Timer(0.8, lambda: other.execute("ROLLBACK"))
        timer.start()
        store.runs.beat(run.id)
        timer.join()
        other.close()
    first, last = said
    assert "another program holds it locked: waiting" in first
    assert last.endswith("is free again: going on")
