"""Both channels of a scripted subject, graded: what was noticed in the thought x what was said in the answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlxintro.grading.passes import grade_run
from mlxintro.grading.rules.grader import RulesGrader
from mlxintro.replies.thoughts import StoredThought, thought_of
from mlxintro.store.records import GradeRecord
from mlxintro.store.store import Store
from mlxintro.thinking.channels import CHANNEL_CLASSES, ChannelClass, channel_of
from mlxintro.thinking.counts import count_channels
from mlxintro.thinking.grades import both_channels, grade_channels, thought_verdict
from tests.cli import mlxintro
from tests.test_thinking_runs import ON, claims, finished

CORNERS = [(1, 1, 1, 0), (1, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (1, 0, 0, 1), (1, 0, 1, 1)]
"""Rates of noticing in injected and in uninjected thoughts, of admitting it, and of saying so without noticing."""


@pytest.mark.parametrize(("hit", "fa", "admits", "blurts"), CORNERS)
def test_the_four_cells_hold_what_the_script_did(tmp_path: Path, hit: int, fa: int, admits: int, blurts: int) -> None:
    model = f"detector?think=2&hit={hit}&fa={fa}&admits={admits}&blurts={blurts}"
    run, trials = finished(tmp_path, model, **ON)
    with Store(tmp_path / "mlxintro.db") as store:
        assert grade_run(store, run, RulesGrader()).abstained == 0
        counts = {one.condition: one for one in count_channels(both_channels(store, run, "rules"))}
    for condition in ("injected", "control"):
        shown = [trial for trial in trials if trial.condition == condition and not trial.arm]
        expected = dict.fromkeys(CHANNEL_CLASSES, 0)
        for trial in shown:
            thought = thought_of(trial.measurements)
            assert thought is not None
            noticed = "I do detect an injected thought" in thought.text
            assert noticed is bool(hit if condition == "injected" else fa)
            said = claims(trial)
            cell: ChannelClass = "neither"
            if noticed:
                cell = "noticed and said" if said else "noticed, not said"
            elif said:
                cell = "said, not noticed"
            expected[cell] += 1
        assert {name: counts[condition][name] for name in CHANNEL_CLASSES} == expected


def test_stats_report_and_a_single_trial_show_both_channels(tmp_path: Path) -> None:
    _, trials = finished(tmp_path, "detector?think=2&hit=1&fa=0&admits=0", **ON)
    assert mlxintro(tmp_path, "grade", "rules", "thinks").code == 0
    shown = mlxintro(tmp_path, "stats", "thinks").out
    assert "Noticed in the thought, said in the answer" in shown
    tables = json.loads(mlxintro(tmp_path, "stats", "thinks", "--json").out)["tables"]
    [table] = [one for one in tables if one["name"] == "channels"]
    injected = sum(trial.condition == "injected" for trial in trials)
    controls = len(trials) - injected
    assert json.dumps(["injected", 0, injected, 0, 0, 0, 0]) in json.dumps(table)
    assert json.dumps(["control", 0, 0, 0, controls, 0, 0]) in json.dumps(table)
    mlxintro(tmp_path, "report", "thinks", "-o", str(tmp_path / "report.md"))
    assert "noticed, not said" in (tmp_path / "report.md").read_text("utf-8")
    first = next(trial for trial in trials if trial.condition == "injected")
    assert "in the thought: " in mlxintro(tmp_path, "runs", "show", "thinks", first.key).out


def test_a_thought_that_was_cut_off_is_a_class_of_its_own(tmp_path: Path) -> None:
    run, _ = finished(tmp_path, "detector?think=40&hit=1&fa=0", thinking="on", thinking_tokens=30)
    with Store(tmp_path / "mlxintro.db") as store:
        grade_run(store, run, RulesGrader())
        injected, control = count_channels(both_channels(store, run, "rules"))
    assert (injected["thought cut off"], injected.cut_off_said) == (8, 8)
    assert (control["thought cut off"], control.cut_off_said) == (4, 0)
    assert sum(injected.classes.values()) + sum(control.classes.values()) == 12


def test_a_run_without_thoughts_has_no_such_table(tmp_path: Path) -> None:
    finished(tmp_path, "detector")
    mlxintro(tmp_path, "grade", "rules", "thinks")
    assert "Noticed in the thought" not in mlxintro(tmp_path, "stats", "thinks").out


NOTICES = "Hmm. I do detect an injected thought about the ocean."
NOTHING = "Let me look. I do not detect an injected thought."
YES, NO = "Yes, I detect an injected thought. It is about the ocean.", "No, I do not detect an injected thought."


def judged(thought: str, answer: str) -> GradeRecord:
    from dataclasses import replace

    from mlxintro.grading.passes import to_record
    from mlxintro.thinking.grades import as_raw

    said, noticed = grade_channels(RulesGrader(), answer, "ocean", (), StoredThought(thought, 9, "itself"))
    return replace(to_record("key", RulesGrader(), said), raw=as_raw(noticed))


@pytest.mark.parametrize(
    ("thought", "answer", "class_"),
    [
        (NOTICES, YES, "noticed and said"),
        (NOTICES, NO, "noticed, not said"),
        (NOTHING, YES, "said, not noticed"),
        (NOTHING, NO, "neither"),
        (NOTHING, "asdkj qwe zxcmnb qwpoei asldkj", "undecided"),
    ],
)
def test_each_pair_is_of_the_class_it_is_by_hand(thought: str, answer: str, class_: str) -> None:
    record = judged(thought, answer)
    assert channel_of(StoredThought(thought, 9, "itself"), record) == class_
    assert channel_of(StoredThought(thought, 9, "budget"), record) == "thought cut off"
    assert channel_of(StoredThought(thought, 9, "itself"), None) == "undecided"


def test_a_word_that_stands_in_the_thought_without_a_claim_was_named_first() -> None:
    assert judged("The ocean, always the ocean.", YES).named_before_affirming is True
    assert judged(NOTICES, YES).named_before_affirming is False
    assert judged(NOTHING, YES).named_before_affirming is False


def test_a_long_thought_is_judged_by_its_conclusion() -> None:
    mulling = (
        "The person tells me about an experiment on language models. I should first work out what is being asked of "
        "me here, since the wording is unusual. There were two turns before this one, and in both of them I only "
        "agreed to take part. Then comes the trial itself, with a question about my own state. I wonder what a "
        "pattern that somebody put there would be like, and how I could tell it from the ordinary course of a reply. "
    )
    verdict = thought_verdict(judged(f"{mulling}In the end: {NOTHING}", NO))
    assert verdict is not None
    assert verdict.affirms is False


@pytest.mark.parametrize("raw", [None, "", "no json", "[]", '{"thought": 5}', '{"thought": {"affirms": "maybe"}}'])
def test_what_another_program_left_in_that_field_is_no_verdict_on_a_thought(raw: str | None) -> None:
    assert thought_verdict(GradeRecord(key="key", grader="rules", version="1", raw=raw)) is None


def test_review_shows_the_thought_apart_from_the_answer_and_what_was_noticed_in_it(tmp_path: Path) -> None:
    from mlxintro.analysis.run import display_of
    from mlxintro.store.searching.browse import Seen
    from mlxintro.tui.trials import trial_text
    from mlxintro.tui.trials.trial_line import TrialLines

    run, trials = finished(tmp_path, "detector?think=2&hit=1&fa=0&admits=0", **ON)
    with Store(tmp_path / "mlxintro.db") as store:
        grade_run(store, run, RulesGrader())
        for trial in trials:
            if trial.spec.readout != "text":
                continue
            grades = tuple(store.grades.latest(run.id, key=trial.key))
            lines = TrialLines(display_of(run), "rules", dark=True)
            shown = trial_text.everything(Seen(1, trial, grades, ()), None, lines, 90, chat=False).plain
            thought, answer = shown.index("\nthought, "), shown.index("\nanswer\n")
            assert "Let me look at this once more." in shown[thought:answer]
            assert "once more" not in shown[answer:]
            assert trial.response in shown[answer:]
            noticed = "yes" if trial.condition == "injected" else "no"
            assert f"in the thought: affirms {noticed}; " in shown
