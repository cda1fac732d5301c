"""Stopping, pausing and resuming a run, from inside and from elsewhere."""

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from mlxintro.backends.base import OnToken
from mlxintro.backends.errors import KnownError
from mlxintro.protocol.trials import Outcome, TrialSpec
from mlxintro.running import events
from mlxintro.running.events import RunFinished, TrialFinished
from mlxintro.running.runner import run_trials
from mlxintro.store import Store
from tests.plans import outcome, plan
from tests.runs import failing, neighbourly, of, planned_run, run_all, texts


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store.db") as opened:
        yield opened


def test_ctrl_c_leaves_a_run_that_can_be_resumed(store: Store) -> None:
    def interrupted(specs: Sequence[TrialSpec], on_token: OnToken | None) -> Iterator[Outcome]:
        for s in specs:
            if s.trial == 6:
                raise KeyboardInterrupt
            yield outcome(s, f"reply {s.trial}")

    run = planned_run(store, 12)
    with pytest.raises(KeyboardInterrupt):
        run_all(store, run, 12, interrupted)
    now = store.runs.get(run)
    assert (now.state, now.done, now.errors, now.pid, now.finished) == ("interrupted", 6, 0, None, None)
    run_all(store, run, 12, failing())
    assert store.runs.get(run).done == 12


def test_a_measurement_that_is_abandoned_can_clean_up(store: Store) -> None:
    # The backend restores the model in the generator's finally.
    restored = []

    def measure(specs: Sequence[TrialSpec], on_token: OnToken | None) -> Iterator[Outcome]:
        try:
            yield from (outcome(s) for s in specs)
        finally:
            restored.append(specs[0].trial)

    run = planned_run(store, 4)
    session = run_trials(store, run, plan(4), measure, batch_size=4)
    while not isinstance(next(session), TrialFinished):
        pass
    session.close()
    assert restored == [0]


def test_a_run_can_be_cancelled_from_elsewhere_and_resumed(store: Store) -> None:
    run = planned_run(store, 20)
    with Store(store.path) as elsewhere:
        seen = []
        for event in run_trials(store, run, plan(20), neighbourly, batch_size=8):
            seen.append(event)
            if isinstance(event, TrialFinished) and event.ordinal >= 0 and elsewhere.runs.get(run).done == 3:
                elsewhere.runs.set_control(run, "cancel")
    assert isinstance(seen[-1], RunFinished)
    assert seen[-1].state == store.runs.get(run).state == "cancelled"
    assert store.runs.get(run).done == 3, "it stops in the middle of a batch"
    run_all(store, run, 20, neighbourly, size=8)
    other = planned_run(store, 20)
    run_all(store, other, 20, neighbourly, size=8)
    assert texts(store, run) == texts(store, other)


def test_a_run_pauses_and_goes_on(store: Store) -> None:
    run = planned_run(store, 8)
    paused_for = 0.5
    states = []

    def steer() -> None:
        with Store(store.path) as elsewhere:
            deadline = time.monotonic() + 10
            while elsewhere.runs.get(run).state != "paused" and time.monotonic() < deadline:
                time.sleep(0.01)
            done = elsewhere.runs.get(run).done
            time.sleep(paused_for)
            states.append((elsewhere.runs.get(run).state, elsewhere.runs.get(run).done == done))
            elsewhere.runs.set_control(run, "run")

    thread = threading.Thread(target=steer)
    thread.start()
    seen = []
    moments = []
    with Store(store.path) as elsewhere:
        for event in run_trials(store, run, plan(8), neighbourly, batch_size=4):
            seen.append(event)
            moments.append(time.monotonic())
            if isinstance(event, TrialFinished) and len(of(TrialFinished, seen)) == 2:
                elsewhere.runs.set_control(run, "pause")
    thread.join()
    pause, resume = (
        next(i for i, e in enumerate(seen) if isinstance(e, k)) for k in (events.RunPaused, events.RunResumed)
    )
    assert resume == pause + 1
    assert moments[resume] - moments[pause] >= paused_for
    assert states == [("paused", True)]
    assert store.runs.get(run).done == 8


def test_a_paused_run_can_be_cancelled(store: Store) -> None:
    run = planned_run(store, 8)
    with Store(store.path) as elsewhere:
        session = run_trials(store, run, plan(8), neighbourly, batch_size=4)
        next(session)
        elsewhere.runs.set_control(run, "pause")
        assert isinstance(next(session), events.RunPaused)
        elsewhere.runs.set_control(run, "cancel")
        assert [type(e) for e in session] == [RunFinished]
    assert store.runs.get(run).state == "cancelled"


def test_the_heart_beats_while_a_long_batch_runs(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlxintro.running.runner.BEAT_SECONDS", 0.05)
    beats = []

    def slow(specs: Sequence[TrialSpec], on_token: OnToken | None) -> Iterator[Outcome]:
        with Store(store.path, read_only=True) as viewer:
            for _ in range(5):
                time.sleep(0.15)
                beats.append(viewer.runs.get(run).heartbeat)
        yield from (outcome(s) for s in specs)

    run = planned_run(store, 2)
    run_all(store, run, 2, slow)
    assert len(set(beats)) == 5
    assert not [t for t in threading.enumerate() if t.name.startswith("heartbeat")], "the thread has ended"


def test_a_run_is_run_by_one_session_at_a_time(store: Store) -> None:
    run = planned_run(store, 8, name="night")
    session = run_trials(store, run, plan(8), neighbourly, batch_size=4)
    next(session)
    with Store(store.path) as second, pytest.raises(KnownError, match="night is being run by process"):
        list(run_trials(second, run, plan(8), neighbourly, batch_size=4))
    assert store.runs.get(run).state == "running"
    list(session)
    assert store.runs.get(run).done == 8
