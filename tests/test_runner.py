from __future__ import annotations

import hashlib
import math
import tracemalloc
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from mlxintro.backends.base import OnToken
from mlxintro.backends.errors import InjectionError, KnownError, OutOfMemory
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.protocol.trials import Outcome, TrialSpec
from mlxintro.running import events
from mlxintro.running.blocks import BATCHES
from mlxintro.running.events import RunEvent, RunFinished, RunStarted, TokenGenerated, TrialFailed, TrialFinished
from mlxintro.running.runner import HOPELESS, describe, run_trials
from mlxintro.store import Store
from tests import plans
from tests.plans import outcome, plan, prompt_of, spec
from tests.runs import failing, neighbourly, of, planned_run, run_all, texts


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store.db") as opened:
        yield opened


@dataclass
class Device:
    """Holds so many rows and no more; runs ``rows`` together, however long the list it is given."""

    capacity: int
    rows: int
    sizes: list[int] = field(default_factory=list)
    """Sizes of the batches that ran."""

    def shrink(self, rows: int) -> None:
        self.rows = rows

    def measure(self, specs: Sequence[TrialSpec], on_token: OnToken | None) -> Iterator[Outcome]:
        for first in range(0, len(specs), self.rows):
            batch = specs[first : first + self.rows]
            # It is full in the middle of a batch, when half of its rows have ended.
            short = batch if len(batch) <= self.capacity else batch[: len(batch) // 2]
            beside = hashlib.sha256("".join(s.key for s in batch).encode()).hexdigest()[:12]
            yield from (outcome(s, f"{s.trial} beside {beside}") for s in short)
            if len(batch) > self.capacity:
                raise OutOfMemory(f"no memory for {len(batch)} rows: close other programs")
            self.sizes.append(len(batch))

    def run(self, store: Store, run: str, count: int, size: int) -> Generator[RunEvent, None, None]:
        return run_trials(store, run, plan(count), self.measure, batch_size=size, shrink=self.shrink)


def test_every_planned_trial_is_stored_once_in_the_plans_order(store: Store) -> None:
    run = planned_run(store, 11)
    seen = run_all(store, run, 11, neighbourly)
    assert isinstance(seen[0], RunStarted)
    assert isinstance(seen[-1], RunFinished)
    assert [(t.ordinal, t.key) for t in store.trials.of_run(run)] == [(i, s.key) for i, s in enumerate(plan(11))]
    assert {e.key for e in of(TrialFinished, seen)} == {s.key for s in plan(11)}
    now = store.runs.get(run)
    assert (now.state, now.done, now.errors, now.pid) == ("done", 11, 0, None)


def test_a_finished_trial_is_in_the_store_before_it_is_announced(store: Store) -> None:
    run = planned_run(store, 6)
    with Store(store.path, read_only=True) as viewer:
        for event in run_trials(store, run, plan(6), neighbourly, batch_size=3):
            if isinstance(event, TrialFinished):
                assert viewer.trials.find(run, event.key).response == event.response


def test_a_run_with_a_real_backend_stores_its_proofs(store: Store) -> None:
    with FakeBackend("detector") as backend:
        measure = plans.Measure(backend, prompt_of(backend))
        run = planned_run(store, 9)
        run_all(store, run, 9, measure)
        direct = {o.key: o for o in measure(plan(9), None)}
    for trial in store.trials.of_run(run):
        assert (trial.response, trial.proofs) == (direct[trial.key].response, direct[trial.key].proofs)
        assert len(trial.proofs) == (trial.condition == "injected")
        assert all(p.positions > 0 and p.layer == trial.layer and p.change > 0 for p in trial.proofs)


@pytest.mark.parametrize("stop_after", [0, 1, 3, 4, 5, 9, 12])
def test_a_resumed_run_equals_one_that_was_never_interrupted(store: Store, stop_after: int) -> None:
    # Trials whose text depends on their neighbours: only whole batches give the same text again.
    whole, cut = planned_run(store, 13), planned_run(store, 13)
    run_all(store, whole, 13, neighbourly)
    session = run_trials(store, cut, plan(13), neighbourly, batch_size=4)
    for event in session:
        if store.runs.get(cut).done >= stop_after and not isinstance(event, RunStarted):
            break
    session.close()
    assert store.runs.get(cut).state == "interrupted"
    run_all(store, cut, 13, neighbourly)
    assert texts(store, cut) == texts(store, whole)
    assert store.runs.get(cut).state == "done"


def test_what_is_complete_of_a_block_and_measured_another_way_is_not_measured_again(store: Store) -> None:
    specs = [replace(spec(at), readout="score" if at % 2 else "text") for at in range(8)]
    run = planned_run(store, 8)
    asked: list[list[str]] = []

    def measure(some: Sequence[TrialSpec], on_token: OnToken | None) -> Iterator[Outcome]:
        asked.append([one.readout for one in some])
        for kind in ("score", "text"):
            yield from neighbourly([one for one in some if one.readout == kind], on_token)

    session = run_trials(store, run, specs, measure, batch_size=4)
    for event in session:
        if isinstance(event, TrialFinished) and store.runs.get(run).done == 6:
            break
    session.close()
    list(run_trials(store, run, specs, measure, batch_size=4))
    assert sorted(asked[0]) == ["score"] * 4 + ["text"] * 4
    assert asked[1] == ["text"] * 4, "replies have each other for neighbours, and scores are done"
    whole = planned_run(store, 8, "whole")
    list(run_trials(store, whole, specs, measure, batch_size=4))
    assert texts(store, run) == texts(store, whole)


def test_a_resumed_run_keeps_its_batches_whatever_it_is_asked_for(store: Store) -> None:
    whole, cut = planned_run(store, 13), planned_run(store, 13)
    run_all(store, whole, 13, neighbourly, size=4)
    session = run_trials(store, cut, plan(13), neighbourly, batch_size=4)
    for _ in range(5):
        next(session)
    session.close()
    seen = run_all(store, cut, 13, neighbourly, size=64)
    assert "batches of 4" in str(of(events.Notice, seen)[0])
    assert texts(store, cut) == texts(store, whole)


def test_a_finished_run_is_not_measured_again(store: Store) -> None:
    run = planned_run(store, 5)
    run_all(store, run, 5, neighbourly)
    seen = run_all(store, run, 5, failing(*range(5), error=AssertionError("was measured")))
    assert [type(event) for event in seen] == [RunStarted, RunFinished]


def test_texts_that_cannot_be_reproduced_are_pointed_out(store: Store) -> None:
    run = planned_run(store, 4)
    session = run_trials(store, run, plan(4), failing(), batch_size=4)
    for event in session:
        if isinstance(event, TrialFinished):
            break
    session.close()
    seen = run_all(store, run, 4, neighbourly)
    assert [e.text for e in of(events.Notice, seen) if "differently" in e.text]
    assert texts(store, run)[spec(0).key] == "reply 0", "what is stored stays"


def test_a_failing_trial_becomes_an_error_row_and_the_rest_goes_on(store: Store) -> None:
    run = planned_run(store, 12)
    seen = run_all(store, run, 12, failing(2, 9))
    assert {e.ordinal: e.error for e in of(TrialFailed, seen)} == {
        2: "trial 2 does not fit: shorten it",
        9: "trial 9 does not fit: shorten it",
    }
    now = store.runs.get(run)
    assert (now.state, now.done, now.errors, now.remaining) == ("done", 10, 2, 2)
    assert store.trials.find(run, spec(9).key).error == "trial 9 does not fit: shorten it"


def test_resuming_tries_failed_trials_again_and_only_those(store: Store) -> None:
    run = planned_run(store, 12)
    run_all(store, run, 12, failing(2, 9))
    seen = run_all(store, run, 12, failing(9))
    assert [e.ordinal for e in of(TrialFinished, seen)] == [2]
    assert (store.runs.get(run).done, store.runs.get(run).errors) == (11, 1)
    run_all(store, run, 12, failing())
    assert (store.runs.get(run).done, store.runs.get(run).errors) == (12, 0)
    assert texts(store, run) == {spec(i).key: f"reply {i}" for i in range(12)}


def test_when_memory_runs_out_half_as_many_rows_go_on_and_nothing_is_lost(store: Store) -> None:
    run = planned_run(store, 100)
    device = Device(capacity=5, rows=16)
    seen = list(device.run(store, run, 100, size=16))
    assert [e.text.split(",")[0] for e in of(events.Notice, seen)] == [
        "going on with 8 rows at a time",
        "going on with 4 rows at a time",
    ]
    assert all("\n" not in e.text for e in of(events.Notice, seen))
    now = store.runs.get(run)
    assert (now.state, now.done, now.errors, now.batch_size) == ("done", 100, 0, 4)
    assert set(device.sizes) == {4}, "the smaller size is kept"
    assert [t.ordinal for t in store.trials.of_run(run)] == list(range(100))


@pytest.mark.parametrize("stop_after", [1, 20, 21, 40, 90])
def test_a_run_short_of_memory_that_is_resumed_equals_one_that_was_not_interrupted(
    store: Store, stop_after: int
) -> None:
    whole, cut = planned_run(store, 100), planned_run(store, 100)
    list(Device(capacity=5, rows=16).run(store, whole, 100, size=16))
    session = Device(capacity=5, rows=16).run(store, cut, 100, size=16)
    for event in session:
        if store.runs.get(cut).done >= stop_after and isinstance(event, TrialFinished):
            break
    session.close()
    seen = list(Device(capacity=5, rows=16).run(store, cut, 100, size=16))
    assert texts(store, cut) == texts(store, whole)
    assert ["keeping batches" in e.text for e in of(events.Notice, seen)] == ([True] if stop_after > 8 else [False] * 2)


def test_a_trial_that_fits_no_memory_at_all_is_an_error_row(store: Store) -> None:
    def measure(specs: Sequence[TrialSpec], on_token: OnToken | None) -> Iterator[Outcome]:
        for s in specs:
            if s.trial == 5:
                raise OutOfMemory("one row is too much: use shorter prompts")
            yield outcome(s)

    run = planned_run(store, 12)
    sizes: list[int] = []
    list(run_trials(store, run, plan(12), measure, batch_size=4, shrink=sizes.append))
    assert sizes == [2, 1]
    assert (store.runs.get(run).done, store.runs.get(run).errors) == (11, 1)
    assert store.trials.find(run, spec(5).key).error == "one row is too much: use shorter prompts"


def test_trials_that_fail_are_found_without_running_the_others_one_by_one(store: Store) -> None:
    calls: list[int] = []

    def measure(specs: Sequence[TrialSpec], on_token: OnToken | None) -> Iterator[Outcome]:
        calls.append(len(specs))
        if any(s.trial == 77 for s in specs):
            raise KnownError("trial 77 does not fit: shorten it")
        yield from (outcome(s) for s in specs)

    run = planned_run(store, 128)
    run_all(store, run, 128, measure, size=32)
    assert (store.runs.get(run).done, store.runs.get(run).errors) == (127, 1)
    # 128, then two halves at each of 7 levels.
    assert len(calls) <= 1 + 2 * 7


def test_an_unforeseen_error_says_what_kind_it_is_in_one_line(store: Store) -> None:
    run = planned_run(store, 3)
    run_all(store, run, 3, failing(1, error=ZeroDivisionError("division\n by zero")))
    assert store.trials.find(run, spec(1).key).error == "ZeroDivisionError: division by zero"
    assert describe(KeyError()) == "KeyError"


def test_an_experiment_may_report_a_failed_trial_itself(store: Store) -> None:
    def measure(specs: Sequence[TrialSpec], on_token: OnToken | None) -> Iterator[Outcome]:
        yield from (outcome(s, error="no answer" if s.trial == 1 else None) for s in specs)

    run = planned_run(store, 3)
    run_all(store, run, 3, measure)
    assert [t.error for t in store.trials.of_run(run)] == [None, "no answer", None]


def test_a_trial_without_an_outcome_is_an_error_not_a_gap(store: Store) -> None:
    def measure(specs: Sequence[TrialSpec], on_token: OnToken | None) -> Iterator[Outcome]:
        yield from (outcome(s) for s in specs if s.trial != 1)

    run = planned_run(store, 3)
    run_all(store, run, 3, measure)
    assert "no outcome" in str(store.trials.find(run, spec(1).key).error)


@pytest.mark.parametrize("which", ["unknown", "twice"])
def test_an_outcome_nobody_asked_for_fails_the_run(store: Store, which: str) -> None:
    def measure(specs: Sequence[TrialSpec], on_token: OnToken | None) -> Iterator[Outcome]:
        yield from (outcome(spec(99) if which == "unknown" else specs[0]) for _ in range(2))

    run = planned_run(store, 3)
    with pytest.raises(RuntimeError, match="not asked for or came twice"):
        run_all(store, run, 3, measure)
    assert store.runs.get(run).state == "failed"


@pytest.mark.parametrize(("size", "count"), [(4, 100), (16, 100), (1, 100), (4, 3)])
def test_a_run_in_which_nothing_works_fails_before_the_night_is_over(store: Store, size: int, count: int) -> None:
    attempts = 0

    def broken(specs: Sequence[TrialSpec], on_token: OnToken | None) -> Iterator[Outcome]:
        nonlocal attempts
        attempts += 1
        raise KnownError("the device is gone: restart it")
        yield

    run = planned_run(store, count)
    session = run_trials(store, run, plan(count), broken, batch_size=size)
    seen: list[RunEvent] = []
    with pytest.raises(KnownError, match="failed: the device is gone: restart it"):
        seen.extend(session)
    tried = min(count, max(size, HOPELESS))
    # A tree over the trials of a block: as many inner nodes as leaves, and one path to the first of them.
    assert attempts <= 2 * tried + math.ceil(math.log2(BATCHES * size))
    now = store.runs.get(run)
    assert (now.state, now.done, now.errors) == ("failed", 0, tried)
    assert "the device is gone" in str(now.error)


def test_failures_after_a_success_do_not_end_the_run(store: Store) -> None:
    run = planned_run(store, 40)
    run_all(store, run, 40, failing(*range(1, 39)))
    assert (store.runs.get(run).state, store.runs.get(run).done, store.runs.get(run).errors) == ("done", 2, 38)


def test_an_injection_that_is_not_what_was_planned_fails_the_run_loudly(store: Store) -> None:
    run = planned_run(store, 12)
    seen: list[RunEvent] = []
    with pytest.raises(InjectionError, match="touched 0"):
        seen.extend(
            run_trials(store, run, plan(12), failing(5, error=InjectionError("touched 0: report it")), batch_size=4)
        )
    assert store.runs.get(run).state == "failed"
    assert store.runs.get(run).error == "touched 0: report it"
    assert store.runs.get(run).done == 5


def test_watchers_learn_of_a_failure_before_it_is_raised(store: Store) -> None:
    run = planned_run(store, 12)
    session = run_trials(store, run, plan(12), failing(0, error=InjectionError("wrong: report it")), batch_size=4)
    seen: list[RunEvent] = []
    with pytest.raises(InjectionError):
        seen.extend(session)
    last = seen[-1]
    assert isinstance(last, RunFinished)
    assert (last.state, last.error) == ("failed", "wrong: report it")


def test_tokens_are_told_while_they_are_generated(store: Store) -> None:
    heard: list[TokenGenerated] = []
    with FakeBackend("detector") as backend:
        run = planned_run(store, 5)
        list(
            run_trials(
                store, run, plan(5), plans.Measure(backend, prompt_of(backend)), batch_size=4, tokens=heard.append
            )
        )
    spoken = {key: "".join(t.text for t in heard if t.key == key) for key in texts(store, run)}
    assert {key: text.strip() for key, text in spoken.items()} == {k: t.strip() for k, t in texts(store, run).items()}


def test_a_plan_that_names_a_trial_twice_runs_it_once(store: Store) -> None:
    run = planned_run(store, 6)
    repeated = [spec(i) for i in (0, 1, 1, 2, 0, 3)]
    seen = list(run_trials(store, run, repeated, neighbourly, batch_size=4))
    assert len(of(TrialFinished, seen)) == 4
    assert (store.runs.get(run).planned, store.runs.get(run).done) == (4, 4)


def test_a_store_that_fills_up_ends_the_run_and_keeps_what_it_has(store: Store) -> None:
    run = planned_run(store, 400)

    def wordy(specs: Sequence[TrialSpec], on_token: OnToken | None) -> Iterator[Outcome]:
        yield from (outcome(s, f"{s.trial} word" * 100) for s in specs)

    (pages,) = store.database.connection.execute("PRAGMA page_count").fetchone()
    store.database.connection.execute(f"PRAGMA max_page_count = {pages + 10}")
    with pytest.raises(KnownError, match="disk is full"):
        run_all(store, run, 400, wordy)
    assert 0 < store.runs.get(run).done < 400
    store.database.connection.execute(f"PRAGMA max_page_count = {pages + 10_000}")
    store.runs.set_state(run, "interrupted")
    run_all(store, run, 400, wordy)
    assert store.runs.get(run).done == 400


def test_a_plan_is_read_a_batch_at_a_time(store: Store) -> None:
    count = 5_000
    run = planned_run(store, count)
    with store.database.write() as db:
        db.executemany(
            "INSERT INTO trials (run, key, ordinal, status, condition, finish, tokens, created, response, doses, "
            "proofs, measurements, spec) VALUES (?, ?, ?, 'done', 'control', 'stop', 1, '', '', '', '', '', '')",
            ((run, spec(i).key, i) for i in range(count - 1)),
        )

    def peak(planned: Iterator[TrialSpec]) -> int:
        tracemalloc.start()
        list(run_trials(store, run, planned, neighbourly, batch_size=32))
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    tracemalloc.start()
    held = plan(count)
    list_of_all = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del held
    keys_of_all = peak(iter(()))
    assert peak(spec(i) for i in range(count)) - keys_of_all < list_of_all / 10
    assert store.runs.get(run).done == count
