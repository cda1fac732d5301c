"""The verdict on simulated subjects whose truth is known."""

from __future__ import annotations

from collections import Counter

import pytest
from scipy.stats import binom

from mlxintro.analysis.results import VerdictKind
from mlxintro.analysis.stats import Rate, rate
from tests.simulated import studies

STUDY = {"strengths": (2.0,), "trials": 4}
"""Twenty replies with an injection, twenty without, twenty with random vectors, and the questions."""

SUBJECTS: tuple[tuple[str, VerdictKind], ...] = (
    ("null", "no effect shown"),
    ("refuser", "no effect shown"),
    ("yes-biased", "yes-bias"),
    ("steering-only", "steering only"),
)


@pytest.mark.parametrize(("subject", "truth"), SUBJECTS)
def test_subjects_without_introspection_are_seen_through(subject: str, truth: VerdictKind) -> None:
    found = [analysis.verdict.kind for _, analysis in studies(subject, [1], **STUDY) if analysis.verdict]
    assert found == [truth]


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
    assert seen.verdict.kind == "claims and names it"
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
    hits, alarms = covered(4, 0)
    assert sum(hits) >= binom.ppf(0.001, 4, 0.95)
    assert sum(alarms) >= binom.ppf(0.001, 4, 0.95)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_intervals_cover_the_truth_at_the_stated_rate() -> None:
    hits, alarms = covered(200, 5000)
    for p, found in {HIT: hits, FALSE: alarms}.items():
        stated = exact_coverage(p, 50)
        assert stated == pytest.approx(0.95, abs=0.03)
        low, high = (float(binom.ppf(tail, 200, stated)) for tail in (0.005, 0.995))
        print(f"{p}: {sum(found)} of 200 intervals hold it; {200 * stated:.1f} are stated")
        assert low <= sum(found) <= high, (sum(found), stated)
