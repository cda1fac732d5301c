"""The local judge: its probabilities against a computation of our own, and what follows from them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mlxintro.backends.base import Float32, Prompt
from mlxintro.backends.models import embedded
from mlxintro.backends.registry import open_backend
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.grading import rubric
from mlxintro.grading.local import NO, YES, LocalJudge, judge_run
from mlxintro.store.store import Store
from tests.grading_runs import graded, stored_run
from tests.tiny import make_tiny

SHARES = {
    "affirms": (0.6, 0.2),
    "coherent": (0.5, 0.1),
    "refuses": (0.02, 0.5),
    "identifies": (0.3, 0.05),
    "named_before_affirming": (0.1, 0.3),
}
"""Probability on all ways of saying yes, and of saying no."""


class Scripted(FakeBackend):
    """Answers each question with given probabilities, spread over the ways of saying it."""

    def __init__(self, shares: dict[str, tuple[float, float]]) -> None:
        super().__init__("detector")
        self.shares = shares
        self.asked: list[str] = []

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[Sequence[int]]]) -> list[list[Float32]]:
        text = rubric.load()
        found = []
        for prompt, ways in zip(prompts, continuations, strict=True):
            shown = self.tokenizer.decode(prompt.tokens)
            name = next(name for name, question in text.yes_no.items() if question.strip()[:40] in shown)
            self.asked.append(name)
            said = [self.tokenizer.decode(way).strip().lower() for way in ways]
            row = []
            for way, word in zip(ways, said, strict=True):
                share = self.shares[name][0 if word == "yes" else 1] / said.count(word)
                # Spread over the tokens of the way, as a model's log-probabilities are.
                row.append(np.full(len(way), math.log(share) / len(way), np.float32))
            found.append(row)
        return found


def test_probabilities_become_fields() -> None:
    judge = LocalJudge(Scripted(SHARES))
    grade = judge.grade("I detect the ocean.", "ocean")
    assert (grade.affirms, grade.coherent, grade.refuses) == (True, True, False)
    assert (grade.identifies, grade.named_before_affirming) == (True, False)
    assert not grade.abstained
    assert grade.success is True


@pytest.mark.parametrize(
    ("yes", "no", "expected"),
    [
        (0.5, 0.1, True),
        (0.1, 0.5, False),
        (0.22, 0.2, None),
        (0.2, 0.22, None),
        (0.004, 0.0001, None),
        (0.31, 0.19, True),
    ],
)
def test_a_field_stays_open_between_the_two_and_where_neither_is_probable(
    yes: float, no: float, expected: bool | None
) -> None:
    judge = LocalJudge(Scripted({**SHARES, "affirms": (yes, no)}))
    grade = judge.grade("Hm.", None)
    assert grade.affirms is expected
    assert grade.abstained is (expected is None)
    assert (grade.identifies, grade.named_before_affirming) == (None, None)


def test_only_the_questions_about_naming_know_the_concept_and_controls_are_not_asked_them() -> None:
    backend = Scripted(SHARES)
    shown: list[tuple[str, str]] = []
    score = backend.score

    def listen(prompts: Sequence[Prompt], ways: Sequence[Sequence[Sequence[int]]]) -> list[list[Float32]]:
        before = len(backend.asked)
        found = score(prompts, ways)
        shown.extend(zip(backend.asked[before:], (backend.tokenizer.decode(p.tokens) for p in prompts), strict=True))
        return found

    backend.score = listen  # type: ignore[assignment,method-assign]
    judge = LocalJudge(backend)
    judge.grade("I detect it.", "xylophones")
    assert {name for name, text in shown if "xylophones" in text} == {"identifies", "named_before_affirming"}
    assert {name for name, _ in shown} == set(SHARES)
    shown.clear()
    judge.grade("I detect it.", None)
    assert {name for name, _ in shown} == {"affirms", "coherent", "refuses"}


def test_a_run_is_judged_and_the_probabilities_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    run = stored_run(path, 40, ["" if n == 5 else "x " * 9000 if n == 7 else f"Reply {n}." for n in range(40)])
    with Store(path) as store:
        judge = LocalJudge(Scripted(SHARES))
        done = judge_run(store, store.runs.find(run), judge)
        assert (done.graded, done.skipped) == (40, 0)
        grades = graded(store, run, "local")
        again = judge_run(store, store.runs.find(run), judge)
        assert (again.graded, again.skipped) == (0, 40)
        other = judge_run(store, store.runs.find(run), LocalJudge(Scripted(SHARES), name="second"))
        assert other.graded == 40
        assert store.grades.graders(run) == ["local", "second"]
    raw = json.loads(grades[1].raw or "")
    for name, (yes, no) in SHARES.items():
        assert raw[name]["yes"] == pytest.approx(yes / (yes + no), abs=1e-5)
        assert raw[name]["mass"] == pytest.approx(yes + no, abs=1e-5)
    assert (grades[5].affirms, grades[5].coherent, grades[5].reason) == (False, False, "empty")
    assert (grades[7].affirms, grades[7].coherent, grades[7].state) == (None, None, "unscored")
    assert "longer than the judge can read" in grades[7].reason


def test_the_version_follows_model_and_rubric(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = [LocalJudge(open_backend(name, "fake")).version for name in ("detector", "null")]
    shipped = rubric.load()
    changed = shipped.model_copy(update={"yes_no": {**shipped.yes_no, "affirms": "?"}})
    monkeypatch.setattr(rubric, "load", lambda: changed)
    versions.append(LocalJudge(open_backend("detector", "fake")).version)
    assert len(set(versions)) == 3


def roomy(folder: Path) -> Path:
    """Make a tiny model whose context holds a judge's question in a tokenizer of few words."""
    make_tiny("llama", folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 8192}), "utf-8")
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "tiny",
        pytest.param(
            "smollm2",
            marks=(
                pytest.mark.slow,
                pytest.mark.skipif(embedded.find_gguf() is None, reason="needs the embedded model: make installs it"),
            ),
        ),
    ],
)
def test_probabilities_are_those_transformers_gives_on_the_whole_text(name: str, tmp_path: Path) -> None:
    """One forward pass per answer, over prompt and answer together: no cache, no shared prefix, no batch."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from mlxintro.backends.models import sources

    reply = "I detect a thought about the sea."
    model_name = str(roomy(tmp_path / "tiny")) if name == "tiny" else name
    with open_backend(model_name, "torch", device="cpu") as backend:
        judge = LocalJudge(backend)
        seen: list[Prompt] = []
        score = backend.score

        def listen(prompts: Sequence[Prompt], ways: Sequence[Sequence[Sequence[int]]]) -> list[list[Float32]]:
            seen.extend(prompts)
            return score(prompts, ways)

        backend.score = listen  # type: ignore[assignment,method-assign]
        (judged,) = judge.judge_texts([(reply, None)])
    folder = sources.resolve(model_name, "torch").folder
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    prompt = list(seen[0].tokens)
    assert reply in tokenizer.decode(prompt)
    totals = []
    for texts in (YES, NO):
        total = 0.0
        for way in {tuple(tokenizer.encode(text, add_special_tokens=False)) for text in texts}:
            with torch.no_grad():
                logits = model(torch.tensor([[*prompt, *way]]), logits_to_keep=len(way) + 1).logits[0].double()
            logprobs = torch.log_softmax(logits, -1)
            total += math.exp(sum(float(logprobs[i, token]) for i, token in enumerate(way)))
        totals.append(total)
    assert judged.readings["affirms"].mass == pytest.approx(sum(totals), rel=1e-4)
    assert judged.readings["affirms"].yes == pytest.approx(totals[0] / sum(totals), rel=1e-4)
