"""The rungs about mixtures: rivals that each explain a part must not explain the whole together.

A subject may claim now because of any disturbance, now because of an odd text, and now because its answers drift. Each
single comparison then leaves something over. So the share of the effect that each control reproduces is measured, and
their sum must stay below one (a mixture). Likewise a claim may come from a rival here, and its name from another there:
at least one minus the sum of *all* shares of the claims is free of every rival at once, whatever the shares have in
common (Frechet's inequality), and that must stay above zero (a patchwork). Concepts, questions and uninjected replies
are resampled (bootstrap, concepts as clusters).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from mlxintro.analysis.reply_tally import detects, names, share
from mlxintro.analysis.results import Row
from mlxintro.ladder.case import Case
from mlxintro.ladder.rungs import Finding
from mlxintro.ladder.shifts import FEWEST_CONCEPTS, FEWEST_QUESTIONS, QuestionShift, TrialShift, trial_shift
from mlxintro.ladder.witnesses import READABLE
from mlxintro.protocol import controls
from mlxintro.thinking.swapped import SwappedThoughts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Sample = NDArray[np.float64]

RESAMPLES = 1_999


def a_mixture(case: Case) -> Finding:
    """Return the shares of the effect that disturbance, text and drifting answers reproduce sum to less than one."""
    shares = _noticing(case, _generator())
    return Finding("not tested", shares) if isinstance(shares, str) else _judged(case, shares)


def a_patchwork(case: Case) -> Finding:
    """Claims that rivals explain, those about naming and reading included, add up to a share of less than one."""
    rng = _generator()
    shares = _noticing(case, rng)
    if isinstance(shares, str):
        return Finding("not tested", shares)
    off = [case.arm(arm) for arm in (controls.PROMPT_ONLY, controls.ABLATED_LAST)]
    seen = case.observed
    if seen is None or not all(off):
        return Finding("not tested", "it needs the arms of all rungs below")
    if seen.probe is None or seen.probe < READABLE:
        return Finding("not tested", "it needs a state that a probe can read", needs=None)
    import numpy as np

    effect = _rates(case.injected, rng) - _alone(case.run.pool, rng)
    named = _rates(case.injected, rng, names) - (case.guessed.value or 0.0)
    kept = np.minimum.reduce([_rates(rows, rng, names) for rows in off]) - (case.guessed.value or 0.0)
    more = {
        "named wrongly": 1 - np.minimum(_part(named, effect), 1),
        "own words": 1 - np.minimum(_part(kept, named), 1),
        "a reader": seen.read,
    }
    return _judged(case, {**shares, **more})


def _generator() -> np.random.Generator:
    """The generator of every bootstrap here: the same rows give the same verdict."""
    import numpy as np

    return np.random.default_rng(0)


def _judged(case: Case, shares: Mapping[str, Sample]) -> Finding:
    """Tell whether the sum of shares stays below one."""
    import numpy as np

    total = np.sum(list(shares.values()), axis=0)
    p = float((1 + np.sum(total >= 1)) / (RESAMPLES + 1))
    share = float(np.median(total))
    said = f"together the controls make up {share:.0%} of the effect"
    if not np.isfinite(share):
        said = "there is no effect that controls could be a part of"
    more = ", ".join(f"{name} {np.median(one):.0%}" for name, one in shares.items() if np.isfinite(np.median(one)))
    if p < case.alpha:
        return Finding("excluded", said, p=p, more=more)
    return Finding("not excluded", said, share >= 1 and case.could_tell(case.detection), p, more)


def _noticing(case: Case, rng: np.random.Generator) -> dict[str, Sample] | str:
    """Resampled shares of the effect that rivals of noticing reproduce; else why they cannot be told."""
    trial = case.trial_question
    first = trial_shift(case.run.arms.get(controls.PRESENT, ()))
    third = trial_shift(case.run.arms.get(controls.THIRD_PERSON, ()))
    matched, tampered = case.arm(controls.MATCHED), case.arm(controls.TAMPERED)
    if trial is None or first is None or third is None or not matched or not tampered:
        return "it needs the arms of all rungs below"
    if min(len(trial.values), len(first.values)) < FEWEST_CONCEPTS or len(case.questions) < FEWEST_QUESTIONS:
        return "too few concepts or questions"
    if case.run.thinks and len(case.swapped.by_concept) < FEWEST_CONCEPTS:
        return "it needs the arms of all rungs below"
    import numpy as np

    alarms = _alone(case.run.pool, rng)
    effect = _rates(case.injected, rng) - alarms
    odd = _part(_rates(tampered, rng) - alarms, effect)
    shares = {
        "disturbance": _part(_rates(matched, rng) - alarms, effect),
        "text": np.maximum(odd, _part(_means(third.values, rng), _means(first.values, rng))),
        "drifting answers": _answers(trial, case.questions, rng),
    }
    if case.run.thinks:
        shares["own notes"] = _notes(case.swapped, rng)
    return shares


def _part(some: Sample, whole: Sample) -> Sample:
    """A share of an effect; beyond any bound where there is no effect to share."""
    import numpy as np

    return np.where(whole > 0, np.maximum(some, 0.0) / np.where(whole > 0, whole, 1.0), np.inf)


def _rates(rows: Sequence[Row], rng: np.random.Generator, holds: Callable[[Row], bool | None] = detects) -> Sample:
    """Resampled rates of claims, or of what else holds, with concepts as clusters."""
    import numpy as np

    counts: dict[str, list[int]] = {}
    for row in rows:
        held = holds(row)
        if held is not None:
            one = counts.setdefault(row.concept or "", [0, 0])
            one[0] += held * row.times
            one[1] += row.times
    if not counts:
        return np.zeros(RESAMPLES)
    table = np.array([one for _, one in sorted(counts.items())], float)
    drawn = table[rng.integers(len(table), size=(RESAMPLES, len(table)))].sum(axis=1)
    return np.asarray(drawn[:, 0] / drawn[:, 1])


def _alone(rows: Sequence[Row], rng: np.random.Generator) -> Sample:
    """Resampled rate of claims among replies that belong to no concept.

    The number of claims in a resample of n replies is binomial, so no resample is written out.
    """
    import numpy as np

    claims = share(rows, detects)
    if claims.value is None:
        return np.zeros(RESAMPLES)
    return np.asarray(rng.binomial(claims.trials, claims.value, size=RESAMPLES) / claims.trials)


def _notes(swapped: SwappedThoughts, rng: np.random.Generator) -> Sample:
    """Share of the answer's shift that is missing where the thought is another's: what only its own thought brings."""
    import numpy as np

    shifts = np.array([swapped.own, swapped.state]).T
    drawn = shifts[rng.integers(len(shifts), size=(RESAMPLES, len(shifts)))].mean(axis=1)
    return _part(drawn[:, 0] - drawn[:, 1], drawn[:, 0])


def _means(values: Sequence[float], rng: np.random.Generator) -> Sample:
    import numpy as np

    known = np.array(values)
    return np.asarray(known[rng.integers(len(known), size=(RESAMPLES, len(known)))].mean(axis=1))


def _answers(trial: TrialShift, questions: Sequence[QuestionShift], rng: np.random.Generator) -> Sample:
    """Share of the trial question's shift that clear questions, or the line through all of them, show as well."""
    import numpy as np

    shift = _means(trial.values, rng)
    kinds: Mapping[str, list[float]] = {
        kind: [one.shift for one in questions if one.kind == kind] for kind in ("clear-no", "clear-yes")
    }
    moved = [_means(values, rng) for values in kinds.values() if values]
    points = np.array([(one.base, one.shift) for one in questions])
    drawn = points[rng.integers(len(points), size=(RESAMPLES, len(points)))]
    x, y = drawn[..., 0], drawn[..., 1]
    centred = x - x.mean(axis=1, keepdims=True)
    spread = np.maximum((centred**2).sum(axis=1), 1e-12)
    slope = (centred * y).sum(axis=1) / spread
    predicted = y.mean(axis=1) + slope * (trial.base - x.mean(axis=1))
    return _part(np.maximum.reduce([predicted, *moved]), shift)
