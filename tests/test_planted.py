"""Verdicts on subjects whose habits are known: of how many drawn studies each is seen for what it is.

Claims and names are drawn for injected thoughts (``tests.planted``), outcomes of every trial of the real plans for the
other experiments (``tests.drawn``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from scipy.stats import binom

from mlxintro.analysis.contrasts import LEVEL, contrast_beyond
from mlxintro.analysis.naming_test import naming
from mlxintro.analysis.results import VerdictKind
from mlxintro.protocol.concepts import library
from mlxintro.replies.mentions import Names, find_mentions
from mlxintro.replies.text import fold
from tests import drawn
from tests.planted import Design, Subject, studies

SWEEP = tuple((layer, strength) for layer in (10, 15, 20, 25) for strength in (2.0, 4.0))
TWENTY, FIFTY, GRID = Design(5, 4), Design(10, 5), Design(10, 2, SWEEP)
FOUND: tuple[tuple[Subject, VerdictKind], ...] = (
    (Subject(claims=0.02), "no effect shown"),
    (Subject(claims=0.05), "no effect shown"),
    (Subject(claims=0.02, garbles=0.5), "no effect shown"),
    (Subject(refuses=1.0), "no effect shown"),
    (Subject(claims=0.6), "yes-bias"),
    (Subject(claims=0.6, garbles=0.5), "yes-bias"),
    (Subject(claims=0.95, right=0.8), "yes-bias"),
    (Subject(leaks=0.6), "steering only"),
    (Subject(leaks=1.0), "steering only"),
    (Subject(claims=0.02, hit=0.8), "anomaly noticed but not named"),
    (Subject(claims=0.02, hit=0.8, says="apple"), "anomaly noticed but not named"),
    (Subject(claims=0.02, hit=0.8, says="first"), "anomaly noticed but not named"),
    (Subject(claims=0.02, hit=0.8, disturbed=0.8, right=0.9), "any disturbance"),
    (Subject(claims=0.02, hit=0.9, right=0.9), "claims and names it"),
    (Subject(claims=0.02, hit=0.6, right=0.9), "claims and names it"),
)


def kinds(subject: Subject, design: Design, count: int) -> Counter[str]:
    return Counter(found.verdict.kind for found in studies(subject, design, range(count)) if found.verdict)


@pytest.mark.parametrize(("subject", "truth"), FOUND)
def test_a_subject_is_seen_for_what_it_is(subject: Subject, truth: VerdictKind) -> None:
    # Fewer would be found once in 5,000 times by a verdict that is right in 95 of 100.
    assert kinds(subject, TWENTY, 8)[truth] >= 5


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("design", [TWENTY, FIFTY, GRID])
@pytest.mark.parametrize(("subject", "truth"), FOUND)
def test_it_is_in_95_of_100_studies(subject: Subject, truth: VerdictKind, design: Design) -> None:
    found = kinds(subject, design, 100)
    print(f"{found[truth]} of 100 {truth}")
    assert found[truth] >= 95, found


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("subject", [Subject(claims=0.3), Subject(leaks=0.25)])
def test_a_weak_habit_is_found_with_fifty_replies_on_either_side(subject: Subject) -> None:
    truth = "yes-bias" if subject.claims else "steering only"
    found = kinds(subject, FIFTY, 100)
    print(f"{found[truth]} of 100 {truth}")
    assert found[truth] >= 95, found


def test_names_of_many_concepts_are_those_of_each() -> None:
    words = ("ocean", "poetry", "milk", "happiness", "phones", "love", "silver")
    lookup = Names({word: library().related(word) for word in words})
    for text in (
        "It is about the sea, and about poets.",
        "Not milk; I'm happy to help, and there are oceans of it.",
        "Milky, silvery, a telephone's ring. Happy!",
        "Nothing at all.",
        "",
    ):
        folded = fold(text)
        each = {word for word in words if find_mentions(folded, word, library().related(word))}
        assert lookup.within(folded) == each


def test_claims_that_follow_the_injection_are_told_from_a_habit() -> None:
    words = ("ocean", "milk", "silver", "poetry")
    follows = naming([(word, f"Yes, it is about {word}.") for word in words * 3])
    habit = naming([(word, "Yes, it is about the ocean.") for word in words * 3])
    assert follows
    assert habit
    assert (follows.right.value, follows.by_luck) == (1.0, 0.25)
    assert follows.p < 0.001
    assert (habit.right.value, habit.by_luck, habit.p) == (0.25, 0.25, 1.0)
    assert naming([("ocean", "Yes, it is about the ocean.")] * 9) is None


ONE: dict[str, Any] = {"layers": (5,), "strengths": (2.0,)}
LATENT = {**ONE, "options": {"through": None, "framings": ["accurate"], "infos": ["none"], "orders": 1, "lens": False}}
DRAWN: dict[str, tuple[drawn.Answer, dict[str, Any]]] = {
    "thought-vs-text": (drawn.thought_vs_text, ONE),
    "prefill": (drawn.prefill, {**ONE, "trials": 2}),
    "localization": (drawn.localization, ONE),
    "forced-identification": (drawn.forced_identification, ONE),
    "latent": (drawn.latent, LATENT),
    "intentional-control": (drawn.intentional_control, {"options": {"band": 4, "centre": 2}}),
}
EVERYWHERE = dict.fromkeys(("", "abstract", "prefer", "stands-out"), 3.0)
QUESTIONS = {"": 1.0, **{f"question:{kind}": 1.0 for kind in ("clear-no", "clear-yes", "ambiguous")}}
MENTIONS = {"think": 0.05, "exists": 0.05, "often-before": 0.05, "often-after": 0.05}
NOT_EFFECTS: tuple[tuple[str, dict[str, float]], ...] = (
    *((name, {}) for name in DRAWN),
    ("prefill", {"": 0.5, "other": 0.5}),
    ("prefill", {"": 0.5, "after": 0.5}),
    ("localization", EVERYWHERE),
    ("forced-identification", {"": 0.6, "random": 0.6}),
    ("latent", QUESTIONS),
    ("latent", {"": 1.0, "random": 1.0}),
    ("intentional-control", {"think": 0.05, "band:think": 0.05}),
    ("intentional-control", MENTIONS),
    ("intentional-control", dict.fromkeys(("think", "dont-think", "exists", "exists-not"), 0.1)),
)
EFFECTS: tuple[tuple[str, dict[str, float]], ...] = (
    ("thought-vs-text", {"": 0.9}),
    ("prefill", {"": 0.7}),
    ("localization", {"": 3.0}),
    ("forced-identification", {"": 0.9}),
    ("latent", {"": 2.0}),
    ("intentional-control", {"think": 0.05}),
)


PULLED = {"": 2.0, "question:clear-no": 2.0, "question:clear-yes": -2.0}
"""Answers that are pulled together: those that are no rise, those that are yes fall."""


def verdicts(name: str, effect: dict[str, float], count: int) -> Counter[str]:
    answer, settings = DRAWN[name]
    found = drawn.studies(name, answer, effect, range(count), **settings)
    return Counter(one.verdict.kind for one in found if one.verdict)


@pytest.mark.parametrize(("name", "effect"), EFFECTS)
def test_a_planted_effect_is_found(name: str, effect: dict[str, float]) -> None:
    assert verdicts(name, effect, 10)["effect"] >= 7


def test_a_compression_of_all_answers_is_no_latent_detection() -> None:
    assert verdicts("latent", PULLED, 8)["effect"] == 0


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("name", "effect"), [*NOT_EFFECTS, ("latent", PULLED)])
def test_nulls_and_confounds_pass_for_effects_no_more_often_than_stated(name: str, effect: dict[str, float]) -> None:
    found = verdicts(name, effect, 200)
    print(f"{name} {effect}: {found['effect']} of 200 pass for an effect")
    assert found["effect"] <= binom.ppf(0.999, 200, LEVEL), found


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("name", "effect", "kind"),
    [
        ("prefill", {"": 0.7, "after": 0.7}, "steering only"),
        ("localization", EVERYWHERE, "steering only"),
        ("latent", {name: 2 * size for name, size in QUESTIONS.items()}, "yes-bias"),
    ],
)
def test_a_confound_is_called_by_its_name(name: str, effect: dict[str, float], kind: VerdictKind) -> None:
    found = verdicts(name, effect, 100)
    print(f"{name} {effect}: {found[kind]} of 100 {kind}")
    assert found[kind] >= 85, found


def test_a_comparison_with_others_counts_their_spread_as_welch_does() -> None:
    from scipy.stats import ttest_ind

    own, others = [1.0, 1.4, 0.8, 1.1], [0.2, 1.9, -0.4, 0.9, 1.2]
    found = contrast_beyond([(str(at), value) for at, value in enumerate(own)], others)
    welch: Callable[..., Any] = ttest_ind
    reference = welch(own, others, equal_var=False, alternative="greater")
    interval = welch(own, others, equal_var=False).confidence_interval(0.95)
    assert found.p == pytest.approx(reference.pvalue)
    assert (found.mean.low, found.mean.high) == pytest.approx((interval.low, interval.high))
    assert found.mean.count == 4
