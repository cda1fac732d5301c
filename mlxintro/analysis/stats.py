"""Rates with intervals, and tests of whether two of them differ.

Intervals are Wilson's for one
rate and Newcombe's for a difference of two; both behave at 0 and 1 and with few trials, where the textbook normal
interval does not. scipy and statsmodels load on first use, so that listing runs stays quick.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Rate:
    """Holds a share of trials with its interval. Without trials it is unknown: value None, interval 0 to 1."""

    successes: int
    trials: int
    low: float
    high: float
    design: float = field(default=1.0, compare=False)
    """Factor by which clusters of trials widen the variance beyond that of independent ones (the design effect)."""

    @property
    def value(self) -> float | None:
        return self.successes / self.trials if self.trials else None

    def as_dict(self) -> dict[str, int | float | None]:
        """Return what JSON takes: the fields and the value."""
        return {
            "successes": self.successes,
            "trials": self.trials,
            "value": self.value,
            "low": self.low,
            "high": self.high,
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """Holds one rate minus another, with its interval; unknown (None, -1 to 1) when either has no trials."""

    value: float | None
    low: float
    high: float

    def as_dict(self) -> dict[str, float | None]:
        return {"value": self.value, "low": self.low, "high": self.high}


def rate(successes: int, trials: int, *, confidence: float = CONFIDENCE) -> Rate:
    """Return a rate with its Wilson score interval (E. B. Wilson 1927).

    Args:
        successes: Between 0 and ``trials``.
        trials: How many were counted; 0 gives an unknown rate.
        confidence: Coverage of the interval, between 0 and 1.

    Raises:
        ValueError: The counts contradict each other.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials")
    if trials == 0:
        return Rate(0, 0, 0.0, 1.0)
    # By hand, because displays ask for rates: a library that has it takes seconds to import, while keys wait.
    z = statistics.NormalDist().inv_cdf(0.5 + confidence / 2)
    share, scale = successes / trials, 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)
    # At the edges the exact bound is 0 or 1; rounding leaves 1e-19 or so.
    return Rate(
        successes,
        trials,
        0.0 if successes == 0 else max(0.0, centre - half),
        1.0 if successes == trials else min(1.0, centre + half),
    )


def difference(first: Rate, second: Rate, *, confidence: float = CONFIDENCE) -> Difference:
    """Return ``first`` minus ``second`` with the hybrid score interval (R. G. Newcombe 1998, method 10)."""
    if first.value is None or second.value is None:
        return Difference(None, -1.0, 1.0)
    from statsmodels.stats.proportion import confint_proportions_2indep

    low, high = confint_proportions_2indep(
        first.successes,
        first.trials,
        second.successes,
        second.trials,
        compare="diff",
        method="newcomb",
        alpha=1 - confidence,
        correction=False,
    )
    return Difference(first.value - second.value, max(-1.0, float(low)), min(1.0, float(high)))


def exceeds(first: Rate, second: Rate) -> float | None:
    """Return the one-sided p value of Fisher's exact test that ``first`` is the greater.

    ``None`` when either has no trials.
    """
    if not first.trials or not second.trials:
        return None
    import numpy as np
    from scipy.stats import fisher_exact

    counts = np.array([[one.successes, one.trials - one.successes] for one in (first, second)])
    return float(fisher_exact(counts, alternative="greater").pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values for how many there are (S. Holm 1979); the order stays."""
    if len(p_values) < 2:
        return list(p_values)
    from statsmodels.stats.multitest import multipletests

    return [float(value) for value in multipletests(p_values, method="holm")[1]]


def clustered(pairs: Mapping[str, tuple[Rate, Rate]]) -> float | None:
    """Return the one-sided p value that first rates exceed second ones, with concepts as the units that were sampled.

    Trials of one concept resemble each other, which a test over trials overlooks. Under the hypothesis of no difference
    every concept's difference may as well have the other sign: all sign patterns are tried, or 9,999 drawn ones.

    Args:
        pairs: two rates per concept; concepts without trials on either side are left out.

    Returns:
        ``None`` with fewer than two concepts.
    """
    gaps = [a.value - b.value for a, b in pairs.values() if a.value is not None and b.value is not None]
    if len(gaps) < 2:
        return None
    import numpy as np
    from scipy.stats import permutation_test

    found = permutation_test(
        (gaps,),
        lambda x, axis: np.mean(x, axis=axis),
        permutation_type="samples",
        alternative="greater",
        n_resamples=9_999,
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


def auroc(positives: Sequence[float], negatives: Sequence[float]) -> float | None:
    """Return the probability that a positive scores above a negative, ties counting half.

    ``None`` where either is missing.
    """
    if not positives or not negatives:
        return None
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(positives, negatives).statistic) / (len(positives) * len(negatives))


@dataclass(frozen=True, slots=True)
class Mean:
    """Holds a mean with its interval; unknown (None) without values, and without bounds from a single one."""

    value: float | None
    low: float | None
    high: float | None
    count: int

    @property
    def beyond_zero(self) -> bool:
        """Tell whether the interval does not hold 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high

    def as_dict(self) -> dict[str, float | int | None]:
        return {"value": self.value, "low": self.low, "high": self.high, "count": self.count}


def mean(values: Sequence[float], *, confidence: float = CONFIDENCE) -> Mean:
    """Return a mean with Student's t interval."""
    if not values:
        return Mean(None, None, None, 0)
    centre = math.fsum(values) / len(values)
    if len(values) == 1:
        return Mean(centre, None, None, 1)
    spread = statistics.stdev(values)
    half = _t(len(values) - 1, confidence) * spread / math.sqrt(len(values))
    return Mean(centre, centre - half, centre + half, len(values))


def mean_difference(first: Sequence[float], second: Sequence[float], *, confidence: float = CONFIDENCE) -> Mean:
    """Return the mean of ``first`` minus mean of ``second`` with Welch's interval.

    ``count`` is the smaller sample's size.
    """
    if not first or not second:
        return Mean(None, None, None, 0)
    gap = math.fsum(first) / len(first) - math.fsum(second) / len(second)
    count = min(len(first), len(second))
    if count < 2:
        return Mean(gap, None, None, count)
    a, b = statistics.variance(first) / len(first), statistics.variance(second) / len(second)
    if a + b == 0:
        return Mean(gap, gap, gap, count)
    freedom = (a + b) ** 2 / (a * a / (len(first) - 1) + b * b / (len(second) - 1))
    half = _t(freedom, confidence) * math.sqrt(a + b)
    return Mean(gap, gap - half, gap + half, count)


def _t(freedom: float, confidence: float) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + confidence) / 2, freedom))
