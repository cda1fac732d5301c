"""Questions to paid graders in the store: recorded once, settled once, and never lost sight of."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mlxintro.store.calls import GradingPass, PaidQuestion, Settled
from mlxintro.store.records import GradeRecord
from mlxintro.store.schema.migrations import MIGRATIONS, migrate
from mlxintro.store.store import Store
from tests.grading_runs import stored_run


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    stored_run(tmp_path / "s.db", 4)
    with Store(tmp_path / "s.db") as opened:
        yield opened


@pytest.fixture
def where(store: Store) -> GradingPass:
    return GradingPass(store.runs.find("r").id, "claude", "v1")


@pytest.fixture
def keys(store: Store, where: GradingPass) -> list[str]:
    return [trial.key for trial in store.trials.of_run(where.run)]


def test_a_question_is_under_way_or_answered_once(store: Store, where: GradingPass, keys: list[str]) -> None:
    call = store.calls.open(where, PaidQuestion(keys[0], "stance", 0.5))
    with pytest.raises(sqlite3.IntegrityError):
        store.calls.open(where, PaidQuestion(keys[0], "stance", 0.5))
    store.calls.settle(where.run, [Settled(call, "answered", 0.1, answer="{}")])
    with pytest.raises(sqlite3.IntegrityError):
        store.calls.open(where, PaidQuestion(keys[0], "stance", 0.5))
    store.calls.open(where, PaidQuestion(keys[0], "naming", 0.5))
    store.calls.open(GradingPass(where.run, "claude", "v2"), PaidQuestion(keys[0], "stance", 0.5))
    store.calls.open(GradingPass(where.run, "other", "v1"), PaidQuestion(keys[0], "stance", 0.5))


def test_a_failed_question_can_be_asked_again(store: Store, where: GradingPass, keys: list[str]) -> None:
    call = store.calls.open(where, PaidQuestion(keys[0], "stance", 0.5))
    store.calls.settle(where.run, [Settled(call, "failed", 0.1, reason="no")])
    store.calls.open(where, PaidQuestion(keys[0], "stance", 0.5))
    assert [c.state for c in store.calls.of_pass(where)] == ["failed", "sent"]


def test_settling_twice_changes_nothing(store: Store, where: GradingPass, keys: list[str]) -> None:
    call = store.calls.open(where, PaidQuestion(keys[0], "stance", 0.5))
    store.calls.settle(where.run, [Settled(call, "answered", 0.1, answer="first")])
    store.calls.settle(where.run, [Settled(call, "failed", 0.3, answer="second")])
    (found,) = store.calls.of_pass(where)
    assert (found.state, found.answer) == ("answered", "first")
    assert store.calls.spent(where.run, "claude") == pytest.approx(0.1)


def test_an_answer_and_its_grade_are_stored_together_or_not_at_all(
    store: Store, where: GradingPass, keys: list[str]
) -> None:
    call = store.calls.open(where, PaidQuestion(keys[0], "stance", 0.5))
    with pytest.raises(sqlite3.IntegrityError):
        store.calls.settle(
            where.run,
            [Settled(call, "answered", 0.1, answer="{}")],
            [GradeRecord(key="b2:nobody", grader="claude", version="v1")],
        )
    assert [c.state for c in store.calls.of_pass(where)] == ["sent"]
    assert store.grades.latest(where.run) == []


def test_what_is_spent_is_the_worst_case_until_the_cost_is_known(
    store: Store, where: GradingPass, keys: list[str]
) -> None:
    first = store.calls.open(where, PaidQuestion(keys[0], "stance", 0.5))
    second = store.calls.open(GradingPass(where.run, "claude", "v2"), PaidQuestion(keys[1], "stance", 0.25))
    assert store.calls.spent(where.run, "claude") == pytest.approx(0.75)
    store.calls.reserve_more(first, 0.5)
    assert store.calls.spent(where.run, "claude") == pytest.approx(1.25)
    store.calls.settle(where.run, [Settled(second, "void", 0.0)])
    # Its process is dead: it may have been paid for.
    store.calls.void(where, state="sent")
    assert store.calls.spent(where.run, "claude") == pytest.approx(1.0)
    assert store.calls.of_pass(where) == []


def test_a_batch_is_known_before_it_has_an_id(store: Store, where: GradingPass, keys: list[str]) -> None:
    batch, calls = store.calls.open_batch(where, "t1", [PaidQuestion(key, "stance", 0.5) for key in keys])
    assert len(set(calls)) == batch.size == 4
    ((found_where, found),) = store.calls.batches(where.run, "claude", "intent")
    assert (found_where, found) == (where, batch)
    store.calls.void(where, state="sent")
    assert set(store.calls.of_batch(batch.id)) == set(calls), "the API may still answer what is in a batch"
    store.calls.batch_submitted(batch.id, "msgbatch_1")
    assert store.calls.submitted() == {"msgbatch_1"}
    store.calls.settle(where.run, [Settled(calls[0], "answered", 0.1, answer="{}")])
    store.calls.finish_batch(batch.id, state="done")
    assert store.calls.batches(where.run, "claude", "intent", "open") == []
    assert store.calls.spent(where.run, "claude") == pytest.approx(0.1 + 3 * 0.5)


def test_questions_go_with_their_run_and_stay_out_of_imports(store: Store, where: GradingPass, keys: list[str]) -> None:
    store.calls.open_batch(where, "t1", [PaidQuestion(key, "stance", 0.5) for key in keys])
    with Store(store.path.with_name("other.db")) as other:
        assert other.import_from(store.path).trials == 4
        assert other.calls.of_pass(where) == []
    store.runs.delete(where.run)
    with closing(sqlite3.connect(store.path)) as db:
        assert db.execute("SELECT count(*) FROM grading_calls").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM grading_batches").fetchone() == (0,)


def test_a_store_from_before_learns_to_keep_questions(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        migrate(db, MIGRATIONS[:2])
        assert not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'grading_calls'").fetchall()
    run = stored_run(path, 2)
    with Store(path) as store:
        key = next(store.trials.of_run(run)).key
        store.calls.open(GradingPass(run, "claude", "v"), PaidQuestion(key, "stance", 0.5))
        assert store.calls.spent(run, "claude") == 0.5
