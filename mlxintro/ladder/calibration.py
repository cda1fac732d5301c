"""What the ladder needs to know of a loaded model before its trials can be planned.

Which unrelated questions stand around the trial question's logit, at which strengths other vectors have the impact of
each concept, and which concept resembles each the least. The answers become options of the study, so that a run says
all of it and can be resumed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlxintro.backends.base import Float32, Prompt
from mlxintro.protocol import controls
from mlxintro.protocol.trials import TrialSpec
from mlxintro.running import readouts
from mlxintro.running.session import Session
from mlxintro.vectors.impact import divergence, next_token

Float64 = NDArray[np.float64]

NEAREST = 4
"""Questions on either side of the trial question's logit."""
SPREAD = 6
"""Further questions, evenly over the whole range."""
REACH = 64.0
"""Strengths are sought up to this factor above and below the concept's."""
STEPS = 9
_LEAST = 1e-6
"""Impacts below this are rounding."""


@dataclass(frozen=True, slots=True)
class LadderCalibration:
    """What was found; ``options`` holds it as a study takes it."""

    trial_logit: float
    """Logit of the trial question without a vector, in nats."""
    lowest: float
    highest: float
    """Logits between which the chosen questions lie."""
    mean_cosine: float
    """Between vectors of different concepts, at the layer of the study."""
    impact: float
    """Median over pairs, in nats."""
    missed_by: float
    """Factor by which matched impacts miss the concepts', on average (geometric mean)."""
    options: dict[str, Any]

    @property
    def spans(self) -> bool:
        return self.lowest <= self.trial_logit <= self.highest


def calibrate(session: Session, specs: Iterable[TrialSpec]) -> LadderCalibration:
    """Find the options of a study from the trials of a plan with placeholders in their place.

    Args:
        session: the loaded model with the plan's prompts and vectors.
        specs: trials of a plan of one cell, whose arm ``spanning`` asks every question there is.
    """
    arms: dict[str, list[TrialSpec]] = {}
    for spec in specs:
        arms.setdefault(spec.arm or spec.condition, []).append(spec)
    trial_logit, logits = _logits(session, arms)
    chosen = choose_questions(trial_logit, logits)
    grid = sorted(arms["injected"], key=lambda spec: spec.trial)
    target = impacts(session, grid)
    random, random_made = match(session, arms[controls.MATCHED], target)
    other, other_made = match(session, arms[controls.MATCHED_OTHER], target)
    partners, cosine = least_alike(session, grid)
    known = target > _LEAST
    off = np.abs(np.log(np.maximum(random_made, _LEAST) / np.maximum(target, _LEAST)))
    values = [logits[text] for text in chosen] or [trial_logit]
    return LadderCalibration(
        trial_logit=trial_logit,
        lowest=min(values),
        highest=max(values),
        mean_cosine=cosine,
        impact=float(np.median(target)),
        missed_by=float(np.exp(off[known].mean())) if known.any() else 1.0,
        options={
            "spanning": list(chosen),
            "matched": _rounded(random),
            "matched_other": _rounded(other),
            "impacts": _rounded(np.stack([target, random_made, other_made]).T),
            "partners": partners,
        },
    )


def _rounded(values: Float64) -> Any:
    """Plain lists of numbers to six digits: they are stored, and read by people."""
    return np.vectorize(lambda value: float(f"{value:.6g}"))(values).tolist()


def choose_questions(trial_logit: float, logits: dict[str, float]) -> tuple[str, ...]:
    """Questions right above and below a logit, and some over the whole range."""
    ordered = sorted(logits, key=lambda text: logits[text])
    above = next((at for at, text in enumerate(ordered) if logits[text] > trial_logit), len(ordered))
    near = ordered[max(0, above - NEAREST) : above + NEAREST]
    places = np.linspace(0, len(ordered) - 1, min(SPREAD, len(ordered))).round().astype(int)
    return tuple(dict.fromkeys([*near, *(ordered[at] for at in places)]))


def _logits(session: Session, arms: dict[str, list[TrialSpec]]) -> tuple[float, dict[str, float]]:
    asked = [spec for arm in (controls.QUESTION, controls.SPANNING) for spec in arms[arm] if not spec.injections]
    found = {
        str(spec.detail.get("question", "")): controls.yes_logit(outcome.measurements["logprobs"], clip=False)
        for spec, outcome in zip(asked, readouts.score(session, asked), strict=True)
    }
    return found.pop(""), found


def impacts(session: Session, specs: Sequence[TrialSpec]) -> Float64:
    """How far each trial's injection moves the next token after its prompt: KL(injected || plain), in nats."""
    prompts = [readouts.prompt_of(session, spec)[0] for spec in specs]
    plain: dict[tuple[int, ...], Float32] = {}
    for prompt in prompts:
        plain.setdefault(prompt.tokens, np.empty(0, np.float32))
    unsteered = [Prompt(tokens) for tokens in plain]
    for tokens, row in zip(plain, next_token(session.backend, unsteered), strict=True):
        plain[tokens] = row
    steered = next_token(session.backend, prompts)
    return divergence(steered, np.stack([plain[prompt.tokens] for prompt in prompts])).astype(np.float64)


def match(session: Session, specs: Sequence[TrialSpec], target: Float64) -> tuple[Float64, Float64]:
    """Strengths at which trials have given impacts, by bisection of all at once; and the impacts they have.

    Args:
        specs: one trial per target.
        target: in nats.
    """
    ordered = sorted(specs, key=lambda spec: spec.trial)
    start = np.array([spec.injections[0].strength for spec in ordered])
    low, high = np.full(len(ordered), -np.log(REACH)), np.full(len(ordered), np.log(REACH))
    best, made = np.zeros(len(ordered)), np.full(len(ordered), np.nan)
    for _ in range(STEPS):
        middle = (low + high) / 2
        now = impacts(session, [_at(spec, float(s)) for spec, s in zip(ordered, start * np.exp(middle), strict=True)])
        with np.errstate(divide="ignore", invalid="ignore"):
            nearer = np.isnan(made) | (np.abs(np.log(now / target)) < np.abs(np.log(made / target)))
        best, made = np.where(nearer, middle, best), np.where(nearer, now, made)
        low, high = np.where(now < target, middle, low), np.where(now < target, high, middle)
    return start * np.exp(best), made


def _at(spec: TrialSpec, strength: float) -> TrialSpec:
    return replace(spec, injections=(replace(spec.injections[0], strength=strength),))


def least_alike(session: Session, specs: Sequence[TrialSpec]) -> tuple[dict[str, str], float]:
    """By word the other one with the lowest cosine, and the mean cosine of all pairs."""
    own = {spec.injections[0].concept: spec.injections[0] for spec in specs}
    words = list(own)
    rows = [session.vectors[one.vector].direction[one.layer].astype(np.float64) for one in own.values()]
    units = np.array([row / (np.linalg.norm(row) or 1.0) for row in rows])
    cosines = units @ units.T
    count = len(words)
    if count < 2:
        return {}, 1.0
    mean = float((cosines.sum() - np.trace(cosines)) / (count * (count - 1)))
    return {word: words[int(np.argmin(cosines[at]))] for at, word in enumerate(words)}, mean
