"""Control arms: what is planned, what is injected, and the logit they are read by."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from mlxintro.analysis.taxonomy import claimed_words
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.experiments.base import Plan
from mlxintro.protocol import controls
from mlxintro.protocol.concepts import library
from mlxintro.protocol.study import make_study
from mlxintro.protocol.trials import TrialSpec
from mlxintro.running import launch, readouts
from mlxintro.running.session import Session
from mlxintro.vectors.extraction import extract
from tests.simulated import studies

GRID = {"concepts": ("ocean", "bread", "fear"), "layers": (4, 5), "strengths": (2.0, 4.0), "trials": 4}


@pytest.fixture(scope="module")
def backend() -> FakeBackend:
    return FakeBackend("detector")


def planned(backend: FakeBackend, **settings: Any) -> Plan:
    return launch.plan(launch.check(make_study(model="detector", backend="fake", **{**GRID, **settings})), backend)


def arms(plan: Plan) -> dict[str, list[TrialSpec]]:
    found: dict[str, list[TrialSpec]] = {}
    for spec in plan:
        found.setdefault(spec.arm or spec.condition, []).append(spec)
    return found


@pytest.mark.parametrize(
    ("suite", "wanted"),
    [
        ("none", {"injected"}),
        ("standard", {"injected", "control", "random", "question", "clear-no", "clear-yes"}),
        (
            "full",
            # What only a loaded model tells is left out.
            {"injected", "control", *controls.ARMS} - {"matched", "matched-other", "spanning", "swapped-thoughts"},
        ),
        (5, {"injected", "control"}),
        (("tampered", "bank"), {"injected", "control", "tampered", "bank"}),
    ],
)
def test_a_suite_is_its_arms_each_no_larger_than_one_cell(
    backend: FakeBackend, suite: str | int | tuple[str, ...], wanted: set[str]
) -> None:
    plan = planned(backend, controls=suite)
    found = arms(plan)
    assert set(found) == wanted
    assert len(plan) == len({spec.key for spec in plan})
    for arm, specs in found.items():
        if arm != "injected":
            assert sum(spec.condition == "injected" for spec in specs) <= 12
            assert len({spec.concept for spec in specs if spec.condition == "injected"}) in (0, 3)


@pytest.mark.parametrize("arm", ["random", "negated", "shuffled", "other"])
def test_an_arm_takes_turns_over_the_cells_so_that_its_mixture_is_the_grids(backend: FakeBackend, arm: str) -> None:
    specs = arms(planned(backend, controls="full"))[arm]
    cells = Counter((s.injections[0].layer, s.injections[0].strength) for s in specs)
    assert set(cells.values()) == {3}
    assert len(cells) == 4


@pytest.mark.parametrize(("words", "cells"), [(4, 4), (50, 10), (6, 4), (3, 4), (5, 1), (1, 5)])
def test_an_arm_sees_every_concept_in_as_many_cells_as_it_has_trials(words: int, cells: int) -> None:
    """Where the numbers share a factor, plain turns would tie every concept to the same few cells for ever."""
    trials = cells
    met = Counter((number % words, controls.turn(number, words, cells)) for number in range(words * trials))
    assert met == Counter({(word, cell): 1 for word in range(words) for cell in range(cells)})


@pytest.mark.parametrize(("words", "layers"), [(4, 2), (50, 5)])
def test_in_a_planned_arm_no_concept_is_tied_to_a_cell(backend: FakeBackend, words: int, layers: int) -> None:
    concepts = tuple(concept.word for concept in library().resolve(["set:lindsey-50"], allow_unknown=False)[:words])
    grid = {"concepts": concepts, "layers": tuple(range(layers)), "strengths": (2.0, 4.0), "trials": 2 * layers}
    seen: dict[str | None, list[tuple[int, float]]] = {}
    for spec in arms(planned(backend, controls="standard", **grid))["random"]:
        seen.setdefault(spec.concept, []).append((spec.injections[0].layer, spec.injections[0].strength))
    assert len(seen) == words
    cells = [(layer, strength) for layer in range(layers) for strength in (2.0, 4.0)]
    assert all(sorted(found) == cells for found in seen.values())


def test_what_is_injected_is_what_the_arm_says(backend: FakeBackend) -> None:
    plan = planned(backend, controls="full")
    vectors = extract(backend, plan.recipes.values(), None)
    session = Session(backend, plan.prompts, vectors)
    for arm, specs in arms(plan).items():
        for spec in specs:
            if not spec.injections:
                continue
            injection, own = spec.injections[0], vectors[plan.recipes[spec.injections[0].vector].key]
            made, *removed = readouts.prompt_of(session, spec)[0].injections
            if arm in (controls.ABLATED, controls.ABLATED_LAST):
                # The very direction that was injected, not the concept's own at the later layer.
                assert [one.operation for one in removed] == ["ablate"] * len(removed)
                layers = range(injection.layer + 1, 8) if arm == controls.ABLATED else [7]
                assert [one.layer for one in removed] == list(layers)
                assert all(np.allclose(one.vector, made.vector) for one in removed)
            plain = own.direction[injection.layer] * injection.strength
            assert np.linalg.norm(made.vector) == pytest.approx(np.linalg.norm(plain), rel=1e-5)
            cosine = float(made.vector @ plain) / float(np.linalg.norm(plain)) ** 2
            if arm == "negated":
                assert cosine == pytest.approx(-1, abs=1e-5)
            elif arm in ("random", "shuffled"):
                assert abs(cosine) < 0.6
                assert (sorted(made.vector) == pytest.approx(sorted(plain), rel=1e-5)) == (arm == "shuffled")
            else:
                assert cosine == pytest.approx(1, abs=1e-5)
            assert (injection.concept == spec.concept) == (arm not in ("other", "asked-other"))


def test_unrelated_questions_stand_where_the_trial_question_stood(backend: FakeBackend) -> None:
    plan = planned(backend, controls="full")
    for arm in controls.UNRELATED:
        for spec in arms(plan)[arm]:
            messages = plan.prompts[spec.prompt].messages
            assert spec.detail["question"] in controls.questions()[arm]
            assert messages[-1]["content"].endswith(f"Trial 1: {spec.detail['question']}")
            assert "inject" not in messages[-1]["content"]
            assert messages[:-1] == plan.prompts[arms(plan)["control"][0].prompt].messages[:-1]
            assert (spec.readout, spec.options) == ("score", (*controls.YES, *controls.NO))


def test_the_yes_no_logit_is_the_log_of_the_ratio_of_probabilities() -> None:
    yes, no = (0.2, 0.05, 0.1, 0.01), (0.3, 0.02, 0.04, 0.003)
    logprobs = {k: math.log(p) for k, p in zip((*controls.YES, *controls.NO), (*yes, *no), strict=True)}
    assert controls.yes_logit(logprobs) == pytest.approx(math.log(sum(yes) / sum(no)))
    low = {**logprobs, **dict.fromkeys(controls.YES, -1000.0)}
    assert controls.yes_logit(low) == pytest.approx(math.log(1e-7 / (1 - 1e-7)))


def test_shifts_are_those_of_a_subject_whose_probabilities_are_known() -> None:
    (_, analysis), *_ = studies("detector?hit=0.4&fa=0.1", [0], strengths=(2.0,), trials=4)
    shift, unrelated = (analysis.figure(name) for name in ("question_shift", "clear_no_shift"))
    assert shift
    assert unrelated
    # The subject's openings mix with a small floor and the pull of the word, which hardly move the ratio.
    truth = math.log(0.4 / 0.6) - math.log(0.1 / 0.9)
    assert shift.value.value == pytest.approx(truth, abs=0.05)  # type: ignore[union-attr]
    assert unrelated.value.value == pytest.approx(0, abs=0.05)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ("Yes, I detect an injected thought. It seems to be about the sea.", ["ocean"]),
        ("I do sense one. The word that keeps coming to mind is 'apple'.", ["apple"]),
        ("Yes. It is about nothing in particular.", []),
        ("I notice a thought about bread, or perhaps about Kittens.", ["bread", "cat"]),
        ("Yes, I do.", []),
    ],
)
def test_the_words_that_a_claim_names(reply: str, words: list[str]) -> None:
    assert claimed_words(reply) == words
