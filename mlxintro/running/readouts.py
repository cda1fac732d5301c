"""How trials are measured: by the subject's reply, or by log-probabilities without any sampling.

An experiment that needs more (activations) measures those trials itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from mlxintro.backends.base import (
    Injection,
    OnToken,
    Prompt,
    Request,
    Sampling,
    Thought,
    ThoughtLimit,
    TokenEvent,
)
from mlxintro.backends.errors import UsageError
from mlxintro.backends.thinking.thoughts import think
from mlxintro.protocol.trials import Dose, Outcome, TrialSpec
from mlxintro.replies.thoughts import THOUGHT
from mlxintro.running.session import Session


def prompt_of(session: Session, spec: TrialSpec) -> tuple[Prompt, tuple[Dose, ...]]:
    """Turn a planned trial into what the backend runs: vectors scaled, doses in every unit."""
    injections, doses = [], []
    for planned in spec.injections:
        vector, dose = session.vectors[planned.vector].scaled(
            planned.layer if planned.taken_at is None else planned.taken_at,
            planned.strength,
            planned.unit,
            transform=planned.transform,
            seed=spec.seed,
        )
        injections.append(
            Injection(
                layer=planned.layer,
                vector=vector,
                start=planned.start,
                stop=planned.stop,
                site=planned.site,
                operation=planned.operation,
                part=planned.part,
            )
        )
        doses.append(dose)
    return Prompt(session.prompts[spec.prompt].tokens, tuple(injections)), tuple(doses)


def measure(session: Session, specs: Sequence[TrialSpec], on_token: OnToken | None = None) -> Iterator[Outcome]:
    """Measure trials by their readouts ``text`` and ``score``; a batch may mix them.

    Token events carry the trial's index in ``specs``.

    Raises:
        ValueError: a trial with another readout.
    """
    scored = [spec for spec in specs if spec.readout == "score"]
    spoken = [(index, spec) for index, spec in enumerate(specs) if spec.readout == "text"]
    if len(scored) + len(spoken) < len(specs):
        raise ValueError("only text and score are measured here")
    if scored:
        yield from score(session, scored)
    if spoken:
        yield from _generate(session, spoken, on_token)


def _generate(session: Session, chosen: Sequence[tuple[int, TrialSpec]], on_token: OnToken | None) -> Iterator[Outcome]:
    specs = [spec for _, spec in chosen]
    prepared = [prompt_of(session, spec) for spec in specs]
    requests = [Request(prompt, sampling_of(session, spec)) for (prompt, _), spec in zip(prepared, specs, strict=True)]

    def told(event: TokenEvent) -> None:
        assert on_token is not None
        on_token(TokenEvent(chosen[event.index][0], event.token, event.text))

    for completion in session.backend.generate(requests, None if on_token is None else told):
        yield Outcome(
            key=specs[completion.index].key,
            response=completion.text,
            finish=completion.finish,
            tokens=len(completion.tokens),
            proofs=completion.proofs,
            doses=prepared[completion.index][1],
            measurements=thought_measured(completion.thought),
        )


def sampling_of(session: Session, spec: TrialSpec) -> Sampling:
    """Return how a trial's reply is sampled, with its thought where it has one.

    Raises:
        UsageError: a thought is wanted of a model whose template knows none.
    """
    sampling = Sampling(spec.max_tokens, spec.temperature, spec.top_p, spec.seed, spec.stop)
    if not spec.thinking_tokens:
        return sampling
    marks = session.backend.tokenizer.thinking
    if marks is None:
        raise UsageError(f"{session.backend.info.model} knows no thoughts: leave --thinking out", setting="thinking")
    limit = ThoughtLimit(spec.thinking_tokens, marks, session.prompts[spec.prompt].prefill)
    return replace(sampling, thought=limit)


def thought_measured(thought: Thought | None) -> dict[str, Any]:
    """Return a thought as an outcome's measurements hold it; nothing where nothing was thought."""
    if thought is None:
        return {}
    return {THOUGHT: {"text": thought.text, "tokens": len(thought.tokens), "closed": thought.closed}}


ReadyPrompt = tuple[Prompt, tuple[Dose, ...], dict[str, Any]]
"""A prompt up to where the answer begins, the doses of its injections, and the measured thought, if there is one."""


def ready_to_answer(session: Session, specs: Sequence[TrialSpec]) -> list[ReadyPrompt]:
    """Return prompts up to where the answer begins, with doses and measured thoughts: trials that think do so here."""
    prepared = [prompt_of(session, spec) for spec in specs]
    places = [at for at, spec in enumerate(specs) if spec.thinking_tokens]
    requests = [Request(prepared[at][0], sampling_of(session, specs[at])) for at in places]
    found = dict(zip(places, think(session.backend, requests) if requests else [], strict=True))
    return [
        (found[at].prompt, doses, thought_measured(found[at].thought)) if at in found else (prompt, doses, {})
        for at, (prompt, doses) in enumerate(prepared)
    ]


def score(
    session: Session, specs: Sequence[TrialSpec], ready: Sequence[ReadyPrompt] | None = None
) -> Iterator[Outcome]:
    """Return the log-probability of every option of every trial, at the first token of the answer.

    After a trial's own thought.

    Each outcome's measurements hold ``{"logprobs": {option: float}}``: natural logarithms, summed over the option's
    tokens. Options are tokenised by themselves, exactly as they are written (a leading space counts).

    Args:
        ready: what ``ready_to_answer`` gives, where the thoughts have been written already.
    """
    encode = session.backend.tokenizer.encode
    prepared = ready_to_answer(session, specs) if ready is None else ready
    options = [[encode(option).tokens for option in spec.options] for spec in specs]
    found = session.backend.score([prompt for prompt, _, _ in prepared], options)
    for spec, (_, doses, thought), logprobs in zip(specs, prepared, found, strict=True):
        values = {option: float(one.sum(dtype="float64")) for option, one in zip(spec.options, logprobs, strict=True)}
        yield Outcome(spec.key, "", "scored", 0, doses=doses, measurements={"logprobs": values, **thought})
