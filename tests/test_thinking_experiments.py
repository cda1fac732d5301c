"""Subjects that think, in every experiment that asks in the chat: a thought first, then what the experiment reads."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlxintro import experiments
from mlxintro.analysis.results import Table
from mlxintro.backends.base import Backend, Prompt, Request, Sampling, ThoughtLimit
from mlxintro.backends.errors import UsageError
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.backends.thinking.thoughts import think
from mlxintro.replies.thoughts import thought_of
from mlxintro.running import readouts
from mlxintro.store.store import Store
from mlxintro.thinking.counts import thought_tables
from tests.experiment_runs import Ran, planned, ran
from tests.test_thinking_runs import finished

SMALL: dict[str, Any] = {
    "concepts": ["ocean", "milk"], "layers": [5], "strengths": [2.0], "trials": 1,
    "thinking": "on", "thinking_tokens": 40,
}  # fmt: skip
FEW: dict[str, dict[str, Any]] = {
    "latent": {"options": {"framings": ["vague"], "orders": 1}},
    "ablation": {"options": {"directions": ["concept"]}},
}
"""Settings that keep an experiment small."""
MODEL = "detector?think=1&hit=1&fa=0"
THINKING = [name for name in experiments.names() if experiments.find(name).thinks]
OTHERS = [name for name in experiments.names() if not experiments.find(name).thinks]


@cache
def made(name: str) -> tuple[Backend, Ran]:
    """A small run of an experiment whose subject thinks; nothing changes it."""
    backend: Backend = FakeBackend(MODEL)
    return backend, ran(backend, name, **{**SMALL, **FEW.get(name, {})})


@pytest.mark.parametrize("name", THINKING)
def test_the_subject_thinks_before_every_answer_and_the_answer_holds_none_of_it(name: str) -> None:
    backend, found = made(name)
    marks = backend.tokenizer.thinking
    assert marks is not None
    seen = 0
    for spec in found.specs:
        outcome = found.outcomes[spec.key]
        prompt = found.plan.prompts[spec.prompt]
        thought = thought_of(outcome.measurements)
        if not spec.thinking_tokens:
            # What is no answer to a question has an empty thought before it, or is no dialogue.
            assert thought is None
            assert prompt.text.rstrip().endswith(prompt.prefill) or not prompt.prefill
            continue
        if spec.readout not in ("text", "score", "capture"):
            continue
        assert prompt.text.endswith(marks.opening)
        assert thought is not None, spec.readout
        assert 0 < thought.tokens <= 40
        assert "think>" not in outcome.response
        assert "once more" not in outcome.response
        seen += 1
    assert seen


@pytest.mark.parametrize("name", OTHERS)
def test_an_experiment_without_thoughts_says_why_in_one_line(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name}: .*: use --thinking off or empty") as error:
        made(name)
    assert "\n" not in str(error.value)
    assert experiments.find(name).thoughtless in str(error.value)
    with FakeBackend(MODEL) as backend:
        _, plan = planned(backend, name, **{**SMALL, "thinking": "empty", "thinking_tokens": None})
    assert len(plan)
    assert all(not spec.thinking_tokens for spec in plan)


def test_there_are_experiments_of_both_kinds() -> None:
    assert {"forced-identification", "localization", "latent", "transfer", "ablation", "prefill"} <= set(THINKING)
    assert set(OTHERS) == {"patching", "intentional-control"}


def test_a_fixed_beginning_of_the_answer_stands_behind_the_thought() -> None:
    backend, found = made("localization")
    spec = next(one for one in found.specs if one.injections)
    prompt, *_ = readouts.ready_to_answer(found.session, [spec])[0]
    text = backend.tokenizer.decode(prompt.tokens)
    prefill = found.plan.prompts[spec.prompt].prefill
    assert prefill
    assert text.endswith(f"</think>\n\n{prefill}")
    assert text.index("<think>") < text.index("once more") < text.index("</think>")
    # The list stands before the thought, and so does what is injected into it.
    assert all(
        one.stop is not None and one.stop <= len(found.plan.prompts[spec.prompt].tokens) for one in spec.injections
    )


def test_the_logit_lens_is_read_where_the_answer_begins() -> None:
    backend, found = made("latent")
    spec = next(one for one in found.specs if one.readout == "capture" and one.injections)
    measured = found.outcomes[spec.key].measurements
    record = found.plan.prompts[spec.prompt]
    prompt, _ = readouts.prompt_of(found.session, spec)
    marks = backend.tokenizer.thinking
    assert marks is not None
    limit = ThoughtLimit(spec.thinking_tokens, marks, record.prefill)
    (ready,) = think(backend, [Request(prompt, Sampling(1, spec.temperature, spec.top_p, spec.seed, thought=limit))])
    captured = backend.capture([Prompt(ready.prompt.tokens, ready.prompt.injections)], positions=(-1,))[0]
    logprobs = backend.lens(captured["resid_post"][:, 0], spec.detail["yes"]).astype(np.float64)
    np.testing.assert_allclose(measured["lens"]["yes"], np.logaddexp.reduce(logprobs, axis=1), atol=1e-5)


def test_steering_by_a_carried_vector_is_read_behind_an_empty_thought() -> None:
    _, found = made("transfer")
    steered = [spec for spec in found.specs if spec.detail["question"] == "steer"]
    assert steered
    for spec in steered:
        assert spec.thinking_tokens == 0
        assert "<think>\n\n</think>\n\n" in found.plan.prompts[spec.prompt].text


def test_windows_by_part_hold_in_other_experiments_too() -> None:
    with FakeBackend(MODEL) as backend:
        for name in ("forced-identification", "transfer", "ablation"):
            _, plan = planned(backend, name, **{**SMALL, **FEW.get(name, {}), "window": "answer"})
            own = [spec.injections[0] for spec in plan if spec.injections and spec.readout == "text" and not spec.arm]
            assert {one.part for one in own} == {"answer"}


def test_how_thoughts_and_answers_ended_is_counted_by_hand(tmp_path: Path) -> None:
    def ends(home: str, **budgets: int) -> dict[str, Table]:
        run, _ = finished(tmp_path / home, "detector?think=9&hit=1&fa=0", thinking="on", **budgets)
        with Store(tmp_path / home / "mlxintro.db", read_only=True) as store:
            found = {graded: list(thought_tables(store, run, "rules", graded=graded)) for graded in (True, False)}
        # An experiment that no grader reads has this table, and none of claims.
        assert [one.name for one in found[False]] == ["thoughts"]
        return {one.name: one for one in found[True]}

    cut = ends("cut", thinking_tokens=12, max_tokens=3)
    assert set(cut) == {"channels", "thoughts"}
    # Eight injected trials and four controls: every thought is cut at 12 tokens, every answer at 3.
    assert cut["thoughts"].rows == (("injected", 8, 0, 8, 0, 8, 12.0), ("control", 4, 0, 4, 0, 4, 12.0))
    whole = ends("whole", thinking_tokens=400, max_tokens=90)["thoughts"]
    assert [row[:6] for row in whole.rows] == [("injected", 8, 8, 0, 0, 0), ("control", 4, 4, 0, 0, 0)]
