"""Categories of concepts against each other, with concepts as the units that were sampled."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

from mlxintro.analysis.across.units import concept_totals
from mlxintro.analysis.results import Cell, Row, Table
from mlxintro.analysis.stats import Difference, holm, mean, mean_difference

FEWEST_CONCEPTS = 3
"""Categories with fewer concepts are not tested."""
MOST_PAIRED = 4
"""Up to so many categories every pair is compared; more are each compared with all others together."""


def category_table(
    rows: Sequence[Row], value: Callable[[Row], float | None], category: Callable[[Row], str], label: str
) -> Table:
    """Compare categories of concepts by a rate of their trials.

    Args:
        rows: trials with a concept.
        value: what a trial contributes, 0 or 1; ``None`` where it cannot be told.
        category: the category of a trial's concept.
        label: what the rate is, for the title.

    Returns:
        differences with Welch's interval over concepts, two-sided, p adjusted by Holm; the note has Welch's test of all
        categories at once (statsmodels ``anova_oneway``). Without rows where fewer than two categories have enough
        concepts.
    """
    groups = {
        name: found for name, found in _concept_rates(rows, value, category).items() if len(found) >= FEWEST_CONCEPTS
    }
    if len(groups) < 2:
        return Table("categories_compared", "", (), ())
    sides = _sides(groups)
    tests = {names: _welch(*values) for names, values in sides.items()}
    adjusted = dict(zip(tests, holm(list(tests.values())), strict=True))
    made: list[tuple[Cell, ...]] = []
    for (one, two), (first, second) in sides.items():
        gap = mean_difference(first, second)
        low, high = (-1.0 if gap.low is None else gap.low), (1.0 if gap.high is None else gap.high)
        counts = f"{len(first)}, {len(second)}"
        made.append((f"{one} - {two}", Difference(gap.value, low, high), counts, f"{adjusted[one, two]:.2g}"))
    shares = ", ".join(f"{name} {mean(found).value:.0%}" for name, found in groups.items())
    note = (
        f"means over concepts: {shares}; Welch's interval and test with concepts as the units, p adjusted by Holm; all "
        f"categories at once: {_omnibus(groups)}"
    )
    columns = ("categories", "difference", "concepts", "p (Holm)")
    return Table("categories_compared", f"Categories against each other: {label}", columns, tuple(made), note)


def _concept_rates(
    rows: Sequence[Row], value: Callable[[Row], float | None], category: Callable[[Row], str]
) -> dict[str, list[float]]:
    """Return the mean of every concept, by category."""
    belongs = {row.concept: category(row) for row in rows if row.concept}
    found: dict[str, list[float]] = defaultdict(list)
    for word, one in sorted(concept_totals(rows, value).items()):
        found[belongs[word]].append(one.mean)
    return dict(sorted(found.items()))


def _sides(groups: Mapping[str, list[float]]) -> dict[tuple[str, str], tuple[list[float], list[float]]]:
    if len(groups) <= MOST_PAIRED:
        return {(one, two): (groups[one], groups[two]) for one, two in combinations(groups, 2)}
    return {
        (name, "all others"): (found, [x for other, values in groups.items() if other != name for x in values])
        for name, found in groups.items()
    }


def _welch(one: Sequence[float], two: Sequence[float]) -> float:
    if statistics.pstdev(one) == statistics.pstdev(two) == 0.0:
        # No spread on either side: the t test has nothing to go by, so the exact test of the labels stands in.
        return _exact(one, two)
    from statsmodels.stats.weightstats import ttest_ind

    return float(ttest_ind(one, two, usevar="unequal")[1])


def _exact(one: Sequence[float], two: Sequence[float]) -> float:
    from math import comb

    return 1.0 if one[0] == two[0] else min(1.0, 2 / comb(len(one) + len(two), len(one)))


def _omnibus(groups: Mapping[str, list[float]]) -> str:
    """Test all categories at once, and say by which test."""
    if any(statistics.pstdev(found) == 0.0 for found in groups.values()):
        # Welch's weights are infinite where a category has no spread; ranks need none.
        if len({x for found in groups.values() for x in found}) == 1:
            return "all concepts alike"
        from scipy.stats import kruskal

        return (
            f"Kruskal and Wallis' test (a category without spread), p = {float(kruskal(*groups.values()).pvalue):.2g}"
        )
    import numpy as np
    from statsmodels.stats.oneway import anova_oneway

    data = [np.array(found) for found in groups.values()]
    return f"Welch's analysis of variance, p = {float(anova_oneway(data, use_var='unequal').pvalue):.2g}"
