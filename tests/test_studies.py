"""A study is one object: one line begins it, the same line goes on with it, and what stopped it leaves no trace."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from mlxintro.backends.errors import KnownError, UsageError
from mlxintro.protocol import study_file
from mlxintro.protocol.study_parts import combinations
from mlxintro.running.study_order import order_of
from mlxintro.store.store import Store
from tests.cli import Call, events, mlxintro, started, until
from tests.messages_server import KEY, MessagesServer, serving

LADDER = """
name = "ladder"
models = ["detector", "null", "habitual"]
backend = "fake"
concepts = ["ocean", "fear"]
strengths = [2.0, 4.0]
trials = 2
controls = 2
"""
VARYING = {"run_id", "created", "rules.created"}
"""Columns that say when and under which id a trial was stored, which no two studies share."""


def written(folder: Path, text: str = LADDER, name: str = "night.toml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def frame_of(call: Callable[..., object], study: str) -> list[str]:
    """Every row of a study as text, without what no two studies share."""
    done = call("runs", "export", study)
    rows = [json.loads(line) for line in done.out.splitlines()]  # type: ignore[attr-defined]
    return [json.dumps({name: row[name] for name in row if name not in VARYING}) for row in rows]


def test_one_line_runs_every_model_and_the_same_line_finds_nothing_left_to_do(call: Call, tmp_path: Path) -> None:
    path = written(tmp_path)
    assert call("run", path).code == 0
    before = frame_of(call, "ladder")
    again = call("run", path)
    assert (again.code, "study ladder is done" in again.err) == (0, True)
    assert frame_of(call, "ladder") == before
    (study,) = call("studies", "list", "--json").lines
    runs = [part["run"]["name"] for part in study["parts"]]
    assert runs == ["ladder-1", "ladder-2", "ladder-3"]
    assert [part["label"] for part in study["parts"]] == ["detector", "null", "habitual"]
    done = call("stats", "ladder")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "is a study of 3 runs (ladder-1, ladder-2, ladder-3)" in done.err


@pytest.mark.slow
def test_a_part_that_fails_keeps_no_other_from_running_and_is_tried_again(call: Call, tmp_path: Path) -> None:
    path = written(
        tmp_path, LADDER.replace('"null"', '"detector?layers=2"').replace("trials = 2", "trials = 2\nlayers = [4]")
    )
    done = call("run", path)
    assert done.code == 1
    shown = call("studies", "show", "ladder", "--json").lines[0]
    assert [part["state"] for part in shown["parts"]] == ["done", "failed", "done"]
    assert "layer 4 is out of range" in shown["parts"][1]["error"]
    assert "layer 4 is out of range" in call("run", path).err, "and only this part is tried"


def test_a_folder_that_is_missing_is_a_problem_of_its_part_alone(tmp_path: Path) -> None:
    missing = tmp_path / "later"
    text = LADDER.replace('"null"', f'"{missing}"').replace('backend = "fake"', 'backend = "torch"')
    text = text.replace("detector", "smollm2").replace("habitual", "qwen2.5-7b")
    order = order_of(tmp_path / "x.db", written(tmp_path, text), {})
    assert [part.problem is None for part in order.parts] == [True, False, True]
    assert f"there is no folder {missing}" in str(order.parts[1].problem)
    assert order.parts[1].checked.study.model == str(missing)


def test_every_model_missing_is_refused_before_anything_is_stored(call: Call, tmp_path: Path) -> None:
    path = written(tmp_path, LADDER.replace('["detector", "null", "habitual"]', '["nobody", "noone"]'))
    done = call("run", path)
    assert (done.code, "no simulated subject" in done.err) == (2, True)
    assert call("studies", "list", "--json").lines == []


@pytest.mark.slow
def test_a_name_of_ones_own_stands_for_one_study_which_may_grow_and_not_change(call: Call, tmp_path: Path) -> None:
    assert call("run", written(tmp_path, LADDER.replace(', "habitual"', ""))).code == 0
    grown = call("run", written(tmp_path))
    assert (grown.code, "1 of 3 runs to do, 2 are done already" in grown.err) == (0, True)
    changed = call("run", written(tmp_path, LADDER.replace("trials = 2", "trials = 3")))
    assert (changed.code, "was begun with other settings" in changed.err) == (2, True)


@pytest.mark.slow
def test_without_a_name_other_settings_are_another_study(call: Call, tmp_path: Path) -> None:
    path = written(tmp_path, LADDER.replace('name = "ladder"', ""))
    assert call("run", path, "-m", "null").code == 0
    assert call("run", path, "-m", "detector").code == 0
    assert call("run", path, "-m", "null").code == 0
    names = [(study["name"], len(study["parts"])) for study in call("studies", "list", "--json").lines]
    assert names == [("night", 1), ("night-2", 1)]
    assert sorted(run["name"] for run in call("runs", "list", "--json").lines)[-2:] == ["night", "night-2"]


def test_a_single_study_that_cannot_begin_leaves_no_trace(call: Call, tmp_path: Path) -> None:
    path = written(tmp_path, 'backend = "fake"\nmodel = "detector"\nlayers = [99]\n')
    assert call("run", path).code == 2
    assert call("studies", "list", "--json").lines == []


def test_every_combination_of_the_axes_is_a_part_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('based_on = "lindsey"\n')
    text = 'models = ["a", "b"]\ndtypes = ["float32", "bfloat16"]\npresets = ["lindsey", "mine.toml"]\n'
    found = study_file.parse(text, "s.toml", tmp_path)
    made = list(combinations([{"model": one.model} for one in found.subjects], found.axes))
    assert [(one["model"], one["preset"], one["dtype"]) for one in made] == [
        (model, preset, dtype) for model in "ab" for preset in ("lindsey", "mine") for dtype in ("float32", "bfloat16")
    ]
    assert ["preset_data" in one for one in made] == [False, False, True, True] * 2


def test_a_flag_takes_the_place_of_an_axis(tmp_path: Path) -> None:
    path = written(tmp_path, LADDER + 'adapters = ["none", "control"]\ndtypes = ["float32", "bfloat16"]\n')
    order = order_of(tmp_path / "x.db", path, {"model": "null", "dtype": "float16"})
    assert [(part.asked.model, part.asked.dtype, part.asked.adapter) for part in order.parts] == [
        ("null", "float16", None),
        ("null", "float16", "control"),
    ]
    assert [part.label for part in order.parts] == ["null, no adapter", "null, adapter control"]


@pytest.mark.slow
def test_what_a_person_deletes_is_deleted_with_its_runs_or_without(call: Call, home: Path, tmp_path: Path) -> None:
    call("run", written(tmp_path))
    assert call("studies", "rm", "ladder", "--keep-runs", "--yes").code == 0
    assert {"ladder-1", "ladder-2"} <= {run["name"] for run in call("runs", "list", "--json").lines}
    refused = call("run", written(tmp_path))
    assert (refused.code, "there is already a run called" in refused.err) == (2, True)
    other = call("run", written(tmp_path), "--name", "other")
    assert other.code == 0
    assert call("runs", "rm", "other-2", "--yes").code == 0
    with Store(home / "mlxintro.db", read_only=True) as store:
        assert [part.state for part in store.studies.find("other").parts] == ["done", "waiting", "done"]
    assert call("studies", "resume", "other").code == 0
    assert [run.name for run in Store(home / "mlxintro.db").studies.runs_of("other")] == [
        "other-1",
        "other-2",
        "other-3",
    ]
    assert call("studies", "rm", "other", "--yes").code == 0
    assert not [run for run in call("runs", "list", "--json").lines if run["name"].startswith("other")]


def test_a_study_comes_home_with_its_runs_and_twice_changes_nothing(call: Call, home: Path, tmp_path: Path) -> None:
    away = tmp_path / "away"
    assert mlxintro(away, "run", written(tmp_path)).code == 0
    call("run", "injected-thoughts", "--backend", "fake", "--concepts", "ocean", "--trials", "1", "--name", "mine")
    with Store(home / "mlxintro.db") as store:
        store.studies.create("ladder", {}, ())
        for _ in range(2):
            store.import_from(away / "mlxintro.db")
        assert sorted(study.name for study in store.studies.all()) == ["ladder", "ladder-2"]
        found = store.studies.find("ladder-2")
        assert [run.name for run in found.runs] == ["ladder-1", "ladder-2", "ladder-3"]


@pytest.mark.slow
def test_a_hostile_part_is_refused(home: Path, tmp_path: Path) -> None:
    away = tmp_path / "away"
    assert mlxintro(away, "run", written(tmp_path)).code == 0
    with Store(away / "mlxintro.db") as store, store.database.write() as db:
        db.execute("""UPDATE study_parts SET settings = '{"model": "x", "trials": 7}' WHERE ordinal = 0""")
    with Store(home / "mlxintro.db") as store, pytest.raises(KnownError, match="table study_parts, row 1, column key"):
        store.import_from(away / "mlxintro.db")


@pytest.mark.slow
def test_one_study_at_a_time(tmp_path: Path) -> None:
    path = written(tmp_path, LADDER.replace('"detector"', '"detector?delay=0.2"'))
    process = started(tmp_path, "run", path, "--json", "--no-grade")
    until(events(process), "TrialFinished")
    second = mlxintro(tmp_path, "run", path)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert (second.code, "is being run by process" in second.err) == (1, True)


def test_names_of_studies_are_found_like_those_of_runs(tmp_path: Path) -> None:
    with Store(tmp_path / "x.db") as store:
        store.studies.create("night", {}, [("b2:1", "one", {})])
        store.studies.create("nightly", {}, ())
        assert store.studies.find("nightl").name == "nightly"
        assert store.studies.find("night").name == "night"
        for text, says in (("nigh", "could be 2 studies"), ("nite", "did you mean night"), ("x", "studies list")):
            with pytest.raises(UsageError, match=says):
                store.studies.find(text)
        with pytest.raises(UsageError, match="no run of the study night has begun"):
            store.studies.runs_of("night")
        with pytest.raises(UsageError, match="already a study called"):
            store.studies.create("night", {}, ())


ANSWER = (1000 * 1.0 + 90 * 10.0) / 1e6
"""US dollars that the server bills for an answer, at the prices below."""


def graded_study(folder: Path, server: MessagesServer, budget: float | None) -> str:
    grader = f'{{name = "openai", base_url = "{server.url}/v1", model = "judge-1", price = [1.0, 10.0]}}'
    limit = "" if budget is None else f"budget = {budget}\n"
    return written(folder, LADDER.replace('backend = "fake"', f'backend = "fake"\ngrader = {grader}\n{limit}'))


def test_one_budget_holds_for_all_runs_of_a_study_and_nothing_is_paid_twice(
    call: Call, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving() as server:
        assert call("run", graded_study(tmp_path, server, None), "--name", "free").code == 0
        whole = Counter((asked.question, asked.reply, asked.concept) for asked in server.paid)
        server.paid.clear()
        budget = 0.5 * whole.total() * ANSWER
        path = graded_study(tmp_path, server, budget)
        stopped = call("run", path)
        assert stopped.code == 1
        assert "raise --budget" in stopped.err
        spent = [len(server.paid) * ANSWER]
        assert 0 < spent[0] <= budget
        # The same line once more has nothing left to spend beyond what is not covered by a worst case.
        assert call("run", path).code == 1
        spent.append(len(server.paid) * ANSWER)
        assert spent[0] <= spent[1] <= budget
        done = call("run", graded_study(tmp_path, server, 2.0 * whole.total() * ANSWER))
        assert done.code == 0, done.err
        assert Counter((asked.question, asked.reply, asked.concept) for asked in server.paid) == whole
        with Store(home / "mlxintro.db") as store:
            runs = store.studies.runs_of("ladder")
            booked = sum(store.calls.spent(run.id, "openai") for run in runs)
            assert booked == pytest.approx(len(server.paid) * ANSWER)
            graded = [{one.key for one in store.grades.latest(run.id, grader="openai")} for run in runs]
            assert [len(keys) for keys in graded] == [run.done for run in runs]
