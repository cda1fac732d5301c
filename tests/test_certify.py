"""``certify`` from the dose to the ladder on simulated subjects, and what it measures against direct computations."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlxintro.backends.errors import UsageError
from mlxintro.backends.registry import open_backend
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.experiments.detection.measuring import measure
from mlxintro.ladder import freeze
from mlxintro.ladder.certify.assembly import Assembled, CertifyOrder, assemble, outline
from mlxintro.ladder.certify.calibration import choose_questions
from mlxintro.ladder.certify.certificate import fit_repeats, power_lines
from mlxintro.ladder.certify.draft import CertifyDraft
from mlxintro.ladder.rungs import RIVALS
from mlxintro.ladder.witnesses import Witness, observe
from mlxintro.protocol import controls
from mlxintro.running import readouts
from mlxintro.running.session import Session
from mlxintro.vectors.cache import VectorCache
from mlxintro.vectors.extraction import extract
from tests.cli import mlxintro
from tests.simulated import row_of

WORDS = ("ocean", "bread", "fear", "music", "silver", "trees", "milk", "rain")


def made(backend: FakeBackend, folder: Path, draft: CertifyDraft | None = None, **settings: Any) -> Assembled:
    wanted: dict[str, Any] = {"concepts": WORDS, "layer": 5, "strength": 2.0, "repeats": 2, **settings}
    order = CertifyOrder(backend.info.model, {"backend": "fake", "max_tokens": 40}, **wanted)
    return assemble(backend, VectorCache(folder), order, lambda line: None, draft)


@pytest.fixture(scope="module")
def assembled(tmp_path_factory: pytest.TempPathFactory) -> tuple[FakeBackend, Assembled]:
    backend = FakeBackend("detector?hit=0.95")
    return backend, made(backend, tmp_path_factory.mktemp("vectors"))


def session_of(backend: FakeBackend, one: Assembled) -> Session:
    return Session(backend, one.planned.prompts, extract(backend, one.planned.recipes.values(), None))


def test_matched_vectors_have_the_impact_they_are_said_to_have(assembled: tuple[FakeBackend, Assembled]) -> None:
    backend, one = assembled
    session = session_of(backend, one)
    specs = [spec for spec in one.planned if spec.arm == controls.MATCHED]
    assert len(specs) == 16
    for spec in specs[:4]:
        prompt, _ = readouts.prompt_of(session, spec)
        states = backend.capture([prompt, type(prompt)(prompt.tokens)], layers=[7], positions=[-1])
        steered, plain = (backend.lens(state["resid_post"][0, 0]).astype(np.float64) for state in states)
        divergence = float((np.exp(steered) * (steered - plain)).sum())
        assert divergence == pytest.approx(spec.detail["impact"], rel=1e-3)
        assert spec.detail["impact"] == pytest.approx(spec.detail["target"], rel=0.2)


def test_the_chosen_questions_stand_around_the_trial_question(assembled: tuple[FakeBackend, Assembled]) -> None:
    _, one = assembled
    assert one.calibration.spans
    logits = {f"q{at}": float(at) for at in range(40)}
    chosen = choose_questions(10.5, logits)
    assert {"q7", "q8", "q9", "q10", "q11", "q12", "q13", "q14", "q0", "q39"} <= set(chosen)


def test_every_arm_runs_and_the_introspector_stands_on_no_rung_of_a_liar(
    assembled: tuple[FakeBackend, Assembled],
) -> None:
    backend, one = assembled
    specs = list(one.planned)
    outcomes = {outcome.key: outcome for outcome in measure(session_of(backend, one), specs)}
    assert set(outcomes) == {spec.key for spec in specs}
    rows = [row_of(spec, outcomes[spec.key]) for spec in specs]
    found = one.checked.experiment.analyse(rows, one.checked.study, one.checked.preset)
    assert found.ladder is not None
    for name in ("chance", "yes-bias", "compression", "any disturbance", "own words"):
        assert found.ladder[name].state == "excluded", found.ladder[name].said
    witness = next(row for row in rows if row.arm == controls.WITNESS)
    logits = witness.measurements["logits"]
    # Text and state exchanged: only the state tells this subject.
    assert logits["self"] == pytest.approx(logits["state"], abs=0.5)
    assert logits["reader"] == pytest.approx(logits["clean"], abs=0.5)
    assert logits["self"] > logits["reader"] + 3


def test_the_bank_of_vectors_is_measured(assembled: tuple[FakeBackend, Assembled]) -> None:
    backend, one = assembled
    session = session_of(backend, one)
    (spec,) = [spec for spec in one.planned if spec.arm == controls.BANK]
    (outcome,) = measure(session, [spec])
    rows = np.array([vector.direction[5] for vector in session.vectors.values()], np.float64)
    assert outcome.measurements["mean_cosine"] == pytest.approx(_cosines(rows))
    assert 1 <= outcome.measurements["effective_rank"] <= 8


def _cosines(rows: np.ndarray[Any, Any]) -> float:
    found = [
        float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        for at, a in enumerate(rows)
        for other, b in enumerate(rows)
        if at != other
    ]
    return sum(found) / len(found)


def test_areas_under_the_curve_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(2)
    witnesses = []
    for at in range(36):
        logits = {"self": rng.normal(1), "reader": rng.normal(0.3), "state": rng.normal(1), "clean": rng.normal(0)}
        states = [tuple(rng.normal(side, 1, 8)) for side in (1.0, 0.0)]
        witnesses.append(Witness(f"word {at % 6}", logits, states[0], states[1]))
    found = observe(witnesses)
    clean = [one.logits["clean"] for one in witnesses]
    for side, area in (("self", found.own), ("reader", found.reader)):
        scores = [one.logits[side] for one in witnesses] + clean
        assert area == pytest.approx(roc_auc_score([1] * 36 + [0] * 36, scores))
    assert found.probe is not None
    assert found.probe > 0.8
    assert found.recovery is not None
    assert found.recovery[0] == pytest.approx((found.own - 0.5) / (found.probe - 0.5))


def test_a_budget_of_trials_is_kept_and_one_that_is_too_small_says_what_is_needed() -> None:
    assert fit_repeats(None, None, lambda repeats: 100 * repeats) == 5
    assert fit_repeats(None, 450, lambda repeats: 100 * repeats) == 4
    with pytest.raises(UsageError, match="--trials 200"):
        fit_repeats(None, 150, lambda repeats: 100 * repeats)
    for thinks in (False, True):
        told = [line.split(":")[0] for line in power_lines(60, thinks=thinks)]
        assert told == [name for name in RIVALS if thinks or name != "own notes"]


def test_two_ways_to_say_the_size_are_refused(tmp_path: Path) -> None:
    with FakeBackend("detector") as backend, pytest.raises(UsageError, match="either --trials"):
        made(backend, tmp_path, trials=500)


def test_what_was_frozen_is_compared_with_what_came_of_it(tmp_path: Path) -> None:
    study, keys = {"model": "x", "seed": 1}, ["b2:a", "b2:b"]
    record = freeze.frozen_record(study, keys)
    assert freeze.held(record, study, reversed(keys), 2) == []
    assert freeze.held(record, {**study, "seed": 2}, keys, 2) == ["the study was changed"]
    assert freeze.held(record, study, ["b2:a", "b2:c"], 2) == ["the trials are not those that were planned"]
    assert freeze.held(record, study, keys[:1], 2) == ["1 of 2 trials are still to come"]
    assert any("analysis" in one for one in freeze.held({**record, "analysis": "other"}, study, keys, 2))
    assert "the record itself was changed" in freeze.held({**record, "plan_hash": "b2:0"}, study, keys, 2)
    path = tmp_path / "frozen" / "run.json"
    freeze.write_record(record, path)
    assert json.loads(path.read_text("utf-8"))["hash"] == record["hash"]
    with pytest.raises(UsageError, match="never replaced"):
        freeze.write_record(record, path)


def test_centred_vectors_sum_to_nothing(tmp_path: Path) -> None:
    with FakeBackend("detector") as backend:
        one = made(backend, tmp_path, centred=True, repeats=2)
        vectors = [vector.direction[5].astype(np.float64) for vector in session_of(backend, one).vectors.values()]
        # Each is a word minus the mean of the others, which is the centred word times n / (n - 1).
        assert np.linalg.norm(np.sum(vectors, axis=0)) < 1e-3 * np.linalg.norm(vectors[0])


def test_random_vectors_of_the_norm_are_tried_where_those_of_the_impact_are_shorter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeBackend("detector") as backend:
        plain = made(backend, tmp_path)
        assert "random" not in {spec.arm for spec in plain.planned}
        ratios = [2.0 / strength for strength in plain.calibration.options["matched"]]
        assert plain.calibration.shorter == pytest.approx(np.exp(np.mean(np.log(ratios))))
        monkeypatch.setattr("mlxintro.ladder.certify.assembly.WELL_MATCHED", plain.calibration.shorter / 2)
        assert "random" in {spec.arm for spec in made(backend, tmp_path).planned}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_scored_trial_and_its_entropy_are_those_of_separate_readings(tmp_path: Path) -> None:
    with open_backend("smollm2", "torch", device="cpu", dtype="float32") as backend:
        order = CertifyOrder("smollm2", {"backend": "torch"}, concepts=("dust", "trees", "bread"), repeats=2)
        _, planned = outline(backend, order)
        arms = (controls.QUESTION, "clear-no", controls.PRESENT, controls.ASKED_OTHER)
        specs = [next(one for one in planned if one.arm == arm and one.injections) for arm in arms]
        specs = [replace(one, detail={**one.detail, "entropy": True}) for one in specs]
        session = Session(backend, planned.prompts, extract(backend, planned.recipes.values(), None))
        found = {one.key: one for one in measure(session, specs)}
        for spec, alone in zip(specs, readouts.score(session, specs), strict=True):
            together = found[spec.key]
            assert together.measurements["logprobs"] == pytest.approx(alone.measurements["logprobs"], abs=1e-4)
            assert together.doses == alone.doses
            prompt, _ = readouts.prompt_of(session, spec)
            (state,) = backend.capture([prompt], layers=[29], positions=[-1])
            logprobs = backend.lens(state["resid_post"][0, 0]).astype(np.float64)
            assert together.measurements["entropy"] == pytest.approx(-(np.exp(logprobs) * logprobs).sum(), abs=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_both_frameworks_come_to_the_same_states_with_the_embedded_model(tmp_path: Path) -> None:
    pytest.importorskip("mlx.core")
    small = ("--concepts", "dust,trees,bread,silver", "--repeats", "3", "--layer", "20", "--strength", "0.5")
    states: dict[str, dict[str, str]] = {}
    shifts: dict[str, list[float]] = {}
    for framework in ("torch", "mlx"):
        options = ("-m", "smollm2", "--backend", framework, "--dtype", "float32", "--max-tokens", "12", "--json")
        done = mlxintro(tmp_path / framework, "certify", *options, *small, seconds=1500)
        assert done.code == 0, done.err
        found = done.lines[-1]
        states[framework] = {rung["name"]: rung["state"] for rung in found["ladder"]["rungs"]}
        shifts[framework] = [one["value"]["value"] for name, one in found["figures"].items() if name.endswith("_shift")]
    assert states["mlx"] == states["torch"]
    # Scores are the same numbers up to rounding; replies may part at a sampled token.
    np.testing.assert_allclose(shifts["mlx"], shifts["torch"], atol=2e-3)
