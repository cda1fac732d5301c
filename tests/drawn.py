"""Outcomes drawn at random for the trials of an experiment's real plan: nulls, planted effects and confounds.

The plan is expanded once on a simulated subject; what each trial gives is then drawn many times, from what the trial
is: its arm, its concept, whether anything is injected.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlxintro.analysis.results import Analysis
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.protocol.trials import Outcome, TrialSpec
from tests.experiment_runs import planned, rows_of

WORDS = ("dust", "trumpets", "cameras", "lightning", "trees", "mirrors", "deserts", "sugar", "poetry", "bags", "milk")


@dataclass
class Subject:
    """What an experiment's trials give, with some memory of the run for what its concepts share."""

    effect: dict[str, float] = field(default_factory=dict)
    """Size of the effect by arm; what an arm is not told of has none."""
    rng: random.Random = field(default_factory=random.Random)
    shared: dict[Any, float] = field(default_factory=dict)

    def of(self, spec: TrialSpec) -> float:
        return self.effect.get(spec.arm, 0.0) if spec.injections else 0.0

    def own(self, *key: Any, spread: float) -> float:
        """A number that belongs to something, e.g. to a concept, for the length of a study."""
        if key not in self.shared:
            self.shared[key] = self.rng.gauss(0, spread)
        return self.shared[key]


Answer = Callable[[Subject, TrialSpec], tuple[str, dict[str, Any]]]


def studies(
    experiment: str, answer: Answer, effect: dict[str, float], seeds: Sequence[int], **settings: Any
) -> Iterator[Analysis]:
    """One analysed study per seed."""
    with FakeBackend("null") as backend:
        checked, plan = planned(backend, experiment, **{"concepts": WORDS, **settings})
        specs = list(plan)
        for seed in seeds:
            subject = Subject(effect, random.Random(seed))
            outcomes = {}
            for spec in specs:
                response, measured = answer(subject, spec)
                outcomes[spec.key] = Outcome(spec.key, response, "stop", 1, measurements=measured)
            yield checked.experiment.analyse(rows_of(specs, outcomes), checked.study, checked.preset)


def options(spec: TrialSpec, rng: random.Random, raised: Sequence[str] = (), by: float = 0.0) -> dict[str, Any]:
    """Log-probabilities of a trial's options: noise, some of them raised."""
    scores = {option: rng.gauss(0, 1) + (by if option in raised else 0.0) for option in spec.options}
    total = math.log(sum(map(math.exp, scores.values())))
    return {"logprobs": {option: score - total for option, score in scores.items()}}


def thought_vs_text(subject: Subject, spec: TrialSpec) -> tuple[str, dict[str, Any]]:
    """``effect``: probability that the injected word is named; else one of the candidates is, by luck."""
    rng, detail = subject.rng, spec.detail
    struck = rng.random() < subject.of(spec)
    match detail["question"]:
        case "repeat":
            return detail["sentence"] if rng.random() < 0.9 else "I would rather not.", {}
        case "choice":
            forms = (spec.concept or "", (spec.concept or "").capitalize())
            return "", options(spec, rng, forms, 9.0 * struck)
        case _:
            return (spec.concept or "") if struck else rng.choice(detail["candidates"]), {}


def prefill(subject: Subject, spec: TrialSpec) -> tuple[str, dict[str, Any]]:
    """``effect``: by how much an apology becomes less probable than 80 %."""
    rng, detail = subject.rng, spec.detail
    if detail["question"] == "repeat":
        return detail["sentence"], {}
    if detail["question"] == "openings":
        return "", options(spec, rng)
    return ("Sorry, an accident." if rng.random() < 0.8 - subject.of(spec) else "Yes, I meant to say that."), {}


def latent(subject: Subject, spec: TrialSpec) -> tuple[str, dict[str, Any]]:
    """``effect``: mean shift of the log-odds of yes; concepts, questions and dialogues have shifts of their own."""
    if spec.readout == "capture":
        return "", {"lens": {"yes": [-1.0] * 8, "no": [-1.0] * 8}}
    if spec.arm == "identify":
        return "", options(spec, subject.rng)
    dialogue = repr(sorted((key, str(value)) for key, value in spec.detail.items()))
    logit = -3.0 + subject.own(dialogue, spread=1.0)
    if spec.injections:
        logit += subject.of(spec) + subject.own(spec.concept, spec.arm, spread=0.8)
        logit += subject.own(dialogue, spec.concept, spec.arm, spread=0.5)
    odds = {True: -math.log1p(math.exp(-logit)), False: -math.log1p(math.exp(logit))}
    return "", {"logprobs": {option: odds["yes" in option.lower()] - math.log(2) for option in spec.options}}


def localization(subject: Subject, spec: TrialSpec) -> tuple[str, dict[str, Any]]:
    """``effect``: by how much the injected sentence's number is more probable, in nats."""
    return "", options(spec, subject.rng, (f" {spec.detail['place']}",), subject.of(spec))


def forced_identification(subject: Subject, spec: TrialSpec) -> tuple[str, dict[str, Any]]:
    """``effect``: probability that the injected word is named; else some word of the study is."""
    rng = subject.rng
    struck = rng.random() < subject.of(spec)
    if spec.readout == "score":
        forms = (f" {spec.concept}", f" {(spec.concept or '').capitalize()}")
        return "", options(spec, rng, forms, 9.0 * struck)
    return f" {spec.concept if struck else rng.choice(WORDS)}.", {}


def intentional_control(subject: Subject, spec: TrialSpec) -> tuple[str, dict[str, Any]]:
    """``effect``: added to the cosine in an arm; sentence, concept and trial have noise of their own."""
    layers = spec.detail["layers"]
    base = subject.own(spec.concept, spread=0.02) + subject.own(spec.detail["sentence"], spread=0.02)
    here = base + subject.own(spec.trial, spec.arm, spread=0.02) + subject.effect.get(spec.arm, 0.0)
    band = base + subject.own("band", spec.trial, spec.arm, spread=0.02) + subject.effect.get("band:" + spec.arm, 0.0)
    values = {"mean": [band] * len(layers), "low": [band - 0.05] * len(layers), "high": [band + 0.05] * len(layers)}
    own = [here] * len(layers)
    return "", {"layers": layers, "raw": own, "raw_band": values, "centred": own, "centred_band": values}
