"""Corrected rates against the truth they were simulated from, and against the algebra they solve."""

from __future__ import annotations

import numpy as np
import pytest

from mlxintro.analysis.stats import rate
from mlxintro.grading.correction import Calibration, corrected


def test_known_errors_are_taken_out_exactly() -> None:
    # 1000 replies, 300 of them true; 80 % found, 10 % of the others taken for true: 240 + 70 are reported.
    found = corrected(rate(310, 1000), Calibration(8_000, 10_000, 9_000, 10_000))
    assert found.value == pytest.approx(0.3)
    assert found.low < 0.3 < found.high


def test_a_perfect_grader_changes_nothing() -> None:
    assert corrected(rate(7, 50), Calibration(40, 40, 60, 60)).value == pytest.approx(0.14)


@pytest.mark.parametrize("calibration", [Calibration(0, 0, 5, 5), Calibration(5, 10, 5, 10), Calibration(1, 10, 1, 10)])
def test_a_grader_that_is_not_known_to_tell_apart_gives_no_rate(calibration: Calibration) -> None:
    found = corrected(rate(5, 20), calibration)
    assert (found.value, found.low, found.high) == (None, 0.0, 1.0)


@pytest.mark.parametrize("true", [0.05, 0.2, 0.5, 0.9])
@pytest.mark.parametrize(("se", "sp"), [(0.9, 0.98), (0.8, 0.9), (0.7, 0.95)])
def test_the_interval_covers_the_truth_as_often_as_it_says(true: float, se: float, sp: float) -> None:
    draw = np.random.default_rng(7)
    studies = 2000
    trials, positives, negatives = 200, 60, 60
    reported = draw.binomial(trials, true * se + (1 - true) * (1 - sp), studies)
    hits, rejections = draw.binomial(positives, se, studies), draw.binomial(negatives, sp, studies)
    covered = 0
    for p, h, r in zip(reported, hits, rejections, strict=True):
        found = corrected(rate(int(p), trials), Calibration(int(h), positives, int(r), negatives))
        covered += found.low <= true <= found.high
    # The source reports coverage close to nominal, at worst slightly below; 2000 studies resolve half a point.
    assert covered / studies >= 0.93


def test_counts_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="at most"):
        Calibration(3, 2, 0, 0)
