"""The ladder on trials laid out by hand, and its figures against direct computations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import fisher_exact, linregress, t

from mlxintro.analysis.reply_tally import detects, share
from mlxintro.analysis.results import Row, VerdictKind
from mlxintro.analysis.stats import rate
from mlxintro.grading.base import Grade
from mlxintro.ladder.case import ALPHA, Case
from mlxintro.ladder.claims import detectable
from mlxintro.ladder.climb import climb, judge
from mlxintro.ladder.rows import Rows, effective
from mlxintro.ladder.rungs import Ladder, rungs_of
from mlxintro.ladder.shifts import QuestionShift, TrialShift, residual
from mlxintro.ladder.verdict import kind_of, verdict
from mlxintro.protocol import controls
from tests import planted
from tests.planted import Design, Subject

WORDS = ("ocean", "milk", "silver", "poetry", "bread")


def grade(claims: bool, names: bool) -> Grade:
    return Grade(claims, names, False if claims and names else None, True, False)


def replies(condition: str, arm: str, count: int, claims: int, named: int = 0, leaked: int = 0) -> list[Row]:
    """Replies of which the first claim a thought, the first of those name the concept, and the last leak it."""
    rows = []
    for at in range(count):
        word = WORDS[at % len(WORDS)]
        names = at < named or at >= count - leaked
        text = f"Yes, it is about {word}." if at < named else "Yes, it is about a tree." if at < claims else "No."
        concept = word if condition == "injected" else None
        given = grade(at < claims, names)
        layer, strength = (9, 2.0) if condition == "injected" else (None, None)
        rows.append(Row("", condition, arm, concept, layer, strength, at, text, {}, {}, given))
    return rows


def scored(arm: str, question: str, base: float, shift: float, noise: Sequence[float]) -> list[Row]:
    """One question without a vector, and with every concept's."""

    def row(logit: float, word: str | None, number: int) -> Row:
        halves = {**dict.fromkeys(controls.YES, logit), **dict.fromkeys(controls.NO, 0.0)}
        layer, strength = (9, 2.0) if word else (None, None)
        condition = "injected" if word else "control"
        return Row(
            "", condition, arm, word, layer, strength, number, "", {"logprobs": halves}, {"question": question}, None
        )

    injected = [row(base + shift + extra, word, at) for at, (word, extra) in enumerate(zip(WORDS, noise, strict=True))]
    return [row(base, None, 0), *injected]


NOISE = (-0.2, 0.1, 0.0, 0.2, -0.1)


def questions(shift: Any, trial: float = 5.0) -> list[Row]:
    """The trial question at -3 and clear questions on both sides of it; ``shift`` is theirs by logit."""
    rows = scored(controls.QUESTION, "", -3.0, trial, NOISE)
    for at in range(8):
        base = (-4 - at / 4) if at < 4 else (4 + at / 4)
        wobble = (at % 4 - 1.5) / 20
        rows += scored("clear-no" if at < 4 else "clear-yes", f"q{at}", base, shift(base) + wobble, NOISE)
    return rows


def ladder_of(rows: Sequence[Row]) -> Ladder:
    run = Rows.of(rows)
    return climb(Case(run, run.injected, "all trials"))


NAMES_IT = [*replies("injected", "", 50, 30, 25), *replies("control", "", 50, 1), *replies("injected", "other", 50, 9)]
STILL = questions(lambda base: 0.0)


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ([*NAMES_IT, *STILL, *replies("injected", "random", 50, 2)], "claims and names it"),
        ([*NAMES_IT], "claims and names it"),
        ([*NAMES_IT, *STILL, *replies("injected", "random", 50, 29)], "any disturbance"),
        ([*NAMES_IT, *questions(lambda base: 5.0)], "yes-bias"),
        ([*NAMES_IT, *questions(lambda base: -0.9 * base, 2.7)], "compression"),
        ([*replies("injected", "", 50, 30), *replies("control", "", 50, 1), *STILL], "anomaly noticed but not named"),
        ([*replies("injected", "", 50, 30), *replies("control", "", 50, 28)], "yes-bias"),
        ([*replies("injected", "", 50, 1, 1), *replies("control", "", 50, 1)], "no effect shown"),
        ([*replies("injected", "", 50, 1, 0, 20), *replies("control", "", 50, 1)], "steering only"),
        ([*replies("injected", "", 9, 9), *replies("control", "", 50, 1)], "too little data"),
        ([*replies("injected", "", 50, 30), *replies("control", "", 9, 0)], "too little data"),
    ],
)
def test_each_finding_follows_from_its_counts(rows: list[Row], kind: VerdictKind) -> None:
    ladder = ladder_of(rows)
    assert kind_of(ladder) == kind, [rung.as_line() for rung in ladder]
    run = Rows.of(rows)
    card = verdict(Case(run, run.injected, "all trials"), ladder)
    assert card.headline
    assert len(card.evidence) + 3 <= 24, "one screen"


