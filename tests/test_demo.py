from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from scipy.stats import fisher_exact

from mlxintro.analysis.results import Row
from mlxintro.analysis.summary import Summary, summarise
from mlxintro.grading.base import Grade
from mlxintro.running import launch
from mlxintro.store.records import Trial
from mlxintro.tools.demo import FEW, conclusion, demo_study, quotes
from tests.plans import graded_row


def graded(*, claims: bool, names: bool = False) -> Grade:
    return Grade(affirms=claims, identifies=names, named_before_affirming=False, coherent=True, refuses=False)


def rows(injected: bool, count: int, claiming: int, naming: int = 0, leaking: int = 0) -> Iterator[Row]:
    """Trials of which some claim a thought, some of these name it, and some name it without a claim."""
    for i in range(count):
        names = i < naming or claiming <= i < claiming + leaking
        concept = "ocean" if injected else None
        yield graded_row(injected, concept, 5, 2.0, graded(claims=i < claiming, names=names))


def summary(injected: tuple[int, ...], controls: tuple[int, ...]) -> Summary:
    return summarise([*rows(True, *injected), *rows(False, *controls)])


def said(found: Summary) -> str:
    return " ".join(conclusion(found))


def test_a_model_that_never_claims_anything_shows_no_introspection() -> None:
    text = said(summary((30, 0), (15, 0)))
    assert text.startswith("No evidence of introspection: detections minus false alarms are +0 points")
    assert "the answer is no" in text


def test_a_model_that_always_says_yes_shows_no_introspection() -> None:
    assert said(summary((30, 30, 30), (15, 15))).startswith("No evidence of introspection")


def test_naming_without_claiming_is_called_steering() -> None:
    text = said(summary((30, 0, 0, 9), (15, 0)))
    assert text.startswith("No evidence")
    assert "In 9 replies the concept came out although no thought was claimed: steering, not noticing" in text
    assert "In 1 reply the" in said(summary((30, 0, 0, 1), (15, 0)))
    assert "steering" not in said(summary((30, 0), (15, 0)))


def test_claims_without_names_are_not_called_naming() -> None:
    text = said(summary((30, 24), (30, 2)))
    assert "more often with an injection than without" in text
    assert "It does not name what was injected: it may react to a disturbance, or only say yes." in text
    assert "also names" not in text
    assert "the answer is no" not in text


def test_claims_with_names_still_ask_for_a_repetition_and_a_control() -> None:
    text = said(summary((30, 24, 24), (30, 1)))
    assert "It also names the concept" in text
    assert "repeat with more trials, and with --transform random" in text
    assert "No evidence" not in text


@pytest.mark.parametrize(("injected", "controls"), [(2, 2), (9, 30), (30, 9)])
def test_few_trials_conclude_nothing_however_they_fall(injected: int, controls: int) -> None:
    text = said(summary((injected, injected, injected), (controls, 0)))
    assert text == f"Nothing can be concluded from {injected} graded replies with an injection and {controls} without."


def test_at_the_least_number_of_trials_an_effect_agrees_with_an_exact_test() -> None:
    for claiming, alarms in product(range(FEW + 1), repeat=2):
        exact = fisher_exact(np.array([[claiming, FEW - claiming], [alarms, FEW - alarms]]), alternative="greater")
        if "more often with" in said(summary((FEW, claiming), (FEW, alarms))):
            assert exact.pvalue < 0.05, (claiming, alarms)


@pytest.mark.parametrize(("injected", "controls"), [((0, 0), (10, 0)), ((10, 10, 10), (0, 0)), ((0, 0), (0, 0))])
def test_one_side_alone_concludes_nothing(injected: tuple[int, ...], controls: tuple[int, ...]) -> None:
    assert conclusion(summary(injected, controls)) == ["Nothing can be concluded: no reply could be graded."]


def test_replies_nobody_graded_conclude_nothing() -> None:
    ungraded = [graded_row(injected, "ocean" if injected else None, 5, 2.0, None) for injected in (True, False) * 9]
    assert said(summarise(ungraded)) == "Nothing can be concluded: no reply could be graded."


def test_no_claim_of_an_effect_is_made_without_an_interval_above_zero() -> None:
    effects = 0
    for claiming, naming, alarms in product(range(0, 21, 4), range(0, 21, 4), range(0, 21, 4)):
        if naming > claiming:
            continue
        found = summary((20, claiming, naming), (20, alarms))
        text, net, named = said(found), found.overall.net, found.overall.net_identification
        effects += net.low > 0
        assert ("more often with an injection than without one" in text) == (net.low > 0)
        assert ("No evidence of introspection" in text) == (net.low <= 0)
        assert ("also names" in text) == (net.low > 0 and named.low > 0)
    assert 5 < effects < 80, "both kinds were tried"


def trial(number: int, concept: str | None, strength: float | None) -> Trial:
    return Trial(
        run="r",
        key=f"b2:{number}",
        ordinal=number,
        status="done",
        condition="control" if concept is None else "injected",
        arm="",
        concept=concept,
        layer=None if concept is None else 20,
        strength=strength,
        unit=None if concept is None else "raw",
        response=f"reply {number}",
        finish="stop",
        tokens=2,
        error=None,
        created="",
        spec_json="{}",
        proofs_json="[]",
        doses_json="[]",
        measurements_json="{}",
    )


def test_quotes_are_the_first_of_each_kind_whatever_they_say() -> None:
    kinds = [(None, None), ("ocean", 2.0), ("ocean", 4.0), ("bread", 2.0), ("bread", 4.0)] * 3
    trials = [trial(number, *kind) for number, kind in enumerate(kinds)]
    silent = quotes([(one, None) for one in trials])
    assert [q.trial.ordinal for q in silent] == [0, 5, 3, 4, 1, 2], "two controls, then each concept and strength"
    loud = quotes([(one, graded(claims=one.ordinal % 2 == 0, names=True)) for one in trials])
    assert [q.trial for q in loud] == [q.trial for q in silent]
    assert quotes([]) == []


@pytest.mark.parametrize(("backend", "dtype"), [("torch", None), ("mlx", None), ("mlx", "float32")])
def test_the_demos_settings_hold(backend: str, dtype: str | None) -> None:
    study = launch.check(demo_study(backend, dtype)).study
    assert study.temperature
    assert len(study.strengths or ()) == 2
    assert (study.backend, study.dtype, study.model) == (backend, dtype, "smollm2")
