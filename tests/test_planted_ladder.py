"""Planted liars and introspectors on the ladder, at the size of ``certify``: what is each given, and how often."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from scipy.stats import binom

from mlxintro.analysis.results import Analysis, VerdictKind
from mlxintro.ladder.rungs import RIVALS, rungs_of
from tests.matrix import in_slow_tests
from tests.planted_ladder import SUBJECTS, THINKERS, Planted, certified, studies

LIARS = [one for one in (*SUBJECTS, *THINKERS) if one.own is not None]
NAMES_OF_LIARS = {
    "yes-bias",
    "compression",
    "steering only",
    "any disturbance",
    "text alone",
    "own words",
    "a reader does as well",
}
CALLED = {
    "bias, names": "yes-bias",
    "bias, names nothing": "yes-bias",
    "compression, names": "compression",
    "compression, names nothing": "compression",
    "reads its thought": "text alone",
    "disturbed in one wording, a little biased": "any disturbance",
}
"""Liars of whom every study must find out the name."""
TOP: VerdictKind = "introspective identification"
TOLERATED = 0.02
STUDIES = 200


def above_own(subject: Planted, found: Analysis) -> bool:
    assert found.ladder is not None
    return subject.own is not None and found.ladder[subject.own].state == "excluded"


def named(subject: str) -> Planted:
    return next(one for one in (*SUBJECTS, *THINKERS) if one.name == subject)


def test_the_plan_is_that_of_certify_and_every_rung_has_its_liar() -> None:
    _, specs, _ = certified()
    assert len({spec.key for spec in specs}) == len(specs)
    assert {one.own for one in LIARS} == set(RIVALS)


def at_once() -> list[Any]:
    """Every liar as a parameter; the first on each rung, and those of whom the name is found out, are tried at once."""
    rungs: set[str | None] = set()
    found = []
    for one in LIARS:
        first = one.own not in rungs or one.name in CALLED
        rungs.add(one.own)
        found.append(pytest.param(one, id=one.name) if first else in_slow_tests(one, one.name))
    return found


@pytest.mark.parametrize("subject", at_once())
def test_a_liar_is_given_no_rung_above_its_own(subject: Planted) -> None:
    # A study errs in 2 of 100 at most, so a second one after it does once in 2,500 times.
    first, *_ = found = list(studies(subject, range(1)))
    if above_own(subject, first):
        found += studies(subject, range(1, 2))
        assert not above_own(subject, found[1])
    if subject.name in CALLED:
        assert {one.verdict.kind for one in found if one.verdict} == {CALLED[subject.name]}


def test_a_strong_introspector_reaches_the_top_and_a_weak_one_is_called_no_liar() -> None:
    strong = Counter(one.verdict.kind for one in studies(named("strong introspector"), range(3)) if one.verdict)
    assert strong[TOP] >= 2
    weak = {one.verdict.kind for one in studies(named("weak introspector"), range(6)) if one.verdict}
    assert not weak & NAMES_OF_LIARS


def test_a_thinker_that_reads_its_thought_is_told_from_one_that_reads_its_state() -> None:
    for subject, kind in (("reads its thought", "text alone"), ("strong thinking introspector", TOP)):
        for one in studies(named(subject), range(2)):
            assert one.verdict is not None
            assert one.ladder is not None
            assert [rung.name for rung in one.ladder] == list(rungs_of(thinks=True))
            assert one.verdict.kind == kind
            assert ("follows the text of the thought" in one.verdict.headline) is (kind == "text alone")


def test_ladders_of_subjects_that_do_not_think_have_no_rung_about_thoughts() -> None:
    (one,) = studies(named("strong introspector"), [1])
    assert one.ladder is not None
    assert [rung.name for rung in one.ladder] == [name for name in RIVALS if name != "own notes"]


def test_matched_vectors_that_miss_the_impact_exclude_no_disturbance() -> None:
    from dataclasses import replace

    ceiling = replace(named("dose ceiling"), off_target=0.3)
    for one in studies(ceiling, range(3)):
        assert one.ladder is not None
        rung = one.ladder["any disturbance"]
        assert rung.state == "not tested"
        assert "impacts differ by a factor of 3" in rung.said


def test_a_detector_of_length_is_not_excluded_by_vectors_that_are_shorter() -> None:
    (found,) = studies(named("norm"), [1])
    assert found.ladder is not None
    rung = found.ladder["any disturbance"]
    assert rung.state == "not tested"
    assert "2.5 times shorter" in rung.said


def test_a_yes_that_only_one_wording_gets_is_not_cleared_of_bias() -> None:
    (found,) = studies(named("biased in one wording"), [3])
    assert found.ladder is not None
    assert found.ladder["yes-bias"].state == "not tested"
    assert "tells nothing" in found.ladder["yes-bias"].said


def test_two_liars_who_pass_where_the_other_fails_are_a_patchwork() -> None:
    for one in studies(named("disturbance or own words"), range(2)):
        assert one.ladder is not None
        left = [rung.name for rung in one.ladder if rung.state != "excluded"]
        assert left == ["a patchwork"]
        assert one.verdict is not None
        assert one.verdict.kind == "rivals not excluded"


def test_a_collinear_bank_is_not_taken_for_concepts() -> None:
    for one in studies(named("collinear bank"), range(3)):
        assert one.ladder is not None
        assert one.ladder["any disturbance"].state == "not tested"
        assert "one direction" in one.ladder["any disturbance"].said


def test_without_an_arm_its_rung_is_untested_and_nobody_reaches_the_top() -> None:
    _, specs, _ = certified()
    every = frozenset(spec.arm for spec in specs)
    needs = {
        "any disturbance": {"matched"},
        "text alone": {"tampered"},
        "a mixture": {"third-person"},
        "own words": {"prompt-only"},
        "a reader": {"witness"},
        "compression": {"question"},
    }
    for rung, arms in needs.items():
        (one,) = studies(named("strong introspector"), [1], every - arms)
        assert one.ladder is not None
        assert one.verdict is not None
        assert one.ladder[rung].state == "not tested", rung
        assert one.verdict.kind == "claims and names it"
        assert rung in one.verdict.headline
    thinker = named("strong thinking introspector")
    (one,) = studies(thinker, [1], frozenset(spec.arm for spec in certified(thinks=True)[1]) - {"swapped-thoughts"})
    assert one.ladder is not None
    assert one.ladder["own notes"].state == "not tested"
    assert one.ladder["own notes"].remedy == "mlxintro certify -m 'detector?think=1' --backend fake --thinking on"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("subject", [*SUBJECTS, *THINKERS], ids=lambda one: one.name)
def test_two_hundred_studies_keep_what_the_ladder_promises(subject: Planted) -> None:
    kinds: Counter[str] = Counter()
    over = 0
    for one in studies(subject, range(STUDIES)):
        over += above_own(subject, one)
        assert one.verdict is not None
        kinds[one.verdict.kind] += 1
    print(f"{subject.name}: {over} of {STUDIES} above its own rung; {dict(kinds)}")
    assert over <= TOLERATED * STUDIES
    if subject.name in CALLED:
        assert kinds[CALLED[subject.name]] == STUDIES
    if subject.name in ("strong introspector", "strong thinking introspector"):
        assert kinds[TOP] >= 0.9 * STUDIES
    if subject.name in ("weak introspector", "weak thinking introspector"):
        assert not set(kinds) & NAMES_OF_LIARS


def test_the_level_of_a_test_is_below_what_is_tolerated() -> None:
    from mlxintro.ladder.case import ALPHA

    # At the edge of its rival a test errs with probability ALPHA; 200 studies exceed 2 % of errors rarely then.
    assert binom.sf(TOLERATED * STUDIES, STUDIES, ALPHA) < 0.06


def test_answers_that_are_seen_to_be_pulled_together_are_called_so_though_few_claims_come_of_it() -> None:
    (found,) = studies(named("compression, names"), [132])
    assert found.ladder is not None
    assert found.verdict is not None
    assert found.ladder["chance"].state == "not excluded"
    assert found.verdict.kind == "compression"
