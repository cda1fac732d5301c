"""Plans for the tests of the store and the runner: real trials of the simulated subject, small and many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mlxintro.analysis.results import Row
from mlxintro.backends.base import Backend, Injection, OnToken, Prompt, Request, Sampling
from mlxintro.grading.base import Grade
from mlxintro.protocol.trials import Dose, Outcome, PlannedInjection, PromptRecord, TrialSpec

QUESTION = ({"role": "user", "content": "Do you detect an injected thought? If so, what is it about?"},)


def prompt_of(backend: Backend) -> PromptRecord:
    rendered = backend.tokenizer.render(list(QUESTION))
    return PromptRecord.of(QUESTION, "", rendered, backend.tokenizer.pieces(rendered.tokens))


def plan(count: int, prompt: str = "b2:" + "0" * 32) -> list[TrialSpec]:
    """Every third trial is a control; the others vary in concept, layer and strength. Seeds are all different."""
    return [spec(i, prompt) for i in range(count)]


def spec(i: int, prompt: str = "b2:" + "0" * 32) -> TrialSpec:
    injected = i % 3 != 0
    concept = ("ocean", "bread", "justice")[i % 7 % 3]
    injection = PlannedInjection(concept, f"b2:{i % 5:032x}", 4 + i % 4, 1.0 + i % 2, "resid", 3, None)
    return TrialSpec(
        experiment="injected-thoughts",
        preset="plain",
        model="detector",
        prompt=prompt,
        condition="injected" if injected else "control",
        concept=concept if injected else None,
        trial=i,
        seed=i,
        temperature=1.0,
        top_p=1.0,
        max_tokens=40,
        injections=(injection,) if injected else (),
    )


def outcome(spec: TrialSpec, response: str = "No.", *, error: str | None = None) -> Outcome:
    return Outcome(spec.key, "" if error else response, "" if error else "stop", 0 if error else 2, error=error)


def graded_row(
    injected: bool,
    concept: str | None = None,
    layer: int | None = None,
    strength: float | None = None,
    grade: Grade | None = None,
) -> Row:
    """A finished trial of the main arm, as far as rates of claims look at it."""
    return Row("", "injected" if injected else "control", "", concept, layer, strength, 0, "", {}, {}, grade)


@dataclass(frozen=True)
class Measure:
    """Lets a backend answer; injected vectors are drawn from the trial's number."""

    backend: Backend
    prompt: PromptRecord

    def __call__(self, specs: Sequence[TrialSpec], on_token: OnToken | None) -> Iterator[Outcome]:
        requests = []
        for spec in specs:
            vector = np.random.default_rng(spec.seed).normal(size=self.backend.info.width).astype(np.float32)
            injections = tuple(Injection(i.layer, i.strength * vector, i.start, i.stop) for i in spec.injections)
            sampling = Sampling(spec.max_tokens, spec.temperature, spec.top_p, spec.seed)
            requests.append(Request(Prompt(self.prompt.tokens, injections), sampling))
        for done in self.backend.generate(requests, on_token):
            dose = tuple(Dose(i.strength, 2.0, 0.5, 4.0, 4.0) for i in specs[done.index].injections)
            key = specs[done.index].key
            yield Outcome(key, done.text, done.finish, len(done.tokens), done.proofs, dose, {"cut": done.forwarded})
