"""Paired comparisons, with concepts as the units that were sampled, and a verdict over many cells.

Trials of one concept resemble each other, so differences are averaged within each concept first; the interval and the
test are Student's over concepts. Where every concept shows the very same difference there is no spread to test with;
the sign test then bounds the p value.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mlxintro.analysis.results import Verdict
from mlxintro.analysis.stats import Mean, holm, mean, mean_difference

LEVEL = 0.05
FEWEST_CONCEPTS = 3
FEWEST_PAIRS = 10
"""Below these nothing is concluded."""
NOTHING = 1e-9
FLAT = 1e-5
"""Spread below this is rounding of float32 log-probabilities, and no variance to test with."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """Sets one condition against another, over pairs of trials that differ in nothing else."""

    mean: Mean
    """Mean over concepts; ``count`` is their number."""
    pairs: int
    p: float | None
    """One-sided p value that the mean is above zero; ``None`` with fewer than two concepts."""
    by_concept: tuple[float, ...] = ()
    """Mean difference of every concept."""

    @property
    def enough(self) -> bool:
        return self.mean.count >= FEWEST_CONCEPTS and self.pairs >= FEWEST_PAIRS

    @property
    def above_zero(self) -> bool:
        return self.enough and self.p is not None and self.p < LEVEL


def contrast(differences: Iterable[tuple[str, float]]) -> Contrast:
    """Summarise differences, each with the concept it belongs to."""
    pairs = list(differences)
    means = concept_means(pairs)
    return Contrast(mean(means), len(pairs), _above_zero(means), means)


def concept_means(values: Iterable[tuple[str, float]]) -> tuple[float, ...]:
    """Return the mean over each concept's values, in the order in which concepts first appear."""
    by_concept: dict[str, list[float]] = defaultdict(list)
    for concept, value in values:
        by_concept[concept].append(value)
    means = (math.fsum(own) / len(own) for own in by_concept.values())
    # What is left of equal numbers after subtraction is no difference.
    return tuple(0.0 if abs(value) < NOTHING else value for value in means)


def contrast_beyond(differences: Iterable[tuple[str, float]], others: Sequence[float]) -> Contrast:
    """Subtract the mean of others that are not paired with them, such as shifts of unrelated questions.

    Both sides were sampled, so both spreads count: Welch's interval and test, concepts against the others.
    """
    own = contrast(differences)
    means = own.by_concept
    level = math.fsum(others) / len(others) if others else 0.0
    gaps = [value - level for value in means]
    if len(others) < 2 or len(means) < 2 or max(statistics.pstdev(means), statistics.pstdev(others)) < FLAT:
        return replace(own, mean=mean(gaps), p=_above_zero(gaps))
    from scipy.stats import ttest_ind_from_stats

    gap = mean_difference(means, others)
    # From the moments: one side may have no spread at all, of which the other form warns.
    p = ttest_ind_from_stats(
        statistics.fmean(means),
        statistics.stdev(means),
        len(means),
        statistics.fmean(others),
        statistics.stdev(others),
        len(others),
        equal_var=False,
        alternative="greater",
    ).pvalue
    return replace(own, mean=replace(gap, count=len(means)), p=float(p))


def _above_zero(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    if statistics.pstdev(values) <= 1e-12 * max(map(abs, values), default=0.0):
        # No spread: all of one sign, or nothing at all.
        return 0.5 ** len(values) if values[0] > 0 else 1.0
    from scipy.stats import ttest_1samp

    return float(ttest_1samp(values, 0.0, alternative="greater").pvalue)


@dataclass(frozen=True, slots=True)
class Found:
    """Says what many cells come to after correction for how many there are (Holm 1979)."""

    best: tuple[int, float] | None
    """The cell with the smallest adjusted p value."""
    p: float | None
    """Adjusted p value of that cell."""
    enough: bool
    """Whether any cell has enough data for a conclusion."""

    @property
    def effect(self) -> bool:
        return self.enough and self.p is not None and self.p < LEVEL


def judge(cells: Mapping[tuple[int, float], Sequence[Contrast]]) -> Found:
    """Find cells where all contrasts are above zero (the largest p value of each cell counts: intersection-union)."""
    worst: dict[tuple[int, float], float] = {}
    enough = False
    for cell, contrasts in cells.items():
        if not contrasts or not all(one.enough for one in contrasts):
            continue
        enough = True
        worst[cell] = max(1.0 if one.p is None else one.p for one in contrasts)
    if not worst:
        return Found(None, None, enough)
    adjusted = dict(zip(worst, holm(list(worst.values())), strict=True))
    best = min(adjusted, key=lambda cell: (adjusted[cell], worst[cell]))
    return Found(best, adjusted[best], enough)


def verdict(found: Found, effect: str, none: str, evidence: Sequence[str] = ()) -> Verdict:
    """Return the card of an experiment that asks whether there is an effect in any cell."""
    if not found.enough:
        advice = f"fewer than {FEWEST_PAIRS} pairs or {FEWEST_CONCEPTS} concepts per cell, or no controls"
        return Verdict("too little data", f"Nothing can be concluded: {advice}. {MORE}", tuple(evidence))
    at = ""
    if found.best is not None and found.p is not None:
        at = f" Strongest at layer {found.best[0]}, strength {found.best[1]:g} (p {found.p:.2g} after Holm)."
    if found.effect:
        return Verdict("effect", effect + at, tuple(evidence))
    return Verdict("no effect shown", none, tuple(evidence))


MORE = "Give more --concepts or --trials, and --controls standard."
OPTIMISM = "The best of many cells is chosen by its result, so its figure is optimistic; repeat it with another seed."


def in_words(one: Contrast, unit: str = "") -> str:
    """Return a contrast for a line of evidence."""
    if one.mean.value is None:
        return "no pairs"
    text = f"{one.mean.value:+.3g}{unit}"
    if one.mean.low is not None and one.mean.high is not None:
        text += f" [{one.mean.low:+.3g}, {one.mean.high:+.3g}]"
    return f"{text} over {one.mean.count} concepts, {one.pairs} pairs"
