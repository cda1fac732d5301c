"""Does a vector steer? A reply with and without it, and a test against random vectors of the same norm.

The test asks whether a vector makes the model more likely to go on with the concept's own names on neutral ground,
more than arbitrary vectors of the same size do. Passing shows that the vector carries the concept into the output.
It shows nothing about introspection: a vector that steers may go wholly unnoticed; noticing is what the experiments
ask about.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Required, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from mlxintro import data
from mlxintro.analysis.stats import mean
from mlxintro.backends.base import (
    Backend,
    Float32,
    Injection,
    Message,
    Prompt,
    Proof,
    Request,
    Sampling,
    Site,
    Tokenizer,
)
from mlxintro.backends.errors import UsageError
from mlxintro.protocol.concepts import Concept
from mlxintro.protocol.trials import Dose, Transform, Unit
from mlxintro.protocol.windows import WindowName, resolve
from mlxintro.vectors.vector import ConceptVector

DEFAULT_LAYER = 0.66
"""Depth fraction: where Lindsey 2025 and most replications find injection to work best."""

RANDOMS = 19
"""Random vectors to compare with: enough for a rank of 1 in 20."""


@dataclass(frozen=True, slots=True)
class Steered:
    """Holds one prompt answered twice, with the same random numbers."""

    plain: str
    steered: str
    layer: int
    dose: Dose
    proof: Proof


@dataclass(frozen=True, slots=True, eq=False)
class PairedRequests:
    """Puts one prompt plainly and under a vector, to be answered in one batch."""

    plain: Request
    steered: Request
    layer: int
    dose: Dose


@dataclass(frozen=True, slots=True)
class NeutralPrompt:
    user: str
    prefill: str
    """Put in the assistant's mouth; the concept's names are scored as what comes next."""


@dataclass(frozen=True, slots=True)
class PromptEffect:
    """Compares natural log-probabilities that a name of the concept comes next, on one prompt."""

    prompt: NeutralPrompt
    plain: float
    steered: float
    random: tuple[float, ...]
    """Log-probabilities under each random vector."""

    @property
    def beyond_random(self) -> float:
        """Return how much more the vector does than random ones of its norm do on average."""
        return self.steered - math.fsum(self.random) / len(self.random)


@dataclass(frozen=True, slots=True)
class Validation:
    concept: str
    layer: int
    strength: float
    unit: Unit
    dose: Dose
    prompts: tuple[PromptEffect, ...]
    shift: float
    """Mean over prompts of log P(name) with the vector minus without it, in nats."""
    effect: float
    """``shift`` minus the mean shift under random vectors of equal norm, in nats: what is the concept's own."""
    low: float
    """95 % interval of ``effect`` over prompts (Student's t)."""
    high: float
    p_value: float
    """One-sided rank p value among the random vectors: (1 + randoms that do at least as much) / (1 + randoms)."""
    randoms: int

    @property
    def passed(self) -> bool:
        """Tell whether the vector steers as it should.

        The interval lies on the strength's side of 0, and at most one in twenty random vectors does as well. With fewer
        than 19 of them, none may.
        """
        beyond = self.low if self.strength > 0 else -self.high
        return beyond > 0 and self.p_value <= max(0.05, 1 / (1 + self.randoms))


class SteeringSettings(TypedDict, total=False):
    """Says how a vector is added to the answer of one prompt."""

    layer: int | float
    """Block index, or depth fraction; ``DEFAULT_LAYER`` where it is left out."""
    strength: Required[float]
    unit: Required[Unit]
    window: WindowName
    """Window in which the vector is added; everywhere where it is left out."""
    question: str
    """Text of the prompt on which the window ``question`` is anchored."""
    prefill: str
    """Beginning of the answer."""
    sampling: Sampling | None
    """Greedy, 100 tokens when ``None``; its ``seed`` also fixes the direction of a random vector."""
    transform: Transform


def steer(
    backend: Backend, vector: ConceptVector, messages: Sequence[Message], **settings: Unpack[SteeringSettings]
) -> Steered:
    """Answer one prompt with and without a vector, in one batch.

    Args:
        settings: see ``SteeringSettings``.

    Raises:
        UsageError: a layer, strength or window that is not there.
        InjectionError: what was injected is not what was asked for.
    """
    asked = pair(backend, vector, messages, **settings)
    completions = backend.generate([asked.plain, asked.steered])
    plain, steered = sorted(completions, key=lambda completion: completion.index)
    return Steered(plain.text, steered.text, asked.layer, asked.dose, steered.proofs[0])


def pair(
    backend: Backend, vector: ConceptVector, messages: Sequence[Message], **settings: Unpack[SteeringSettings]
) -> PairedRequests:
    """Make the requests of ``steer``, for whoever wants to see their tokens; settings and errors as there."""
    where = backend.info.layer(settings.get("layer", DEFAULT_LAYER))
    sampling = settings.get("sampling") or Sampling()
    strength, unit, transform = settings["strength"], settings["unit"], settings.get("transform", "none")
    added, dose = vector.scaled(where, strength, unit, transform=transform, seed=sampling.seed)
    rendered = backend.tokenizer.render(messages, settings.get("prefill", ""))
    start, stop = resolve(settings.get("window", "all"), rendered, settings.get("question", ""))
    plain = Prompt(rendered.tokens)
    steered = Prompt(rendered.tokens, (Injection(where, added, start, stop, vector.recipe.site),))
    return PairedRequests(Request(plain, sampling), Request(steered, sampling), where, dose)


