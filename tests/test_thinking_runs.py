"""A scripted subject that thinks, through the commands: budgets are kept, and thought and answer are kept apart."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlxintro.backends.base import ThoughtLimit
from mlxintro.backends.errors import KnownError, UsageError
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.protocol.study import THINKING_TOKENS, Study, make_study
from mlxintro.replies.thoughts import thought_of
from mlxintro.running import launch
from mlxintro.running.events import TrialFinished
from mlxintro.store.records import Run, Trial
from mlxintro.store.store import Store
from tests.cli import COMMAND, environment, mlxintro

RUN = ("run", "injected-thoughts", "--backend", "fake")
GRID: dict[str, Any] = {"concepts": ["ocean", "milk"], "layers": [5], "strengths": [2.0], "trials": 4, "controls": 4}
ON: dict[str, Any] = {"thinking": "on", "thinking_tokens": 200}


def finished(home: Path, model: str, stop_after: int | None = None, **settings: Any) -> tuple[Run, list[Trial]]:
    """A run of a scripted subject in a store, whole or up to some trial; begun anew, or resumed."""
    with FakeBackend(model, batch_size=4) as backend, Store(home / "mlxintro.db") as store:
        runs = store.runs.all()
        if runs:
            checked = launch.check_again(runs[0])
        else:
            checked = launch.check(make_study(model=model, backend="fake", **{**GRID, **settings}))
        planned = launch.plan(checked, backend)
        run = runs[0] if runs else launch.begin(store, checked, backend, planned, "thinks")
        session = launch.prepare(store, backend, planned, run=run)
        with closing(launch.execute(store, run, checked, planned, session)) as events:
            done = 0
            for event in events:
                done += isinstance(event, TrialFinished)
                if done == stop_after:
                    break
        return store.runs.get(run.id), list(store.trials.of_run(run.id))


def claims(trial: Trial) -> bool:
    """Whether a scripted answer says that something was noticed."""
    return not trial.response.startswith(("No", "I don't", "I do not"))


def test_thought_and_answer_have_budgets_of_their_own(tmp_path: Path) -> None:
    model = "detector?think=3&hit=1&fa=0"
    run, trials = finished(tmp_path, model, **ON, max_tokens=9)
    assert (run.study["thinking"], run.study["thinking_tokens"]) == ("on", 200)
    backend = FakeBackend(model)
    for trial in trials:
        thought = thought_of(trial.measurements)
        assert thought is not None
        assert thought.closed == "itself"
        assert thought.text.count("Let me look at this once more.") == 3
        assert thought.text.rstrip().endswith(".")
        assert len(backend.tokenizer.encode(thought.text.rstrip("\n") + "\n").tokens) == thought.tokens
        assert trial.tokens <= 9
        assert "once more" not in trial.response
        assert ("not detect" in thought.text) is (trial.condition == "control")


def test_a_thought_that_is_too_long_is_cut_off_and_the_answer_still_given(tmp_path: Path) -> None:
    model = "detector?think=40&hit=1&fa=0"
    _, trials = finished(tmp_path, model, thinking="on", thinking_tokens=30)
    for trial in trials:
        thought = thought_of(trial.measurements)
        assert thought is not None
        assert (thought.tokens, thought.closed, thought.truncated) == (30, "budget", True)
        # It came to no conclusion, so the answer follows the state.
        assert claims(trial) is (trial.condition == "injected")


@pytest.mark.parametrize(("admits", "blurts"), [(0, 0), (1, 1), (0, 1)])
def test_the_answer_need_not_follow_the_thought(tmp_path: Path, admits: int, blurts: int) -> None:
    model = f"detector?think=1&hit=1&fa=0&admits={admits}&blurts={blurts}"
    _, trials = finished(tmp_path, model, **ON)
    for trial in trials:
        thought = thought_of(trial.measurements)
        assert thought is not None
        noticed = "not detect" not in thought.text
        assert noticed is (trial.condition == "injected")
        assert claims(trial) is bool(admits if noticed else blurts)


def test_off_and_empty_put_nothing_into_the_trials_but_their_prompt(tmp_path: Path) -> None:
    tails = {}
    for mode in ("off", "empty"):
        run, trials = finished(tmp_path / mode, "detector?think=2", thinking=mode)
        assert run.study["thinking_tokens"] is None
        assert all("thought" not in trial.measurements and not trial.spec.thinking_tokens for trial in trials)
        with Store(tmp_path / mode / "mlxintro.db", read_only=True) as store:
            tails[mode] = {prompt.text[-30:] for prompt in store.prompts.of_run(run.id).values()}
    assert all(tail.endswith("<think>\n\n</think>\n\n") for tail in tails["empty"])
    assert not any("think>" in tail for tail in tails["off"])


def test_a_study_that_says_nothing_of_thinking_is_planned_as_before() -> None:
    settings: dict[str, Any] = {"model": "detector", "backend": "fake", "concepts": ["ocean"], "controls": "full"}
    before = launch.check(make_study(**settings))
    off = launch.check(make_study(**settings, thinking="off"))
    with FakeBackend("detector") as backend:
        plan = [launch.plan(one, backend) for one in (before, off)]
    assert [spec.key for spec in plan[0]] == [spec.key for spec in plan[1]]
    for spec in plan[0]:
        assert "thinking" not in spec.to_json()
        assert '"part"' not in spec.to_json()


def test_yes_is_read_at_the_first_token_of_the_answer_after_the_trials_own_thought(tmp_path: Path) -> None:
    model = "detector?think=1&hit=1&fa=0&blurts=0"
    for admits in (0, 1):
        _, trials = finished(tmp_path / str(admits), f"{model}&admits={admits}", **ON, controls=["question"])
        scored = [trial for trial in trials if trial.spec.readout == "score" and trial.condition == "injected"]
        assert scored
        for trial in scored:
            thought = thought_of(trial.measurements)
            assert thought is not None
            assert "I do detect an injected thought" in thought.text
            found = trial.measurements["logprobs"]
            assert (found["Yes"] > found["No"]) is bool(admits)


def test_the_texts_of_a_witness_have_no_thought_of_their_own(tmp_path: Path) -> None:
    _, trials = finished(tmp_path, "detector?think=1", **ON, controls=["witness", "bank", "clear-no", "tampered"])
    readouts = {trial.spec.readout for trial in trials}
    assert readouts >= {"witness", "bank", "score", "text"}
    for trial in trials:
        if trial.spec.readout == "witness":
            assert trial.spec.thinking_tokens == 0
            assert "<think>" not in json.dumps(trial.measurements["texts"])


def test_a_run_that_is_resumed_has_the_thoughts_it_would_have_had(tmp_path: Path) -> None:
    _, whole = finished(tmp_path / "whole", "detector?think=2", **ON)
    _, part = finished(tmp_path / "part", "detector?think=2", stop_after=5, **ON)
    assert len(part) < len(whole)
    _, resumed = finished(tmp_path / "part", "detector?think=2")
    assert [(one.key, one.response, one.measurements) for one in resumed] == [
        (one.key, one.response, one.measurements) for one in whole
    ]


@pytest.mark.slow
def test_a_run_that_is_killed_in_a_thought_ends_like_one_that_was_not(tmp_path: Path) -> None:
    shape = ("--concepts", "ocean,milk", "--layers", "5", "--strengths", "2", "--trials", "4", "--controls", "4")
    flags = (*shape, "--thinking", "on", "--thinking-tokens", "300", "--batch-size", "4", "--name", "thinks")

    def command(home: Path, *more: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*COMMAND, *more], env=environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def stored(home: Path) -> list[tuple[str, str, Any]]:
        with Store(home / "mlxintro.db", read_only=True) as store:
            run = store.runs.find("thinks")
            return [(one.key, one.response, one.measurements) for one in store.trials.of_run(run.id)]

    slow = "detector?think=20&delay=0.02"
    whole = command(tmp_path / "whole", *RUN, "-m", slow, *flags)
    assert whole.wait(120) == 0
    part = tmp_path / "part"
    killed = command(part, *RUN, "-m", slow, *flags)
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and not has_begun(part):
        time.sleep(0.1)
    # A batch thinks for 140 steps or more of 0.02 s: this is in the middle of its thoughts.
    time.sleep(1.5)
    killed.kill()
    killed.wait(20)
    assert stored(part) == []
    assert command(part, "run", "--resume", "thinks").wait(120) == 0
    assert stored(part) == stored(tmp_path / "whole")


def has_begun(home: Path) -> bool:
    """Whether a run stands in a store that another process makes."""
    if not (home / "mlxintro.db").exists():
        return False
    try:
        with Store(home / "mlxintro.db", read_only=True) as store:
            return bool(store.runs.all())
    except (KnownError, sqlite3.Error):
        return False


def test_what_a_model_or_an_experiment_cannot_do_is_one_line_that_says_what_it_can(tmp_path: Path) -> None:
    for flags, told in (
        (("-m", "detector", "--thinking", "on"), "knows no thoughts"),
        (("-m", "detector", "--thinking", "empty"), "leave --thinking out"),
        (("-m", "detector?think=1", "--thinking-tokens", "9"), "add --thinking on"),
        (("-m", "detector?think=1", "--thinking", "on", "--thinking-tokens", "9000"), "fewer --thinking-tokens"),
    ):
        answer = mlxintro(tmp_path, *RUN, *flags)
        assert answer.code == 2, answer.err
        assert told in answer.err
        assert answer.err.strip().count("\n") <= 2
    answer = mlxintro(tmp_path, "run", "patching", "--backend", "fake", "-m", "detector?think=1", "--thinking", "on")
    assert "patching: activations are exchanged place by place" in answer.err
    assert "use --thinking off or empty" in answer.err


def test_a_model_that_thinks_unasked_needs_a_word_about_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlxintro.backends.simulated import text

    unasked = replace(text.THINKING_MARKS, switch=False, unasked=True, opened=True)
    monkeypatch.setattr(text, "THINKING_MARKS", unasked)
    settings: dict[str, Any] = {"model": "detector?think=1", "backend": "fake", "concepts": ["ocean"]}
    with FakeBackend("detector?think=1") as backend, Store(tmp_path / "mlxintro.db") as store:
        for mode in (None, "off"):
            checked = launch.check(make_study(**settings, thinking=mode))
            with pytest.raises(UsageError, match="no switch for that: use --thinking on") as error:
                launch.begin(store, checked, backend, launch.plan(checked, backend))
            assert "\n" not in str(error.value)
        # A run from before is planned as it was begun, so that it can be resumed.
        assert len(launch.plan(launch.check(make_study(**settings)), backend))
        for mode in ("on", "empty"):
            checked = launch.check(make_study(**settings, thinking=mode))
            assert launch.begin(store, checked, backend, launch.plan(checked, backend))


def test_a_budget_is_named_where_none_was(tmp_path: Path) -> None:
    checked = launch.check(make_study(model="detector?think=1", backend="fake", thinking="on"))
    assert checked.study.thinking_tokens == THINKING_TOKENS
    shown = mlxintro(tmp_path, *RUN, "-m", "detector?think=1", "--thinking", "on", "--explain").out
    assert f"a thought of {THINKING_TOKENS} tokens at most" in shown


def test_what_is_stored_is_shown(tmp_path: Path) -> None:
    _, trials = finished(tmp_path, "detector?think=2", **ON)
    assert "thinking   on, 200 tokens at most" in mlxintro(tmp_path, "runs", "show", "thinks").out
    one = mlxintro(tmp_path, "runs", "show", "thinks", trials[0].key).out
    thought = thought_of(trials[0].measurements)
    assert thought is not None
    assert f"thought ({thought.tokens} tokens, ended by the model)" in one
    assert thought.text.split("\n")[0] in one
    assert f"answer:\n\n{trials[0].response}" in one


def test_limits_and_studies_hold_what_they_say() -> None:
    with pytest.raises(UsageError, match="thinking"):
        make_study(model="x", thinking="maybe")
    with pytest.raises(UsageError, match="thinking_tokens"):
        make_study(model="x", thinking="on", thinking_tokens=0)
    assert Study(model="x").thinking is None
    marks = FakeBackend("detector?think=1").tokenizer.thinking
    assert marks is not None
    assert ThoughtLimit(3, marks).prefill == ""


@pytest.mark.parametrize("window", ["before-thinking", "thinking", "answer", "question"])
def test_a_window_by_part_is_injected_into_that_part_and_proven_there(tmp_path: Path, window: str) -> None:
    run, trials = finished(tmp_path, "detector?think=2&hit=1&fa=0", **ON, window=window)
    backend = FakeBackend("detector?think=1")
    opening = len(backend.tokenizer.encode("<think>\n").tokens)
    with Store(tmp_path / "mlxintro.db", read_only=True) as store:
        prompts = store.prompts.of_run(run.id)
    for trial in trials:
        if trial.condition != "injected" or trial.spec.readout != "text" or trial.arm:
            continue
        prompt, [proof] = prompts[trial.spec.prompt], trial.proofs
        thought = thought_of(trial.measurements)
        assert thought is not None
        begin = len(prompt.tokens) - opening
        end = len(prompt.tokens) + thought.tokens
        closing = len(backend.tokenizer.encode("</think>\n\n").tokens)
        last = end + closing + trial.tokens - 1
        assert (proof.first, proof.last) == {
            "before-thinking": (proof.first, begin - 1),
            "thinking": (begin, end - 1),
            "answer": (end, proof.last),
            "question": (proof.first, proof.last),
        }[window]
        assert proof.positions == (proof.last or 0) - (proof.first or 0) + 1
        if window in ("answer", "question"):
            # The end token is written, and not read.
            assert proof.last in (last, last + 1)
        if window in ("before-thinking", "question"):
            assert proof.first is not None
            assert proof.first < begin
            assert "Trial 1" in "".join(prompt.pieces[proof.first :])
            assert "Trial 1" not in "".join(prompt.pieces[proof.first + 3 :])


def test_a_window_over_a_thought_needs_a_subject_that_thinks(tmp_path: Path) -> None:
    for flags in ((), ("--thinking", "off"), ("--thinking", "empty")):
        answer = mlxintro(tmp_path, *RUN, "-m", "detector?think=1", "--window", "thinking", *flags)
        assert answer.code == 2
        assert "add --thinking on" in answer.err


def test_the_arm_without_a_vector_in_the_reply_keeps_to_the_prompt(tmp_path: Path) -> None:
    for window, there in (("thinking", True), ("answer", False), ("question", True)):
        _, trials = finished(tmp_path / window, "detector?think=1", **ON, window=window, controls=["prompt-only"])
        arms = [trial for trial in trials if trial.arm == "prompt-only"]
        assert bool(arms) is there
        assert all(one.part == "reply" and one.stop is not None for arm in arms for one in arm.spec.injections)
