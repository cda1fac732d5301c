"""What the ladder needs to know of a loaded model before its trials can be planned.

Which unrelated questions stand around the trial question's logit, at which strengths other vectors have the impact of
each concept, and which concept resembles each the least. The answers become options of the study, so that a run says
all of it and can be resumed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlxintro.backends.base import Float64, Prompt
from mlxintro.ladder.certify.draft import CertifyDraft
from mlxintro.protocol import controls
from mlxintro.protocol.trials import TrialSpec
from mlxintro.running import readouts
from mlxintro.running.session import Session
from mlxintro.vectors.impact import divergence

NEAREST = 4
"""Questions on either side of the trial question's logit."""
SPREAD = 6
"""Further questions, evenly over the whole range."""
REACH = 64.0
"""Strengths are sought up to this factor above and below the concept's."""
STEPS = 9
"""Most steps of a search; few need more than four."""
CLOSE = math.log(1.05)
"""A search ends where the impact is missed by no more than this, in logarithms."""
_FLAT = 0.1
"""Slopes below this lead nowhere: an impact that hardly grows has reached its ceiling."""
_LEAST = 1e-6
"""Impacts below this are rounding."""


@dataclass(frozen=True, slots=True)
class LadderCalibration:
    """Says what was found; ``options`` holds it as a study takes it."""

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
    shorter: float
    """How many times shorter matched random vectors are than the concepts' (geometric mean)."""
    options: dict[str, Any]

    @property
    def spans(self) -> bool:
        return self.lowest <= self.trial_logit <= self.highest


def calibrate(session: Session, specs: Iterable[TrialSpec], kept: CertifyDraft | None = None) -> LadderCalibration:
    """Find the options of a study from the trials of a plan with placeholders in their place.

    Args:
        session: the loaded model with the plan's prompts and vectors.
        specs: trials of a plan of one cell, whose arm ``spanning`` asks every question there is.
        kept: what was found of these before, and is not sought again.
    """
    draft = kept or CertifyDraft({})
    arms: dict[str, list[TrialSpec]] = {}
    for spec in specs:
        arms.setdefault(spec.arm or spec.condition, []).append(spec)
    trial_logit, logits = draft.once("questions", lambda: _logits(session, arms))
    chosen = choose_questions(trial_logit, logits)
    grid = sorted(arms["injected"], key=lambda spec: spec.trial)
    target = np.array(draft.once("impacts", lambda: impacts(session, grid).tolist()))

    def matched(arm: str) -> tuple[Float64, Float64]:
        """Strengths of an arm's vectors, and the impacts they have."""
        strengths, made = draft.once(arm, lambda: [part.tolist() for part in match(session, arms[arm], target)])
        return np.array(strengths), np.array(made)

    random, random_made = matched(controls.MATCHED)
    other, other_made = matched(controls.MATCHED_OTHER)
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
        shorter=float(np.exp(np.log([spec.injections[0].strength for spec in grid] / random)[known].mean()))
        if known.any()
        else 1.0,
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
    """Return the questions right above and below a logit, and some over the whole range."""
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
    """Return how far each trial's injection moves the next token after its prompt: KL(injected || plain), in nats.

    Trials that inject the same into the same prompt are measured once.
    """
    asked: dict[Any, tuple[Prompt, list[int]]] = {}
    for at, spec in enumerate(specs):
        one = spec.injections[0]
        drawn = spec.seed if one.transform in ("random", "shuffle") else None
        asked.setdefault((spec.prompt, one, drawn), (readouts.prompt_of(session, spec)[0], []))[1].append(at)
    plain = {prompt.tokens: Prompt(prompt.tokens) for prompt, _ in asked.values()}
    rows = session.backend.next_token([*plain.values(), *(prompt for prompt, _ in asked.values())])
    own = dict(zip(plain, rows, strict=False))
    steered = rows[len(plain) :]
    moved = divergence(steered, np.stack([own[prompt.tokens] for prompt, _ in asked.values()]))
    found = np.empty(len(specs))
    for value, (_, places) in zip(moved, asked.values(), strict=True):
        found[places] = value
    return found


def match(session: Session, specs: Sequence[TrialSpec], target: Float64) -> tuple[Float64, Float64]:
    """Return the strengths at which trials have given impacts, and the impacts they have.

    The impact of a small vector grows with the square of its strength, so the search goes along a straight line in
    logarithms (regula falsi), and halves the interval where that leaves it.

    Args:
        specs: one trial per target.
        target: in nats.
    """
    ordered = sorted(specs, key=lambda spec: spec.trial)
    aim = np.log(np.maximum(target, _LEAST))
    searches = [_Search(spec.injections[0].strength, float(one)) for spec, one in zip(ordered, aim, strict=True)]
    for _ in range(STEPS):
        going = [at for at, one in enumerate(searches) if abs(one.off) > CLOSE]
        if not going:
            break
        made = impacts(session, [_at(ordered[at], searches[at].strength) for at in going])
        for at, value in zip(going, made, strict=True):
            searches[at].tell(float(np.log(max(value, _LEAST))))
    best = np.array([one.start * np.exp(one.best) for one in searches])
    return best, np.exp(aim + np.array([one.off for one in searches]))


@dataclass(slots=True)
class _Search:
    """Searches for one strength; places are logarithms of its ratio to where it starts."""

    start: float
    aim: float
    """Logarithm of the impact that is sought."""
    at: float = 0.0
    low: float = -math.log(REACH)
    high: float = math.log(REACH)
    best: float = 0.0
    off: float = math.inf
    """Error of the best place, in logarithms."""
    last: tuple[float, float] | None = None
    """The place before, and by how much it missed."""

    @property
    def strength(self) -> float:
        return self.start * math.exp(self.at)

    def tell(self, made: float) -> None:
        """Take the impact at the present place, and move on."""
        off = made - self.aim
        if abs(off) < abs(self.off):
            self.best, self.off = self.at, off
        self.low, self.high = (self.at, self.high) if off < 0 else (self.low, self.at)
        slope = 2.0
        if self.last is not None and self.at != self.last[0]:
            slope = (off - self.last[1]) / (self.at - self.last[0])
        self.last = self.at, off
        wanted = self.at - off / slope if slope > _FLAT else math.nan
        self.at = wanted if self.low < wanted < self.high else (self.low + self.high) / 2


def _at(spec: TrialSpec, strength: float) -> TrialSpec:
    return replace(spec, injections=(replace(spec.injections[0], strength=strength),))


def least_alike(session: Session, specs: Sequence[TrialSpec]) -> tuple[dict[str, str], float]:
    """Return by word the other one with the lowest cosine, and the mean cosine of all pairs."""
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