def validate(
    backend: Backend,
    vector: ConceptVector,
    concept: Concept,
    *,
    layer: int | float = DEFAULT_LAYER,
    strength: float,
    unit: Unit,
    prompts: Sequence[NeutralPrompt] | None = None,
    randoms: int = RANDOMS,
    seed: int = 0,
) -> Validation:
    """Test that a vector steers towards its concept, on every position of neutral prompts.

    On each prompt the log-probability that any name of the concept comes next is measured plainly, under the vector,
    and under ``randoms`` random vectors of the same norm. The effect is vector minus mean random, averaged over
    prompts; its interval treats prompts as the sample, its p-value treats random directions as the sample.

    Args:
        concept: its word and related words are the names that are scored, each after a space; phrases are left out.
        strength: a negative one is expected to make the names less likely.
        prompts: at least two; the ones that ship when ``None``.

    Raises:
        UsageError: strength 0, too few prompts, or no random vectors.
    """
    neutral = neutral_prompts() if prompts is None else tuple(prompts)
    if strength == 0 or randoms < 1 or len(neutral) < 2:
        raise UsageError("testing a vector takes a strength other than 0, a random vector and two prompts at least")
    where = backend.info.layer(layer)
    added, dose = vector.scaled(where, strength, unit)
    arms: list[Float32 | None] = [None, added]
    for number in range(randoms):
        arms.append(vector.scaled(where, strength, unit, transform="random", seed=seed * randoms + number)[0])
    scored = _log_probabilities(backend, concept, neutral, where, arms, vector.recipe.site)
    effects = tuple(
        PromptEffect(prompt, float(row[0]), float(row[1]), tuple(map(float, row[2:])))
        for prompt, row in zip(neutral, scored, strict=True)
    )
    beyond = mean([effect.beyond_random for effect in effects])
    # Two prompts at least, so there is an interval.
    assert beyond.value is not None
    assert beyond.low is not None
    assert beyond.high is not None
    side = math.copysign(1.0, strength)
    means = scored.mean(axis=0) * side
    return Validation(
        concept=concept.word,
        layer=where,
        strength=strength,
        unit=unit,
        dose=dose,
        prompts=effects,
        shift=float((scored[:, 1] - scored[:, 0]).mean()),
        effect=beyond.value,
        low=beyond.low,
        high=beyond.high,
        p_value=float((1 + (means[2:] >= means[1]).sum()) / (1 + randoms)),
        randoms=randoms,
    )


@cache
def neutral_prompts() -> tuple[NeutralPrompt, ...]:
    """Return the neutral prompts that ship."""
    return tuple(NeutralPrompt(**prompt) for prompt in data.load("steering.toml")["prompt"])


def _log_probabilities(
    backend: Backend,
    concept: Concept,
    neutral: Sequence[NeutralPrompt],
    layer: int,
    arms: Sequence[Float32 | None],
    site: Site,
) -> NDArray[np.float64]:
    """(prompts, arms): log-probability that any of the concept's names comes next."""
    # A phrase costs several passes, and its probability is negligible beside that of the single words.
    words = [concept.word, *(name for name in concept.related if " " not in name)]
    prompts, options = [], []
    for prompt in neutral:
        tokens, names = continuations(backend.tokenizer, prompt, words)
        for arm in arms:
            injections = () if arm is None else (Injection(layer, arm, 0, None, site),)
            prompts.append(Prompt(tokens, injections))
            options.append(names)
    totals = [
        np.logaddexp.reduce([float(logprobs.sum(dtype=np.float64)) for logprobs in row])
        for row in backend.score(prompts, options)
    ]
    return np.array(totals, np.float64).reshape(len(neutral), len(arms))


def continuations(
    tokenizer: Tokenizer, prompt: NeutralPrompt, names: Sequence[str]
) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Return the tokens of a prompt, and of every name as what comes next.

    A name that begins with the tokens of another is left out, since its probability is part of that one's: so the
    probabilities of all that are returned add up.
    """
    messages: list[Message] = [{"role": "user", "content": prompt.user}]
    tokens = tokenizer.render(messages, prompt.prefill).tokens
    found = set()
    for name in names:
        whole = tokenizer.render(messages, f"{prompt.prefill} {name}").tokens
        # Some tokenisers join the space to what stands before it; then the name is tokenised by itself.
        apart = whole[len(tokens) :] if whole[: len(tokens)] == tokens else tokenizer.encode(f" {name}").tokens
        if apart:
            found.add(apart)
    kept = [one for one in found if not any(one != other and one[: len(other)] == other for other in found)]
    return tokens, sorted(kept)
