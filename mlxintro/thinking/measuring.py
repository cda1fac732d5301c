"""Answers after one's own thought and after that of a twin in another state.

Two twins think: one with the vector, one without. Then each thought is put behind the prompt once with the vector and
once without it, and yes and no are read at the answer's first token. After the state/text swap of Shah 2026, with the
thought as the text: it separates a subject that reads its state from one that reads its own notes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlxintro.backends.base import Prompt, Request
from mlxintro.backends.thinking.thoughts import think, with_thought
from mlxintro.protocol import controls
from mlxintro.protocol.trials import Outcome, TrialSpec
from mlxintro.running import readouts
from mlxintro.running.session import Session
from mlxintro.thinking.swapped import SWAP_SIDES


def measure_swaps(session: Session, specs: Sequence[TrialSpec]) -> Iterator[Outcome]:
    """Measure trials with the readout ``swap``.

    Each outcome's measurements hold ``logits``: log P(yes) - log P(no) in nats by side, and ``thoughts`` of both twins.
    """
    prepared = [readouts.prompt_of(session, spec) for spec in specs]
    requests = []
    for (prompt, _), spec in zip(prepared, specs, strict=True):
        sampling = readouts.sampling_of(session, spec)
        requests += [Request(prompt, sampling), Request(Prompt(prompt.tokens), sampling)]
    thoughts = [one.thought for one in think(session.backend, requests)]
    flat = []
    for at, (prompt, _) in enumerate(prepared):
        steered, clean = thoughts[2 * at], thoughts[2 * at + 1]
        bare = Prompt(prompt.tokens)
        # In the order of ``SWAP_SIDES``.
        flat += [with_thought(*pair) for pair in ((prompt, steered), (bare, steered), (prompt, clean), (bare, clean))]
    encode = session.backend.tokenizer.encode
    options = [[encode(option).tokens for option in spec.options] for spec in specs for _ in SWAP_SIDES]
    scores = session.backend.score(flat, options)
    for at, (spec, (_, doses)) in enumerate(zip(specs, prepared, strict=True)):
        logits = {}
        for place, side in enumerate(SWAP_SIDES):
            found = scores[len(SWAP_SIDES) * at + place]
            values = {option: float(one.sum(dtype="float64")) for option, one in zip(spec.options, found, strict=True)}
            logits[side] = controls.yes_logit(values, clip=False)
        both = {
            name: readouts.thought_measured(thoughts[2 * at + which])["thought"]
            for which, name in enumerate(("injected", "clean"))
        }
        yield Outcome(spec.key, "", "scored", 0, doses=doses, measurements={"logits": logits, "thoughts": both})
