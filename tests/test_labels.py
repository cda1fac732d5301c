"""Labelling blind: what is asked and shown, undo and resume, frozen sets, files, and agreement with known counts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlxintro.backends.errors import UsageError
from mlxintro.grading.agreement import agreements, calibration_of
from mlxintro.grading.labels.labelling import Item, LabellingSession, draw, items, to_grade
from mlxintro.store import Finished, GradeRecord, Label, Store
from tests.cli import mlxintro
from tests.plans import outcome, plan

YES = "Yes, I detect an injected thought. It is about the ocean."


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "mlxintro.db") as opened:
        run = opened.runs.create("injected-thoughts", planned=30, name="first")
        opened.trials.add(run.id, [Finished(i, s, outcome(s, YES if i % 2 else "No.")) for i, s in enumerate(plan(30))])
        yield opened


def _session(count: int = 3) -> LabellingSession:
    return LabellingSession("ada", [Item(f"k{i}", "Yes.", "ocean", decoy=i == 1) for i in range(count)])


def test_two_keys_at_most_and_the_word_comes_second() -> None:
    session = _session()
    assert session.stage == "claim"
    assert session.press("y") is None
    assert session.stage == "naming"
    label = session.press("d")
    assert label is not None
    assert (label.key, label.fields["affirms"], label.fields["identifies"]) == ("k0", True, True)
    denial = _session().press("n")
    assert denial is not None
    assert (denial.fields["affirms"], denial.fields["coherent"], denial.fields["refuses"]) == (False, True, False)


def test_a_decoy_is_asked_about_and_says_nothing_of_identification() -> None:
    session = _session()
    session.press("n")
    session.press("y")
    assert session.stage == "naming"
    label = session.press("d")
    assert label is not None
    assert label.fields["identifies"] is None
    assert label.fields["decoy"] == "ocean"


def test_garble_and_refusals_are_no_detections_and_undecided_is_open() -> None:
    grades = {}
    for key in "rgx":
        label = _session().press(key)
        assert label is not None
        grades[key] = to_grade(label.fields)
    assert grades["r"] is not None
    assert grades["r"].detects is False
    assert grades["g"] is not None
    assert grades["g"].detects is False
    assert grades["x"] is not None
    assert grades["x"].abstained


def test_undo_takes_back_half_an_answer_then_whole_ones_in_order() -> None:
    session = _session()
    session.press("n")
    session.press("y")
    assert session.undo() is None
    assert session.stage == "claim"
    assert session.item is not None
    assert session.item.key == "k1"
    withdrawn = session.undo()
    assert withdrawn is not None
    assert withdrawn.key == "k0"
    assert to_grade(withdrawn.fields) is None
    assert [item.key for item in session.queue] == ["k0", "k1", "k2"]
    assert session.undo() is None


def test_skipped_trials_come_last_and_wrong_keys_change_nothing() -> None:
    session = _session()
    session.skip()
    assert [item.key for item in session.queue] == ["k1", "k2", "k0"]
    with pytest.raises(KeyError):
        session.press("d")


def test_controls_show_a_word_of_the_run_as_injected_trials_do(store: Store) -> None:
    run = store.runs.find("first")
    trials = list(store.trials.of_run(run.id))
    shown = items(trials, draw(trials, None, 1))
    words = {item.word for item in shown if not item.decoy}
    assert len(shown) == 30
    assert {item.word for item in shown if item.decoy} <= words
    assert draw(trials, None, 1) == draw(trials, None, 1) != draw(trials, None, 2)


def test_a_run_is_labelled_from_the_terminal_left_and_gone_on_with(store: Store, tmp_path: Path) -> None:
    first = mlxintro(tmp_path, "label", "first", "--labeller", "ada", "--n", "4", stdin="nnq")
    assert first.code == 0
    assert "2 of 4" in first.err
    assert "control" not in first.out
    second = mlxintro(tmp_path, "label", "first", "--labeller", "ada", stdin="nunn")
    assert "4 of 4" in second.err
    other = mlxintro(tmp_path, "label", "first", "--labeller", "bob", stdin="cccc")
    assert "4 of 4" in other.err
    run = store.runs.find("first")
    named: dict[str, set[str]] = {label.labeller: set() for label in store.labels.latest(run.id)}
    for label in store.labels.latest(run.id):
        named[label.labeller].add(label.key)
    assert named["ada"] == named["bob"]


def test_a_frozen_set_takes_no_more_labels(store: Store, tmp_path: Path) -> None:
    mlxintro(tmp_path, "label", "first", "--labeller", "ada", "--n", "4", stdin="n")
    assert mlxintro(tmp_path, "label", "first", "--freeze").code == 0
    refused = mlxintro(tmp_path, "label", "first", "--labeller", "ada", stdin="n")
    assert refused.code == 2
    assert "frozen" in refused.err
    run = store.runs.find("first")
    with pytest.raises(UsageError, match="frozen"):
        store.labels.add(run.id, [Label(key=store.label_sets.of_run(run.id)[0].keys[3], labeller="eve")])
    assert mlxintro(tmp_path, "label", "first", "--set", "nothing", "--freeze").code == 2


def test_labels_travel_as_json_lines(store: Store, tmp_path: Path) -> None:
    mlxintro(tmp_path, "label", "first", "--labeller", "ada", "--n", "3", stdin="nrg")
    file = tmp_path / "labels.jsonl"
    assert mlxintro(tmp_path, "label", "first", "--export", str(file)).code == 0
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(rows) == 3
    file.write_text("".join(json.dumps({**row, "labeller": "bob"}) + "\n" for row in rows))
    assert mlxintro(tmp_path, "label", "first", "--import", str(file)).code == 0
    run = store.runs.find("first")
    kept = {who: {x.key: x.fields for x in store.labels.latest(run.id, labeller=who)} for who in ("ada", "bob")}
    assert kept["ada"] == kept["bob"]
    file.write_text('{"trial_key": "b2:0", "labeller": "eve", "affirms": "perhaps"}\n')
    bad = mlxintro(tmp_path, "label", "first", "--import", str(file))
    assert bad.code == 2
    assert "line 1" in bad.err


def test_agreement_counts_what_was_put_in(store: Store) -> None:
    """Kappa by hand: 20 yes-yes, 5 yes-no, 1 no-yes, 4 no-no of 30: observed 0.8, expected 0.635, kappa 0.451."""
    run = store.runs.find("first")
    keys = [trial.key for trial in store.trials.of_run(run.id)]
    person = [True] * 25 + [False] * 5
    judge = [True] * 20 + [False] * 5 + [True] + [False] * 4
    store.labels.add(
        run.id,
        [
            Label(key=k, labeller="ada", fields={"affirms": v, "coherent": True, "refuses": False})
            for k, v in zip(keys, person, strict=True)
        ],
    )
    store.grades.add(
        run.id,
        [
            GradeRecord(key=k, grader="rules", version="1", affirms=v, coherent=True, refuses=False)
            for k, v in zip(keys, judge, strict=True)
        ],
    )
    found = next(one for one in agreements(store, run) if (one.field, one.condition) == ("detects", "all"))
    table = found.confusion
    assert (found.first, found.second) == ("ada", "rules")
    assert (table.yes_yes, table.yes_no, table.no_yes, table.no_no, table.undecided) == (20, 5, 1, 4, 0)
    observed, expected = 24 / 30, (25 / 30) * (21 / 30) + (5 / 30) * (9 / 30)
    assert found.kappa == pytest.approx((observed - expected) / (1 - expected))
    assert table.calibration.sensitivity == pytest.approx(20 / 25)
    assert table.calibration.specificity == pytest.approx(4 / 5)
    assert calibration_of(store, run, "rules") == table.calibration
    assert calibration_of(store, run, "nobody") is None
    parts = {one.condition: one.confusion.decided for one in agreements(store, run) if one.field == "detects"}
    assert parts["injected"] + parts["control"] == parts["all"] == 30
    with pytest.raises(UsageError, match="said nothing"):
        agreements(store, run, ["ada", "nobody"])


def test_agreement_from_the_command_line(store: Store, tmp_path: Path) -> None:
    assert mlxintro(tmp_path, "grade", "first").code == 0
    alone = mlxintro(tmp_path, "grade", "first", "--agreement")
    assert alone.code == 2
    assert "between two" in alone.err
    mlxintro(tmp_path, "label", "first", "--labeller", "ada", "--n", "6", stdin="nnnnnn")
    done = mlxintro(tmp_path, "grade", "first", "--agreement", "--between", "ada,rules", "--json")
    rows = {(row["field"], row["condition"]): row for row in done.lines}
    run = store.runs.find("first")
    labelled = {label.key for label in store.labels.latest(run.id)}
    claims = sum(trial.response == YES for trial in store.trials.of_run(run.id) if trial.key in labelled)
    assert rows["affirms", "all"]["confusion"]["no_yes"] == claims
    assert rows["affirms", "all"]["confusion"]["no_no"] == 6 - claims
    assert mlxintro(tmp_path, "grade", "first", "--between", "a,b").code == 2


@pytest.mark.parametrize(
    ("key", "identifies", "level"),
    [("d", True, "exact"), ("f", True, "exact"), ("k", False, "category"), ("t", False, None)],
)
def test_a_label_says_how_near_the_word_is_named(key: str, identifies: bool, level: str | None) -> None:
    session = LabellingSession("ann", [Item("k", "Yes, a thought about the ocean.", "ocean", decoy=False)])
    session.press("y")
    label = session.press(key)
    assert label is not None
    assert (label.fields["identifies"], label.fields["naming"]) == (identifies, level)
    grade = to_grade(label.fields)
    assert grade is not None
    assert grade.naming == level


def test_a_relative_that_a_person_accepts_is_close_and_not_exact() -> None:
    session = LabellingSession("ann", [Item("k", "Yes, a thought about the sea.", "ocean", decoy=False)])
    session.press("y")
    label = session.press("d")
    assert label is not None
    assert label.fields["naming"] == "close"
