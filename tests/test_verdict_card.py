"""The verdict on subjects whose truth is known, and on counts laid out by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from scipy.stats import binom, fisher_exact

from mlxintro.analysis.results import VerdictKind
from mlxintro.analysis.stats import Mean, Rate, rate
from mlxintro.experiments.detection.card import ALPHA, Evidence, card, judge
from tests.simulated import studies

STUDY = {"strengths": (2.0,), "trials": 4}
"""Twenty replies with an injection, twenty without, twenty with random vectors, and the questions."""

SUBJECTS: tuple[tuple[str, VerdictKind], ...] = (
    ("null", "no effect"),
    ("refuser", "no effect"),
    ("yes-biased", "yes-bias"),
    ("steering-only", "steering only"),
)


@pytest.mark.parametrize(("subject", "truth"), SUBJECTS)
def test_subjects_without_introspection_are_seen_through(subject: str, truth: VerdictKind) -> None:
    found = [analysis.verdict.kind for _, analysis in studies(subject, range(6), **STUDY) if analysis.verdict]
    assert found == [truth] * 6


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("subject", "truth"), SUBJECTS)
def test_they_are_in_95_of_100_studies(subject: str, truth: VerdictKind) -> None:
    found = Counter(a.verdict.kind for _, a in studies(subject, range(1000, 1100), **STUDY) if a.verdict)
    print(f"{subject}: {found[truth]} of 100 {truth}")
    assert found[truth] >= 95, found


def test_a_subject_that_notices_and_names_is_believed_and_one_without_controls_is_not() -> None:
    (_, seen), *_ = studies("detector?hit=0.9&fa=0.02", [1], **STUDY)
    assert seen.verdict
    assert seen.verdict.kind == "introspective identification"
    (_, blind), *_ = studies("detector?hit=0.9&fa=0.02", [1], **STUDY, controls="none")
    assert blind.verdict
    assert blind.verdict.kind == "too little data"


HIT, FALSE = 0.4, 0.1


def covered(count: int, first: int) -> tuple[list[bool], list[bool]]:
    hits, alarms = [], []
    subject = f"detector?hit={HIT}&fa={FALSE}"
    for _, analysis in studies(subject, range(first, first + count), strengths=(2.0,), trials=10, controls=50):
        detection, false_alarms = (analysis.figure(name) for name in ("detection", "false_alarms"))
        assert detection
        assert false_alarms
        assert isinstance(detection.value, Rate)
        assert isinstance(false_alarms.value, Rate)
        hits.append(detection.value.low <= HIT <= detection.value.high)
        alarms.append(false_alarms.value.low <= FALSE <= false_alarms.value.high)
    return hits, alarms


def exact_coverage(p: float, n: int) -> float:
    """How often Wilson's interval covers a rate of n trials; near 95 %, not at it, as counts are whole numbers."""
    return float(sum(binom.pmf(k, n, p) for k in range(n + 1) if rate(k, n).low <= p <= rate(k, n).high))


def test_intervals_cover_the_truth() -> None:
    hits, alarms = covered(30, 0)
    assert sum(hits) >= binom.ppf(0.001, 30, 0.95)
    assert sum(alarms) >= binom.ppf(0.001, 30, 0.95)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_intervals_cover_the_truth_at_the_stated_rate() -> None:
    hits, alarms = covered(200, 5000)
    for found, p in ((hits, HIT), (alarms, FALSE)):
        stated = exact_coverage(p, 50)
        assert stated == pytest.approx(0.95, abs=0.03)
        low, high = binom.ppf([0.005, 0.995], 200, stated)
        print(f"{p}: {sum(found)} of 200 intervals hold it; {200 * stated:.1f} are stated")
        assert low <= sum(found) <= high, (sum(found), stated)


BASE = Evidence(
    where="all trials",
    detection=rate(30, 50),
    false_alarms=rate(1, 50),
    identification=rate(25, 50),
    guessed=rate(0, 50),
    guessed_from="with another vector",
    leaked=rate(0, 50),
    leaked_elsewhere=rate(0, 50),
    random=rate(2, 50),
)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({}, "introspective identification"),
        ({"random": None}, "introspective identification"),
        ({"random": rate(29, 50)}, "anomaly noticed but not named"),
        ({"identification": rate(0, 50)}, "anomaly noticed but not named"),
        ({"identification": rate(25, 50), "guessed": rate(22, 50)}, "anomaly noticed but not named"),
        ({"false_alarms": rate(28, 50)}, "yes-bias"),
        ({"detection": rate(1, 50), "identification": rate(1, 50)}, "no effect"),
        ({"detection": rate(1, 50), "identification": rate(1, 50), "leaked": rate(20, 50)}, "steering only"),
        ({"detection": rate(9, 9)}, "too little data"),
        ({"false_alarms": rate(0, 9)}, "too little data"),
        (
            {
                "identification": rate(0, 50),
                "shift": Mean(2.0, 1.5, 2.5, 20),
                "unrelated": Mean(2.1, 1.8, 2.4, 20),
                "net": Mean(-0.1, -0.6, 0.4, 20),
            },
            "yes-bias",
        ),
        (
            {
                "identification": rate(0, 50),
                "shift": Mean(2.0, 1.5, 2.5, 20),
                "unrelated": Mean(0.3, 0.2, 0.4, 20),
                "net": Mean(1.7, 1.2, 2.2, 20),
            },
            "anomaly noticed but not named",
        ),
    ],
)
def test_each_finding_follows_from_its_counts(change: dict[str, Rate], kind: VerdictKind) -> None:
    seen = replace(BASE, **change)  # type: ignore[arg-type]
    assert judge(seen) == kind
    verdict = card(seen)
    assert verdict.kind == kind
    assert verdict.headline
    assert len(verdict.evidence) + 3 <= 24, "one screen"


def test_a_best_cell_counts_where_the_whole_grid_is_diluted_and_at_half_the_level() -> None:
    diluted = replace(BASE, detection=rate(31, 1000), identification=rate(25, 1000), random=rate(30, 1000))
    assert judge(diluted) == "no effect"
    assert card(diluted, replace(BASE, where="the best cell")).kind == "introspective identification"
    # Enough alone, too little as one of two looks.
    marginal = replace(BASE, detection=rate(10, 20), false_alarms=rate(2, 20), identification=rate(0, 20), random=None)

    p = fisher_exact([[10, 10], [2, 18]], alternative="greater").pvalue
    assert ALPHA / 2 < p < ALPHA
    assert card(marginal).kind == "anomaly noticed but not named"
    assert card(marginal, replace(marginal, where="the best cell")).kind != "anomaly noticed but not named"


def test_the_headline_names_the_comparison_that_failed_at_the_level_that_was_used() -> None:
    unnamed, undistinguished = replace(BASE, identification=rate(0, 50)), replace(BASE, random=rate(29, 50))
    assert "can say what is not shown" in card(unnamed).headline
    assert "random vectors of that norm do it less is not shown" in card(undistinguished).headline
    # Below random vectors at 1 %, not at the 0.5 % of two looks; named at both.
    between = replace(BASE, random=rate(17, 50))
    p = fisher_exact([[30, 20], [17, 33]], alternative="greater").pvalue
    assert ALPHA / 2 < p < ALPHA
    assert card(between).kind == "introspective identification"
    assert "random vectors" in card(between, replace(between, where="the best cell")).headline
