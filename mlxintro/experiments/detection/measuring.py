"""How trials are measured that are neither a reply nor a score alone: witnesses, the bank of vectors, entropies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mlxintro.backends.base import Float32, Injection, OnToken, Prompt, Request, Sampling
from mlxintro.ladder.witnesses import SIDES
from mlxintro.protocol import controls, windows
from mlxintro.protocol.trials import Outcome, TrialSpec
from mlxintro.running import readouts
from mlxintro.running.session import Session
from mlxintro.thinking.measuring import measure_swaps
from mlxintro.vectors.impact import entropy

_AT_ONCE = 4
"""Batches of scored trials whose distributions over the vocabulary are held at a time."""
PROJECTIONS = 64
"""Random projections of the final state that are kept for the probe, whatever the model's width."""


def measure(session: Session, specs: Sequence[TrialSpec], on_token: OnToken | None = None) -> Iterator[Outcome]:
    """Measure trials of every readout of injected thoughts; a batch may mix them.

    Token events carry the trial's index in ``specs``.
    """
    apart = ("witness", "bank", "swap")
    plain = [(index, spec) for index, spec in enumerate(specs) if spec.readout not in apart and not _is_full(spec)]
    yield from _with_entropies(session, [spec for spec in specs if _is_full(spec)])

    def told(event: Any) -> None:
        assert on_token is not None
        on_token(replace(event, index=plain[event.index][0]))

    if plain:
        yield from readouts.measure(session, [spec for _, spec in plain], None if on_token is None else told)
    for spec in specs:
        if spec.readout == "bank":
            yield _bank(session, spec)
    if witnesses := [spec for spec in specs if spec.readout == "witness"]:
        yield from _witnesses(session, witnesses)
    if swaps := [spec for spec in specs if spec.readout == "swap"]:
        yield from measure_swaps(session, swaps)


def _is_full(spec: TrialSpec) -> bool:
    """Whether the entropy of the next token is measured beside the answer's odds."""
    return spec.readout == "score" and bool(spec.detail.get("entropy"))


def _with_entropies(session: Session, specs: Sequence[TrialSpec]) -> Iterator[Outcome]:
    """Scores with the entropy of the next token, in nats; from one reading of each prompt where that is possible."""
    backend = session.backend
    for start in range(0, len(specs), _AT_ONCE * backend.batch_size):
        part = specs[start : start + _AT_ONCE * backend.batch_size]
        prepared = readouts.ready_to_answer(session, part)
        logprobs = backend.next_token([prompt for prompt, _, _ in prepared])
        options = {text: backend.tokenizer.encode(text).tokens for spec in part for text in spec.options}
        if backend.answers_as_it_reads and all(len(tokens) == 1 for tokens in options.values()):
            scored: Iterator[Outcome] = (
                Outcome(
                    *(spec.key, "", "scored", 0),
                    doses=doses,
                    measurements={"logprobs": _of(row, spec, options), **thought},
                )
                for spec, (_, doses, thought), row in zip(part, prepared, logprobs, strict=True)
            )
        else:
            scored = readouts.score(session, part, prepared)
        for outcome, value in zip(scored, entropy(logprobs), strict=True):
            yield replace(outcome, measurements={**outcome.measurements, "entropy": float(value)})


