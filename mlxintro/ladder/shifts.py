"""By how much an injection moves yes-no logits: the trial question's against those of unrelated questions.

Questions with a clear no and with a clear yes stay apart: a vector that only pulls all answers towards the middle moves
the former up and the latter down, and an average of both hides it. How far an answer moves may depend on where it
stands, so shifts of unrelated questions are regressed on their logits without injection, and the trial question is
compared with what the line predicts at its own logit (after Sridharan 2026 and Hahami et al. 2025). It is one question
among many, so the spread from question to question counts in full (a prediction interval, not the line's confidence).
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlxintro.analysis.results import Row
from mlxintro.protocol import controls

FEWEST_QUESTIONS = 6
"""A line through fewer says nothing."""
FEWEST_CONCEPTS = 3
FLAT = 1e-5
"""Spread below this is rounding of float32 log-probabilities, and no variance to test with."""
SLACK = 0.15
"""The line may reach this share of its span beyond the last unrelated question on either side."""


@dataclass(frozen=True, slots=True)
class QuestionShift:
    """Sums up one unrelated question, over all trials in which it was asked."""

    kind: str
    """Name of its arm: ``clear-no``, ``clear-yes``, ``ambiguous``, ``spanning``."""
    base: float
    """Yes-no logit of the question without injection, in nats."""
    shift: float
    """Mean of what injections add to it, in nats."""
    entropy: float | None = None
    """Mean of what injections add to the entropy of the next token, in nats; ``None`` where it was not measured."""


@dataclass(frozen=True, slots=True)
class TrialShift:
    """Says how the trial question's logit shifts, with concepts as the units."""

    base: float
    by_concept: Mapping[str, float]
    entropy: float | None = None

    @property
    def values(self) -> tuple[float, ...]:
        return tuple(self.by_concept.values())

    @property
    def mean(self) -> float:
        return math.fsum(self.values) / len(self.values)


@dataclass(frozen=True, slots=True)
class Residual:
    """Says how far the trial question's shift lies beyond the line through unrelated questions."""

    value: float
    predicted: float
    p: float
    """One-sided p value that the shift is no larger than predicted: Student's t over concepts, with the prediction's
    variance for a new question."""
    slope: float
    slope_p: float
    """One-sided p value that the slope is not below zero."""
    spans: bool
    """Whether the unrelated questions' logits reach the trial question's."""
    low: float
    high: float
    """Logits that the line covers."""
    steepest: float
    """The most that answers may be pulled together: the slope's lower 99 % bound, -1 at most (all to one point)."""


def log_odds(row: Row) -> float:
    """Return the yes-no logit of a scored row, unclipped."""
    return controls.yes_logit(row.measurements["logprobs"], clip=False)


def trial_shift(rows: Sequence[Row]) -> TrialShift | None:
    """Return the shifts of one question by concept; ``None`` without trials on either side."""
    injected = [row for row in rows if row.condition == "injected"]
    plain = [row for row in rows if row.condition == "control"]
    if not injected or not plain:
        return None
    own = _by_text(plain)
    base = statistics.fmean(map(log_odds, plain))
    found: dict[str, list[float]] = defaultdict(list)
    for row in injected:
        same = own.get(_text(row))
        level = base if same is None else statistics.fmean(map(log_odds, same))
        # Where a store does not say which concept it was, every trial stands for itself.
        found[row.concept or f"trial {row.trial}"].append(log_odds(row) - level)
    means = {concept: math.fsum(values) / len(values) for concept, values in found.items()}
    return TrialShift(base, means, _entropy_shift(injected, plain))


def question_shifts(arms: Mapping[str, Sequence[Row]], kinds: Iterable[str]) -> tuple[QuestionShift, ...]:
    """Return every unrelated question that was asked with and without an injection."""
    found = []
    for kind in kinds:
        for rows in _by_text(arms.get(kind, ())).values():
            injected = [row for row in rows if row.condition == "injected"]
            plain = [row for row in rows if row.condition == "control"]
            if injected and plain:
                base = statistics.fmean(map(log_odds, plain))
                shift = statistics.fmean(map(log_odds, injected)) - base
                found.append(QuestionShift(kind, base, shift, _entropy_shift(injected, plain)))
    return tuple(found)