def test_a_run_with_the_old_arms_says_what_was_not_tested_and_what_tests_it() -> None:
    analysed = next(planted.studies(Subject(claims=0.02, hit=0.9, right=0.9), Design(10, 5), [0]))
    assert analysed.verdict
    assert analysed.ladder
    untested = {rung.name for rung in analysed.ladder.untested}
    assert untested == {"any disturbance", "text alone", "a mixture", "own words", "a reader", "a patchwork"}
    assert all(name in analysed.verdict.headline for name in untested)
    assert "mlxintro certify -m planted" in analysed.verdict.evidence[-1]
    assert tuple(rung.name for rung in analysed.ladder) == rungs_of(thinks=False)


def test_a_yes_bias_that_names_the_word_and_a_compression_are_each_called_by_their_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for right in (0.8, 0.0):
        biased = Subject(hit=0.3, right=right, drift=8.5, says="apple")
        found = [one.verdict.kind for one in planted.studies(biased, Design(10, 5), range(4)) if one.verdict]
        assert found == ["yes-bias"] * 4
    original = planted._scored

    def compressed(value: float, condition: str, cell: Any, number: int, arm: str, text: str) -> Row:
        base = {"clear-no": -8.0, "clear-yes": 8.0}.get(arm, -9.2)
        wobble = 0.3 * math.sin(number)
        return original(0.1 * base + wobble if condition == "injected" else base, condition, cell, number, arm, text)

    monkeypatch.setattr(planted, "_scored", compressed)
    for right in (0.8, 0.0):
        squeezed = Subject(hit=0.3, right=right, says="apple")
        found = [one.verdict.kind for one in planted.studies(squeezed, Design(10, 5), range(4)) if one.verdict]
        assert found == ["compression"] * 4


def test_questions_that_do_not_reach_the_trial_questions_logit_exclude_no_compression() -> None:
    far = [*scored(controls.QUESTION, "", -15.0, 9.0, NOISE), *STILL[6:]]
    rung = ladder_of([*NAMES_IT, *far])["compression"]
    assert rung.state == "not tested"
    assert "only reach" in rung.said
    assert ladder_of([*NAMES_IT, *STILL])["compression"].state == "excluded"


def test_a_logit_beyond_the_published_bound_is_not_clipped() -> None:
    rows = scored(controls.QUESTION, "", -40.0, 10.0, NOISE)
    run = Rows.of([*NAMES_IT, *rows])
    trial = Case(run, run.injected, "all trials").trial_question
    assert trial
    assert (trial.base, trial.mean) == (pytest.approx(-40), pytest.approx(10))


def test_the_residual_is_that_of_a_prediction_interval_computed_by_hand() -> None:
    rng = np.random.default_rng(3)
    base = rng.uniform(-6, 6, 20)
    shift = 0.5 - 0.3 * base + rng.normal(0, 0.4, 20)
    words = {f"w{at}": float(value) for at, value in enumerate(rng.normal(3.0, 0.5, 12))}
    found = residual(
        TrialShift(-2.0, words), [QuestionShift("spanning", b, s) for b, s in zip(base, shift, strict=True)]
    )
    assert found
    line = linregress(base, shift)
    left = shift - line.intercept - line.slope * base
    error = (left**2).sum() / 18
    spread = error * (1 + 1 / 20 + (-2 - base.mean()) ** 2 / ((base - base.mean()) ** 2).sum())
    values = np.array(list(words.values()))
    gap = values.mean() - (line.intercept - 2 * line.slope)
    p = t.sf(gap / math.sqrt(spread + values.var(ddof=1) / 12), 11)
    assert (found.value, found.p) == (pytest.approx(gap), pytest.approx(p))
    assert found.slope_p == pytest.approx(line.pvalue / 2)


def test_what_is_said_to_be_detectable_is_found_as_often_as_said() -> None:
    from mlxintro.analysis.stats import exceeds, rate

    alarms = rate(5, 60)
    hit = detectable(60, alarms, ALPHA)
    assert hit
    rng = np.random.default_rng(0)
    found = [
        (exceeds(rate(int(a), 60), rate(int(b), 60)) or 1.0) < ALPHA
        for a, b in zip(rng.binomial(60, hit, 400), rng.binomial(60, 5 / 60, 400), strict=True)
    ]
    # Fisher's test is conservative, so somewhat less than the nominal 80 %.
    assert 0.6 < np.mean(found) < 0.9


