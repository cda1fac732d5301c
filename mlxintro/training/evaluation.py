"""How far an adapter has come: trials on words that it is not trained on, graded like every other reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from mlxintro.backends.base import Backend, Injection, Prompt, Request, Sampling
from mlxintro.grading.passes import find_grader
from mlxintro.protocol.trials import Transform
from mlxintro.training.asking import Asker
from mlxintro.training.material import Wording
from mlxintro.training.plan import Labels, TrainingPlan
from mlxintro.vectors.vector import ConceptVector

_TOKENS = 24


@dataclass(frozen=True, slots=True)
class HeldOutRates:
    """Holds rates at temperature 1 over words that were not trained on."""

    trials: int
    """Number of trials with an injection; there are as many with random vectors, and half as many without any."""
    detection: float
    false_alarms: float
    random: float
    """Claims under norm-matched random vectors."""
    naming: float

    def margin(self, labels: Labels) -> float:
        """Return how good an adapter is at what it was trained for; the best one is kept."""
        if labels == "any-disturbance":
            return min(self.detection, self.random) - self.false_alarms
        return self.detection - max(self.false_alarms, self.random) + self.naming

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def held_out_rates(
    backend: Backend,
    plan: TrainingPlan,
    words: Sequence[str],
    vectors: Mapping[str, ConceptVector],
    wording: Wording,
    asker: Asker,
) -> HeldOutRates:
    """Ask about every word once with its vector and once with a random one, at layers of the range in turn."""
    asked = asker.ask(wording, 1)
    first, last = plan.layers
    strength = sum(plan.strengths) / 2

    def injected(at: int, transform: Transform) -> Prompt:
        layer = first + at % (last - first + 1)
        vector, _ = vectors[words[at]].scaled(layer, strength, "resid", transform=transform, seed=plan.seed)
        return Prompt(asked.tokens, (Injection(layer, vector, asked.start),))

    count = len(words)
    prompts = [injected(at, "none") for at in range(count)]
    prompts += [injected(at, "random") for at in range(count)]
    prompts += [Prompt(asked.tokens)] * (count // 2)
    requests = [
        Request(prompt, Sampling(max_tokens=_TOKENS, temperature=1.0, seed=at)) for at, prompt in enumerate(prompts)
    ]
    grader = find_grader("rules")
    claims = [0, 0, 0]
    named = 0
    for completion in backend.generate(requests):
        at = completion.index
        kind = min(at // count, 2)
        word = words[at] if kind == 0 else None
        grade = grader.grade(completion.text, word)
        claims[kind] += grade.detects is True
        named += kind == 0 and grade.success is True
    return HeldOutRates(count, claims[0] / count, claims[2] / (count // 2), claims[1] / count, named / count)