def residual(trial: TrialShift, questions: Sequence[QuestionShift], *, entropy: bool = False) -> Residual | None:
    """Compare the trial question's shift with the line through unrelated questions.

    Args:
        trial: the trial question.
        questions: unrelated ones.
        entropy: the change of the next token's entropy is a second regressor.

    Returns:
        ``None`` with too few questions or concepts, or with questions that all stand at one logit.
    """
    if len(questions) < FEWEST_QUESTIONS or len(trial.values) < FEWEST_CONCEPTS:
        return None
    import numpy as np
    import statsmodels.api as sm
    from scipy.stats import t

    columns = [[one.base for one in questions]]
    at = [trial.base]
    if entropy:
        columns.append([one.entropy or 0.0 for one in questions])
        at.append(trial.entropy or 0.0)
    x, y = np.array(columns).T, np.array([one.shift for one in questions])
    if np.linalg.matrix_rank(x - x.mean(axis=0)) < x.shape[1]:
        return None
    fit = sm.OLS(y, sm.add_constant(x)).fit()
    predicted = fit.get_prediction(np.array([[1.0, *at]]))
    spread = float(predicted.var_pred_mean[0]) + float(fit.mse_resid)
    spread += statistics.variance(trial.values) / len(trial.values)
    gap = trial.mean - float(predicted.predicted_mean[0])
    freedom = min(float(fit.df_resid), len(trial.values) - 1)
    p = float(t.sf(gap / math.sqrt(spread), freedom)) if spread > 0 else float(gap <= 0)
    low, high = min(columns[0]), max(columns[0])
    room = SLACK * (high - low)
    slope, slope_p = float(fit.params[1]), float(fit.pvalues[1])
    return Residual(
        value=gap,
        predicted=float(predicted.predicted_mean[0]),
        p=p,
        slope=slope,
        slope_p=slope_p / 2 if slope < 0 else 1 - slope_p / 2,
        spans=low - room <= trial.base <= high + room,
        low=low,
        high=high,
        steepest=min(-1.0, float(fit.conf_int(0.02)[1][0])),
    )


def above(values: Sequence[float], level: float = 0.0, *, variance: float = 0.0) -> float | None:
    """Return the one-sided p value that a mean is above a level (Student's t).

    Args:
        values: one per concept or per question.
        level: what the mean is compared with.
        variance: of the level, and of whatever all values share, such as the one question they are answers to.

    Returns:
        ``None`` with fewer than two values.
    """
    if len(values) < 2:
        return None
    gap = statistics.fmean(values) - level
    if variance <= 0 and statistics.pstdev(values) < FLAT:
        # Without any spread there is no variance to test with; the sign test bounds the p value.
        return 0.5 ** len(values) if gap > FLAT else 1.0
    from scipy.stats import t

    error = math.sqrt(statistics.variance(values) / len(values) + max(variance, 0.0))
    return float(t.sf(gap / error, len(values) - 1))


def beyond(values: Sequence[float], others: Sequence[float]) -> float | None:
    """Return the one-sided p value that one question moves further than others do.

    It is one more question, which may move by as much more or less as they differ among each other, so their variance
    counts in full beside that of their mean.

    Args:
        values: the question's shifts by concept.
        others: shifts of the other questions.
    """
    if len(others) < 2:
        return None
    level = statistics.fmean(others)
    spread = statistics.variance(others)
    if spread < FLAT**2 and statistics.pstdev(values) < FLAT:
        ways = math.comb(len(values) + len(others), len(values))
        return 1 / ways if statistics.fmean(values) - level > FLAT else 1.0
    return above(values, level, variance=spread * (1 + 1 / len(others)))


def question_variance(questions: Sequence[QuestionShift]) -> float:
    """Return how much shifts differ from question to question, beyond what their logits explain; in square nats."""
    if len(questions) < 3:
        return 0.0
    from scipy.stats import linregress

    base, shift = [one.base for one in questions], [one.shift for one in questions]
    if statistics.pstdev(base) < FLAT:
        return statistics.variance(shift)
    line = linregress(base, shift)
    left = [s - line.intercept - line.slope * b for b, s in zip(base, shift, strict=True)]
    return math.fsum(value * value for value in left) / (len(left) - 2)


def _text(row: Row) -> str:
    return str(row.detail.get("question", ""))


def _by_text(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[_text(row)].append(row)
    return found


def _entropy_shift(injected: Sequence[Row], plain: Sequence[Row]) -> float | None:
    sides = [[row.measurements.get("entropy") for row in rows] for rows in (injected, plain)]
    if any(value is None for side in sides for value in side):
        return None
    after, before = (statistics.fmean(float(value) for value in side if value is not None) for side in sides)
    return after - before
