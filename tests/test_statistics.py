"""Intervals against scipy, against Newcombe's own worked example and against published figures; counts by hand."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, fisher_exact, ttest_1samp, ttest_ind

from mlxintro.analysis.stats import auroc, clustered, difference, exceeds, holm, mean, mean_difference, rate
from mlxintro.analysis.summary import summarise
from mlxintro.grading import Grade
from mlxintro.replies.grade_terms import GradeState
from tests.plans import graded_row

YES = Grade(affirms=True, identifies=True, named_before_affirming=False, coherent=True, refuses=False)
VAGUE = replace(YES, identifies=False)
EARLY = replace(YES, named_before_affirming=True)
DENIAL = Grade(affirms=False, identifies=False, named_before_affirming=None, coherent=True, refuses=False)
LEAK = replace(DENIAL, identifies=True)
REFUSAL = replace(DENIAL, refuses=True)
GARBLE = replace(YES, coherent=False)
OPEN = Grade(
    affirms=None, identifies=True, named_before_affirming=None, coherent=True, refuses=None, state=GradeState.ABSTAINED
)
FALSE_ALARM = Grade(affirms=True, identifies=None, named_before_affirming=None, coherent=True, refuses=False)


@settings(deadline=None)
@given(st.integers(1, 6000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_rate_interval_equals_scipys_wilson_interval(counts: tuple[int, int]) -> None:
    successes, trials = counts
    ours = rate(successes, trials)
    theirs = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert ours.low == pytest.approx(theirs.low, abs=1e-9)
    assert ours.high == pytest.approx(theirs.high, abs=1e-9)
    assert ours.value is not None
    assert 0 <= ours.low <= ours.value <= ours.high <= 1


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (2055, 5000, 39.7, 42.5),
        (9, 100, 4.8, 16.2),
        (3, 50, 2.1, 16.2),
        (5, 50, 4.3, 21.4),
        (0, 100, 0.0, 3.7),
        (0, 50, 0.0, 7.1),
        (10, 50, 11.2, 33.0),
        (5, 216, 1.0, 5.3),
    ],
)
def test_rate_reproduces_published_intervals(successes: int, trials: int, low: float, high: float) -> None:
    ours = rate(successes, trials)
    assert round(100 * ours.low, 1) == low
    assert round(100 * ours.high, 1) == high


def test_no_trials_is_unknown_rather_than_zero() -> None:
    unknown = rate(0, 0)
    assert (unknown.value, unknown.low, unknown.high) == (None, 0.0, 1.0)
    gap = difference(unknown, rate(1, 2))
    assert (gap.value, gap.low, gap.high) == (None, -1.0, 1.0)
    assert not any(
        isinstance(v, float) and math.isnan(v) for v in [*unknown.as_dict().values(), *gap.as_dict().values()]
    )


@pytest.mark.parametrize(("successes", "trials"), [(3, 2), (-1, 4)])
def test_impossible_counts_are_refused(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="successes"):
        rate(successes, trials)


@pytest.mark.parametrize(
    ("a", "m", "b", "n", "low", "high"),
    # R. G. Newcombe, Statistics in Medicine 17 (1998) 873-890, table II, method 10.
    [(56, 70, 48, 80, 0.0524, 0.3339), (9, 10, 3, 10, 0.1705, 0.8090), (10, 10, 0, 10, 0.6075, 1.0)],
)
def test_difference_reproduces_newcombes_table(a: int, m: int, b: int, n: int, low: float, high: float) -> None:
    gap = difference(rate(a, m), rate(b, n))
    assert gap.value == pytest.approx(a / m - b / n)
    assert gap.low == pytest.approx(low, abs=6e-5)
    assert gap.high == pytest.approx(high, abs=6e-5)


@settings(deadline=None)
@given(st.integers(1, 80), st.integers(1, 80), st.data())
def test_difference_follows_from_the_two_wilson_intervals(m: int, n: int, data: st.DataObject) -> None:
    """Newcombe's definition written out with scipy's intervals."""
    a, b = data.draw(st.integers(0, m)), data.draw(st.integers(0, n))
    one = binomtest(a, m).proportion_ci(0.95, method="wilson")
    two = binomtest(b, n).proportion_ci(0.95, method="wilson")
    p, q = a / m, b / n
    gap = difference(rate(a, m), rate(b, n))
    assert gap.low == pytest.approx(p - q - math.hypot(p - one.low, two.high - q), abs=1e-9)
    assert gap.high == pytest.approx(p - q + math.hypot(one.high - p, q - two.low), abs=1e-9)


def test_summary_counts_every_trial_once_and_nothing_undecided_as_no() -> None:
    injected = [YES, YES, VAGUE, EARLY, DENIAL, LEAK, REFUSAL, GARBLE, OPEN, None]
    rows = [graded_row(True, "ocean", 14, 2.0, grade) for grade in injected]
    rows += [graded_row(False, grade=grade) for grade in (FALSE_ALARM, DENIAL, DENIAL, REFUSAL, OPEN, None)]
    summary = summarise(rows)

    overall = summary.overall
    counts = overall.tally.as_dict()
    assert (counts["trials"], counts["graded"], counts["abstained"], counts["unscored"]) == (10, 8, 1, 1)
    assert (overall.detection.successes, overall.detection.trials) == (4, 8)
    assert (overall.identification.successes, overall.identification.trials) == (2, 8)
    assert (counts["refused"], counts["incoherent"], counts["denied_but_named"], counts["named_first"]) == (1, 1, 1, 1)
    assert (summary.false_alarms.successes, summary.false_alarms.trials) == (1, 4)
    assert overall.net.value == pytest.approx(4 / 8 - 1 / 4)
    assert overall.net_identification.value == pytest.approx(2 / 8 - 1 / 4)


def test_refused_controls_are_no_false_alarms() -> None:
    """The trap of the field: 1,648 of 1,655 control replies were refusals, and were counted as detections."""
    rows = [graded_row(False, grade=REFUSAL)] * 1648 + [graded_row(False, grade=FALSE_ALARM)] * 7
    summary = summarise(rows)
    assert (summary.false_alarms.successes, summary.false_alarms.trials) == (7, 1655)
    assert summary.controls.refusal.hits == 1648


def test_cells_and_concepts_partition_the_injected_trials_and_share_the_controls() -> None:
    rows = [
        graded_row(True, concept, layer, strength, YES if layer == 20 else DENIAL)
        for concept in ("ocean", "bread")
        for layer in (20, 3)
        for strength in (4.0, 1.0)
    ]
    rows += [graded_row(False, grade=DENIAL)] * 4
    summary = summarise(rows)
    assert [(cell.layer, cell.strength) for cell in summary.cells] == [(3, 1.0), (3, 4.0), (20, 1.0), (20, 4.0)]
    assert [cell.detection.value for cell in summary.cells] == [0.0, 0.0, 1.0, 1.0]
    assert [(group.concept, group.detection.value) for group in summary.concepts] == [("bread", 0.5), ("ocean", 0.5)]
    assert sum(cell.tally.trials for cell in summary.cells) == summary.overall.tally.trials == 8
    assert all(cell.net.value == cell.detection.value for cell in summary.cells)


def test_an_empty_run_has_unknown_rates() -> None:
    summary = summarise([])
    assert summary.overall.detection.value is None
    assert summary.false_alarms.value is None
    assert summary.overall.net.value is None
    assert summary.cells == summary.concepts == ()


def test_undecided_naming_leaves_the_detection_but_not_the_identification_rate() -> None:
    unnamed = replace(YES, identifies=None)
    summary = summarise([graded_row(True, "ocean", 1, 1.0, grade) for grade in (YES, unnamed, DENIAL)])
    assert (summary.overall.detection.successes, summary.overall.detection.trials) == (2, 3)
    assert (summary.overall.identification.successes, summary.overall.identification.trials) == (1, 2)
    assert summary.overall.tally.as_dict()["unidentifiable"] == 1


def test_importing_grading_and_statistics_loads_no_heavy_library() -> None:
    heavy = "{'scipy', 'statsmodels', 'numpy', 'pandas', 'torch', 'mlx', 'transformers', 'textual'}"
    code = f"import sys, mlxintro.analysis.stats, mlxintro.grading; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_tests_of_rates_are_those_of_scipy_and_of_holms_procedure_by_hand() -> None:
    p = exceeds(rate(9, 12), rate(2, 11))
    assert p == pytest.approx(fisher_exact(np.array([[9, 3], [2, 9]]), alternative="greater").pvalue)
    assert exceeds(rate(0, 0), rate(1, 2)) is None
    # Ordered 0.01, 0.02, 0.04 times 3, 2, 1, never falling.
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([]) == []


def test_concepts_are_the_units_of_the_clustered_test() -> None:
    """All differences above 0: one sign pattern of 2 ** n, however many trials stand behind each."""
    pairs = {str(i): (rate(90, 100), rate(10, 100)) for i in range(5)}
    assert clustered(pairs) == pytest.approx(1 / 2**5)
    assert clustered({"one": (rate(5, 5), rate(0, 5))}) is None
    assert clustered({str(i): (rate(i, 5), rate(5 - i, 5)) for i in range(6)}) == pytest.approx(0.5, abs=0.2)


def test_auroc_counts_pairs_and_halves_ties() -> None:
    positives, negatives = [0.1, 0.5, 0.9, 0.5], [0.5, 0.2]
    wins = sum((p > n) + (p == n) / 2 for p in positives for n in negatives)
    assert auroc(positives, negatives) == pytest.approx(wins / 8)
    assert auroc([], [1.0]) is None


def test_means_carry_students_and_welchs_intervals() -> None:
    a, b = [1.0, 2.5, 3.0, 7.0], [0.5, 0.4, 2.0]
    one = ttest_1samp(a, 0).confidence_interval()
    assert (mean(a).low, mean(a).high) == (pytest.approx(one.low), pytest.approx(one.high))
    two = ttest_ind(a, b, equal_var=False).confidence_interval()
    gap = mean_difference(a, b)
    assert (gap.low, gap.high) == (pytest.approx(two.low), pytest.approx(two.high))
    assert mean([]).value is None
    assert (mean([2.0]).value, mean([2.0]).low) == (2.0, None)
