"""The experiment ``ablation``: what is projected out where, and what its verdict rests on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mlxintro import data
from mlxintro.analysis.results import Row
from mlxintro.analysis.stats import Rate
from mlxintro.backends import registry
from mlxintro.backends.base import Injection, Prompt
from mlxintro.backends.errors import UsageError
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.grading.base import Grade
from mlxintro.mechanism.ablation_arms import arm_of, directions_in, random_arm
from mlxintro.mechanism.ablation_findings import analyse
from mlxintro.running import readouts
from tests.experiment_runs import planned, ran

WORDS = ("dust", "trumpets", "cameras")


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeBackend]:
    with FakeBackend("detector") as backend:
        yield backend


def test_every_direction_has_a_random_one_in_its_place_and_controls(fake: FakeBackend) -> None:
    _, plan = planned(fake, "ablation", concepts=WORDS, layers=(4,), strengths=(2.0,))
    arms = {"", "without:concept", "random-for:concept", "without:refusal", "random-for:refusal"}
    counts = {(arm, condition): 0 for arm in arms for condition in ("injected", "control")}
    for spec in plan:
        counts[spec.arm, spec.condition] += 1
        removed = [one for one in spec.injections if one.operation == "ablate"]
        assert bool(removed) == bool(spec.arm)
        assert len(spec.injections) - len(removed) == (spec.condition == "injected")
        if spec.arm.endswith("concept"):
            assert [one.layer for one in removed] == [5, 6, 7], "only after the layer it was injected at"
            assert {one.taken_at for one in removed} == {4}
        elif spec.arm:
            assert [one.layer for one in removed] == list(range(8))
        assert all((one.start, one.stop) == (0, None) for one in removed)
        assert {one.transform for one in removed} <= {"random" if spec.arm.startswith("random") else "none"}
    assert set(counts.values()) == {len(WORDS)}
    assert directions_in(arms) == ["concept", "refusal"]


def test_the_refusal_direction_is_learned_from_pairs_that_ship(fake: FakeBackend) -> None:
    _, plan = planned(fake, "ablation", concepts=WORDS, layers=(4,), strengths=(2.0,))
    (recipe,) = [one for one in plan.recipes.values() if one.method == "contrast-pairs"]
    pairs = data.load("refusal.toml")["pairs"]
    assert len(pairs) >= 16
    assert len({text for pair in pairs for text in pair}) == 2 * len(pairs)
    assert [one.template for one in recipe.positives()] == [harmful for harmful, _ in pairs]
    for harmful, harmless in pairs:
        assert abs(len(harmful.split()) - len(harmless.split())) <= 4, "pairs are of one form and length"


def test_what_is_projected_out_is_gone_from_the_stream(tiny: Any) -> None:
    with registry.open_backend(str(tiny("llama")), "torch", device="cpu", dtype="float32") as backend:
        settings: dict[str, Any] = {"layers": (1,), "strengths": (2.0,), "unit": "resid", "max_tokens": 2}
        run = ran(backend, "ablation", concepts=WORDS, **settings)
        spec = next(one for one in run.specs if one.arm == "without:concept" and one.condition == "injected")
        prompt, _ = readouts.prompt_of(run.session, spec)
        direction = next(one.vector for one in prompt.injections if one.operation == "ablate")
        [found] = backend.capture([prompt], layers=[2, 3])
        plain = Prompt(prompt.tokens, tuple(one for one in prompt.injections if one.operation == "add"))
        [before] = backend.capture([plain], layers=[2, 3])
    unit = direction / np.linalg.norm(direction)
    added: Injection = plain.injections[0]
    assert np.abs(before["resid_post"][:, added.start :] @ unit).min() > 0.01
    assert np.abs(found["resid_post"] @ unit).max() < 1e-4
    for one in run.specs:
        assert all(proof.positions > 0 for proof in run.outcomes[one.key].proofs)


def test_an_imported_direction_is_projected_out_by_its_nearest_layer(fake: FakeBackend) -> None:
    reference = {"content": f"sha256:{'0' * 64}", "word": "ocean", "width": fake.info.width, "layers": (1, 6)}
    _, plan = planned(
        fake,
        "ablation",
        concepts=WORDS,
        layers=(4,),
        strengths=(2.0,),
        vectors={"mine": reference},
        options={"directions": ["vector:mine"], "at": [0, 7]},
    )
    removed = [one for spec in plan for one in spec.injections if one.operation == "ablate"]
    assert {spec.arm for spec in plan} == {"", "without:vector:mine", "random-for:vector:mine"}
    assert {(one.concept, one.layer, one.taken_at) for one in removed} == {("ocean", 0, 6), ("ocean", 7, 6)}
    assert {plan.recipes[one.vector].method for one in removed} == {"imported"}


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"layers": (7,)}, "after layer 7"),
        ({"options": {"directions": ["concept"], "at": [2]}}, "after layer 4"),
        ({"options": {"refusal_depth": 2.0}}, "refusal_depth"),
        ({"options": {"at": [99]}}, "out of range"),
        ({"options": {"directions": ["vector:none"]}}, "no imported vector called 'none'"),
    ],
)
def test_a_projection_that_cannot_be_is_refused_in_one_line(
    fake: FakeBackend, settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint) as raised:
        planned(fake, "ablation", **{"concepts": WORDS, "layers": (4,), "strengths": (2.0,), **settings})
    assert "\n" not in str(raised.value)


def rows(hits: dict[str, float], alarms: dict[str, float]) -> list[Row]:
    """Forty graded trials of every arm, with detection rates that are given."""
    found = []
    for condition, rates in (("injected", hits), ("control", alarms)):
        for arm, share in rates.items():
            for number in range(40):
                # Spread over concepts, and never two arms in step.
                yes = (number * 7 + len(arm)) % 40 < share * 40
                grade = Grade(yes, yes, False, True, False)
                layer, strength = (4, 2.0) if condition == "injected" else (None, None)
                concept = f"w{number % 8}" if condition == "injected" else None
                name = f"{condition}{arm}{number}"
                found.append(Row(name, condition, arm, concept, layer, strength, number, "", {}, {}, grade))
    return found


def arms(none: float, without: float, random: float) -> dict[str, float]:
    return {"": none, arm_of("refusal"): without, random_arm("refusal"): random}


def test_a_rise_of_hits_alone_is_an_effect() -> None:
    found = analyse(rows(arms(0.2, 0.8, 0.2), arms(0.0, 0.0, 0.0)), "raw")
    assert found.verdict is not None
    assert found.verdict.kind == "effect"
    assert "Projecting refusal out raises detection" in found.verdict.headline
    figure = found.figure("detection_without_refusal")
    assert figure is not None
    assert isinstance(figure.value, Rate)
    assert (figure.value.successes, figure.value.trials) == (32, 40)


def test_a_fall_of_hits_is_an_effect_too() -> None:
    found = analyse(rows(arms(0.9, 0.1, 0.9), arms(0.0, 0.0, 0.0)), "raw")
    assert found.verdict is not None
    assert found.verdict.kind == "effect"
    assert "lowers" in found.verdict.headline


def test_a_rise_that_false_alarms_share_is_none() -> None:
    found = analyse(rows(arms(0.2, 0.8, 0.2), arms(0.0, 0.6, 0.0)), "raw")
    assert found.verdict is not None
    assert found.verdict.kind == "no effect shown"


def test_a_rise_that_a_random_direction_gives_too_is_none() -> None:
    found = analyse(rows(arms(0.2, 0.8, 0.8), arms(0.0, 0.0, 0.0)), "raw")
    assert found.verdict is not None
    assert found.verdict.kind == "no effect shown"
