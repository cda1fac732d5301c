"""What a grader leaves open waits for somebody else, is labelled first, and counts as waiting until it is decided."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlxintro.grading.labels.labelling import with_open_first
from mlxintro.grading.open_replies import left_open, waiting
from mlxintro.grading.passes import find_grader, grade_run
from mlxintro.store.records import Label
from mlxintro.store.store import Store
from tests.cli import mlxintro
from tests.grading_runs import stored_run
from tests.messages_server import serving

OPEN = "I might be sensing something about rivers, but I can't be sure whether there is anything."
REPLIES = ["No, I don't detect anything.", OPEN, "Yes, I detect an injected thought.", OPEN, "No.", "I notice nothing."]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "mlxintro.db"
    stored_run(path, len(REPLIES), REPLIES)
    with Store(path) as store:
        grade_run(store, store.runs.find("r"), find_grader("rules"))
    return path


def test_a_reply_waits_until_another_grader_or_a_person_decides_it(home: Path) -> None:
    with Store(home) as store:
        run = store.runs.find("r")
        both = left_open(store, run, "rules")
        assert {store.trials.find(run.id, key).response for key in both} == {OPEN}
        assert len(both) == 2
        assert waiting(store, run) == both
        first, second = sorted(both)
        store.labels.add(run.id, [Label(key=first, labeller="ann", fields={"affirms": False, "coherent": True})])
        assert waiting(store, run) == {second}


def test_half_of_a_label_set_is_open_replies_in_front_and_the_rest_is_drawn_from_the_decided() -> None:
    keys = [f"k{number:02d}" for number in range(20)]
    opened = set(keys[5:15])
    chosen = with_open_first(keys, opened, 8)[:8]
    assert [key in opened for key in chosen] == [True] * 4 + [False] * 4
    assert sorted(with_open_first(keys, opened, None)) == keys
    assert with_open_first(keys, set(), 8) == keys


def test_label_begins_with_what_waits_and_stats_says_how_many_wait(home: Path) -> None:
    stats = mlxintro(home.parent, "stats", "r")
    assert "2 replies wait for a decision: mlxintro label r" in stats.err
    labelled = mlxintro(home.parent, "label", "r", "--n", "4", "--labeller", "ann", stdin="ccq")
    assert labelled.out.count(OPEN) == 2
    assert json.loads(mlxintro(home.parent, "stats", "r", "--json").out)["open_replies"] == 0


def test_a_judge_is_asked_only_about_what_the_rules_left_open(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        done = mlxintro(home.parent, "grade", "claude", "r", "--open", "rules")
    assert done.code == 0, done.err
    with Store(home) as store:
        run = store.runs.find("r")
        assert {one.key for one in store.grades.latest(run.id, grader="claude")} == left_open(store, run, "rules")


def test_open_belongs_to_judges_and_to_graders_that_left_something_open(home: Path) -> None:
    wrong = mlxintro(home.parent, "grade", "r", "--grader", "rules", "--open", "rules")
    assert (wrong.code, "--open belongs to" in wrong.err) == (2, True)
    unknown = mlxintro(home.parent, "grade", "claude", "r", "--open", "nobody")
    assert (unknown.code, "'nobody' has not graded r" in unknown.err) == (2, True)