def test_a_best_cell_counts_where_the_whole_grid_is_diluted_and_at_half_the_level() -> None:
    weak = [*replies("injected", "", 500, 15, 10), *replies("control", "", 50, 1), *replies("injected", "other", 50, 0)]
    run = Rows.of(weak)
    whole = Case(run, run.injected, "all cells")
    assert kind_of(climb(whole)) == "no effect shown"
    strong = replies("injected", "", 50, 30, 25)
    case, ladder = judge(whole, Case(run, strong, "the best cell"), "mlxintro certify")
    assert (case.where, ladder.alpha) == ("the best cell", ALPHA / 2)
    assert kind_of(ladder) == "claims and names it"
    # Enough alone, too little as one of two looks.
    small = Rows.of([*replies("injected", "", 20, 10), *replies("control", "", 20, 2)])
    p = fisher_exact(np.array([[10, 10], [2, 18]]), alternative="greater").pvalue
    assert ALPHA / 2 < p < ALPHA
    alone = Case(small, small.injected, "all trials")
    assert climb(alone)["chance"].state == "excluded"
    assert judge(alone, alone, "")[1]["chance"].state == "not excluded"


def test_claims_that_follow_their_concept_weigh_as_much_as_independent_ones() -> None:
    def rows(claims: Sequence[int]) -> list[Row]:
        return [
            Row("", "injected", "", WORDS[word], 9, 2.0, 10 * word + at, "", {}, {}, grade(at < count, False))
            for word, count in enumerate(claims)
            for at in range(10)
        ]

    # All trials of a concept alike: ten of them weigh as much as one of five, as independent ones of 40 to 60 %.
    alike = share(rows([10, 10, 10, 0, 0]), detects)
    by_hand = (5 / 4) * (3 * 4.0**2 + 2 * 6.0**2) / 50**2 / (0.6 * 0.4 / 50)
    assert alike.design == pytest.approx(by_hand) == pytest.approx(12.5)
    assert (effective(alike).successes, effective(alike).trials) == (2, 4)
    assert effective(share(rows([6, 6, 6, 6, 6]), detects)).trials == 50
    run = Rows.of([*rows([10, 10, 10, 0, 0]), *replies("control", "", 50, 0)])
    counts = np.array([[2, 2], [0, 50]])
    found = Case(run, run.injected, "all").exceeds(alike, rate(0, 50))
    assert found == pytest.approx(fisher_exact(counts, alternative="greater").pvalue)
    assert found > 100 * fisher_exact(np.array([[30, 20], [0, 50]]), alternative="greater").pvalue


def test_an_untested_rung_says_the_command_that_tests_it() -> None:
    run = Rows.of([*replies("injected", "", 8, 5), *replies("control", "", 8, 0)])
    case = Case(run, run.injected, "all trials")
    found = climb(case, "mlxintro certify -m x")
    assert found["chance"].remedy == "mlxintro certify -m x --repeats 4"
    assert found["any disturbance"].remedy == "mlxintro certify -m x"
    lines = verdict(case, found).evidence
    assert any(line.startswith("to test chance") and line.endswith("--repeats 4") for line in lines)
    assert not any("to test" in line and "chance" in line and not line.endswith("--repeats 4") for line in lines)


def test_an_arm_is_judged_in_the_cells_of_the_trials_it_is_compared_with() -> None:
    def at(layer: int, condition: str, arm: str, claims: int) -> list[Row]:
        return [replace(row, layer=layer) for row in replies(condition, arm, 20, claims)]

    # Whatever vector is injected at layer 9 is claimed, at layer 3 none is.
    rows = [*at(9, "injected", "", 18), *at(3, "injected", "", 0), *replies("control", "", 40, 0)]
    rows += [*at(9, "injected", "random", 18), *at(3, "injected", "random", 0)]
    run = Rows.of(rows)
    best = Case(run, [row for row in run.injected if row.layer == 9], "layer 9")
    assert (best.claims("random").successes, best.claims("random").trials) == (18, 20)
    assert climb(best)["any disturbance"].state == "not excluded"
    assert Case(run, run.injected, "all").claims("random").trials == 40


def test_a_question_that_no_other_stands_near_is_cleared_of_compression_where_it_ends_beyond_all_of_them() -> None:
    def asked(shift: float, slope: float = 0.0) -> Ladder:
        rows = scored(controls.QUESTION, "", -7.0, shift, NOISE)
        for at in range(12):
            base = -0.8 + at / 12
            wobble = (at % 4 - 1.5) / 20
            rows += scored("clear-no" if at < 6 else "clear-yes", f"q{at}", base, slope * base + wobble, NOISE)
        return ladder_of([*NAMES_IT, *rows])

    # Pulled to where the others are it would rise by 6.7.
    assert asked(9.0)["compression"].state == "excluded"
    assert "pulled to one point" in asked(9.0)["compression"].said
    assert asked(6.0)["compression"].state == "not tested"
    assert "only reach" in asked(6.0)["compression"].said
    # Answers that are turned around, and not only pulled together, could carry it further than that.
    assert asked(9.0, slope=-1.5)["compression"].state == "not excluded"
