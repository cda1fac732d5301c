"""``mlxintro grade`` as it is typed: judges side by side, what they differ on, estimates, and wrong usage."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mlxintro.grading.base import Grade
from mlxintro.grading.claude import prices
from mlxintro.grading.claude.budget import Budget, BudgetSpentError
from mlxintro.grading.claude.prices import Long, Model, Tariff, Usage
from mlxintro.grading.disagreements import contradictions
from mlxintro.replies.grade_terms import GradeState
from mlxintro.store import records
from mlxintro.store.store import Store
from tests import cli
from tests.cli import Result
from tests.grading_runs import expected, fields, graded, stored_run
from tests.messages_server import MessagesServer, serving


@pytest.fixture
def home(tmp_path: Path) -> Path:
    stored_run(tmp_path / "mlxintro.db", 24)
    return tmp_path


@pytest.fixture
def server() -> Iterator[MessagesServer]:
    with serving() as running:
        yield running


def mlxintro(home: Path, *arguments: str, server: MessagesServer | None = None) -> Result:
    return cli.mlxintro(home, *arguments, **(server.environment if server else {"ANTHROPIC_API_KEY": ""}))


def test_several_judges_side_by_side_and_what_they_differ_on(home: Path, server: MessagesServer) -> None:
    assert mlxintro(home, "grade", "r").code == 0
    done = mlxintro(home, "grade", "r", "--grader", "claude", server=server)
    assert done.code == 0, done.err
    assert re.search(r"24 replies, \d+ questions at most", done.err)
    assert "24 graded (3 abstained)" in done.err
    local = mlxintro(
        home, "grade", "r", "--grader", "local", "--judge", "detector", "--judge-backend", "fake", "--as", "tiny"
    )
    assert local.code == 0, local.err
    with Store(home / "mlxintro.db") as store:
        run = store.runs.find("r").id
        assert store.grades.graders(run) == ["claude", "rules", "tiny"]
        assert {n: fields(g) for n, g in graded(store, run).items()} == {n: expected(n) for n in range(24)}
    for name in ("claude", "rules", "tiny"):
        assert mlxintro(home, "stats", "r", "--grader", name).code == 0
    listed = mlxintro(home, "grade", "r", "--disagreements", "--graders", "rules,claude", "--json")
    assert listed.code == 0
    weights = []
    for line in listed.lines:
        rules, claude = line["grades"]["rules"], line["grades"]["claude"]
        differ = {
            name
            for name in (*records.GRADE_FIELDS, "success")
            if None not in (rules[name], claude[name]) and rules[name] != claude[name]
        }
        assert differ
        assert differ == set(line["differ"]) - {"detects"}
        weights.append("success" in differ)
    assert weights == sorted(weights, reverse=True), "those that move a rate come first"
    everything = mlxintro(home, "grade", "r", "--disagreements")
    assert everything.code == 0
    assert "replies are read differently" in everything.err


def test_a_grader_that_failed_is_unscored_in_the_rates_and_not_abstaining(home: Path, server: MessagesServer) -> None:
    server.faults.extend(["schema", "refusal"])
    done = mlxintro(home, "grade", "r", "--grader", "claude", server=server)
    assert "2 could not be graded" in done.err
    found = json.loads(mlxintro(home, "stats", "r", "--grader", "claude", "--json").out)
    counts = [found["overall"]["counts"], found["controls"]]
    assert sum(count["unscored"] for count in counts) == 2
    assert sum(count["trials"] for count in counts) == 24
    assert mlxintro(home, "grade", "r", "--grader", "claude", "--retry", server=server).code == 0
    found = json.loads(mlxintro(home, "stats", "r", "--grader", "claude", "--json").out)
    assert found["overall"]["counts"]["unscored"] + found["controls"]["unscored"] == 0


def test_an_estimate_asks_nothing_and_stores_nothing(home: Path, server: MessagesServer) -> None:
    done = mlxintro(home, "grade", "r", "--grader", "claude", "--dry-run", "--json")
    estimate = json.loads(done.out)
    assert estimate["replies"] == 24
    assert 0 < estimate["dollars"] < estimate["worst"]
    assert server.seen == []
    with closing(sqlite3.connect(home / "mlxintro.db")) as db:
        assert db.execute("SELECT count(*) FROM grading_calls").fetchone() == (0,)
    assert mlxintro(home, "grade", "r", "--grader", "claude", "--price", "1,10", server=server).code == 0
    # The server counts 1000 tokens in and 90 out for each question; what was estimated at most is more.
    with Store(home / "mlxintro.db") as store:
        assert len(server.paid) <= estimate["questions"]
        assert store.calls.spent(store.runs.find("r").id, "claude") == pytest.approx(len(server.paid) * 0.00163)


def test_a_budget_that_ends_says_so_and_the_exit_code_too(home: Path, server: MessagesServer) -> None:
    done = mlxintro(home, "grade", "r", "--grader", "claude", "--price", "1,10", "--budget", "0.05", server=server)
    assert done.code == 1
    assert "raise --budget" in done.err
    assert 0 < len(server.paid) * 0.00163 <= 0.05
    done = mlxintro(home, "grade", "r", "--grader", "claude", "--price", "1,10", "--budget", "0.9", server=server)
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--grader", "claude"], "set ANTHROPIC_API_KEY"),
        (["--grader", "claude", "--model", "claude-of-tomorrow"], "is not known here: give it with --price"),
        (["--grader", "claude", "--price", "1"], "two prices"),
        (["--as", "x"], "--as belongs to --grader claude, openai and local"),
        (["--budget", "1"], "belongs to --grader claude"),
        (["--grader", "local"], "needs --judge"),
        (["--grader", "local", "--judge", "x", "--batch"], "belongs to --grader claude"),
        (["--grader", "claude", "--judge", "x"], "belongs to --grader local"),
        (["--grader", "claude", "--again", "--retry"], "choose one"),
        (["--grader", "claude", "--no-wait"], "belongs to --batch"),
        (["--graders", "a"], "belongs to --disagreements"),
        (["--json"], "belongs to --disagreements"),
        (["--disagreements"], "two graders are needed"),
        (["--disagreements", "--graders", "rules,me"], "has not graded"),
        (["--grader", "local", "--judge", "nosuch/", "--judge-backend", "fake"], "nosuch"),
    ],
)
def test_wrong_usage_is_one_line_and_grades_nothing(home: Path, arguments: list[str], said: str) -> None:
    done = mlxintro(home, "grade", "r", *arguments)
    assert done.code in (1, 2)
    assert said in done.err
    assert done.err.strip().count("\n") <= 1
    with closing(sqlite3.connect(home / "mlxintro.db")) as db:
        assert db.execute("SELECT count(*) FROM grades").fetchone() == (0,)


def test_prices_by_hand() -> None:
    model = Model(input=2.0, output=10.0, long=Long(above=1000, input=4.0, output=20.0))
    live, batch = Tariff(model), Tariff(model, batch=True)
    used = Usage(input_tokens=100, output_tokens=50, cache_creation_input_tokens=200, cache_read_input_tokens=300)
    # 100 at 2, 200 at 2.50, 300 at 0.20 and 50 at 10 dollars per million.
    assert live.cost(used) == pytest.approx(0.00126)
    assert batch.cost(used) == pytest.approx(0.00063)
    long = Usage(input_tokens=1001, output_tokens=50)
    assert live.cost(long) == pytest.approx((1001 * 4 + 50 * 20) / 1e6)


@pytest.mark.parametrize("name", sorted(prices.table().models))
def test_the_worst_case_is_no_less_than_any_bill_of_that_size(name: str) -> None:
    tariff = Tariff(prices.table().models[name])
    for size in (10, 5_000, 150_000):
        for usage in (
            Usage(input_tokens=size, output_tokens=2048),
            Usage(input_tokens=0, output_tokens=2048, cache_creation_input_tokens=size),
            Usage(input_tokens=0, output_tokens=2048, cache_read_input_tokens=size),
        ):
            assert tariff.at_most(size, 2048) >= tariff.cost(usage)


def test_the_default_model_is_one_the_sdk_lists_and_has_a_price() -> None:
    from typing import get_args

    from anthropic.types import Model as Listed

    known = {name for part in get_args(Listed) for name in get_args(part)}
    assert prices.table().default in known
    assert set(prices.table().models) <= known
    assert prices.find("claude-haiku-4-5-20251001") == prices.find("claude-haiku-4-5")
    assert prices.find("claude-of-tomorrow") is None


def test_a_budget_counts_what_is_under_way() -> None:
    budget = Budget(1.0, spent=0.25)
    budget.reserve(0.5)
    with pytest.raises(BudgetSpentError, match="raise --budget"):
        budget.reserve(0.5)
    budget.settle(0.5, 0.125)
    assert budget.spent == 0.375
    budget.reserve(0.625)
    with pytest.raises(BudgetSpentError):
        budget.reserve(0.001)


def test_open_fields_contradict_nothing() -> None:
    yes = Grade(affirms=True, identifies=True, named_before_affirming=False, coherent=True, refuses=False)
    late = Grade(affirms=True, identifies=True, named_before_affirming=True, coherent=True, refuses=False)
    open_ = Grade(None, None, None, None, None, GradeState.ABSTAINED)
    assert contradictions([yes, open_, yes]) == ()
    assert contradictions([yes]) == ()
    assert contradictions([yes, open_, late]) == ("named_before_affirming", "success")