def _of(logprobs: Float32, spec: TrialSpec, options: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Log-probabilities of a trial's options, each one token."""
    return {text: float(logprobs[options[text][0]]) for text in spec.options}


def _bank(session: Session, spec: TrialSpec) -> Outcome:
    """Mean cosine between vectors of different concepts, and the effective rank of all (Roy and Vetterli 2007)."""
    layer = int(spec.detail["layer"])
    directions = np.array([session.vectors[key].direction[layer] for key in spec.detail["vectors"]], np.float64)
    units = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    count = len(units)
    cosines = units @ units.T
    mean = float((cosines.sum() - count) / (count * (count - 1))) if count > 1 else 1.0
    weights = np.linalg.svd(units, compute_uv=False)
    weights = weights[weights > 1e-12] / weights.sum()
    rank = float(np.exp(-(weights * np.log(weights)).sum()))
    found = {"mean_cosine": mean, "effective_rank": rank, "vectors": count}
    return Outcome(spec.key, "", "scored", 0, measurements=found)


def _witnesses(session: Session, specs: Sequence[TrialSpec]) -> Iterator[Outcome]:
    """Let witnesses write with and without the vector, then ask about every exchange of text and state."""
    prepared = [readouts.prompt_of(session, spec) for spec in specs]
    requests = []
    for (prompt, _), spec in zip(prepared, specs, strict=True):
        sampling = Sampling(spec.max_tokens, spec.temperature, spec.top_p, spec.seed, spec.stop)
        requests += [Request(prompt, sampling), Request(Prompt(prompt.tokens), sampling)]
    written = {done.index: done for done in session.backend.generate(requests)}
    texts = [(written[2 * at].text.strip(), written[2 * at + 1].text.strip()) for at in range(len(specs))]
    sides = [
        _sides(session, spec, prompt.injections, pair)
        for spec, (prompt, _), pair in zip(specs, prepared, texts, strict=True)
    ]
    flat = [prompts[side] for prompts in sides for side in SIDES]
    encode = session.backend.tokenizer.encode
    options = [[encode(option).tokens for option in spec.options] for spec in specs for _ in SIDES]
    scores = session.backend.score(flat, options)
    states = _states(session, [prompts[side] for prompts in sides for side in ("self", "clean")])
    for at, (spec, (_, doses)) in enumerate(zip(specs, prepared, strict=True)):
        logits = {}
        for place, side in enumerate(SIDES):
            found = scores[len(SIDES) * at + place]
            values = {option: float(one.sum(dtype="float64")) for option, one in zip(spec.options, found, strict=True)}
            logits[side] = controls.yes_logit(values, clip=False)
        measured = {
            "logits": logits,
            "states": {"injected": states[2 * at], "clean": states[2 * at + 1]},
            "texts": {"injected": texts[at][0], "clean": texts[at][1]},
        }
        done = written[2 * at]
        yield Outcome(spec.key, "", "scored", 0, done.proofs, doses, measured)


def _sides(
    session: Session, spec: TrialSpec, injections: Sequence[Injection], texts: tuple[str, str]
) -> dict[str, Prompt]:
    """The question after the sentence, with text and state injected or clean."""

    def prompt(text: str, injected: bool) -> Prompt:
        record = session.prompts[spec.prompt]
        question = spec.detail["question"]
        said = [*record.messages, {"role": "assistant", "content": text}, {"role": "user", "content": question}]
        rendered = session.backend.tokenizer.render(said, "", spec.detail.get("thinking", "off"))
        if not injected:
            return Prompt(rendered.tokens)
        task = spec.detail["task"]
        # The window ends where the sentence does: the vector is off while the question is read and answered.
        start = windows.span(rendered, task)[0]
        stop = windows.span(rendered, text or task, before=question)[1]
        return Prompt(rendered.tokens, tuple(replace(one, start=start, stop=stop) for one in injections))

    injected, clean = texts
    return {
        "self": prompt(injected, True),
        "reader": prompt(injected, False),
        "state": prompt(clean, True),
        "clean": prompt(clean, False),
    }


def _states(session: Session, prompts: Sequence[Prompt]) -> list[list[float]]:
    """The final layer's state at the last token, as fixed random projections."""
    last = session.backend.info.layers - 1
    captured = session.backend.capture(prompts, layers=[last], positions=[-1])
    width = session.backend.info.width
    drawn = np.random.Generator(np.random.Philox(0)).standard_normal((width, PROJECTIONS)) / np.sqrt(width)
    return [[round(float(one), 5) for one in state["resid_post"][0, 0] @ drawn] for state in captured]
