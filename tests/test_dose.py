"""The dose finder against distributions computed another way."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from scipy.special import rel_entr

from mlxintro.backends.base import Injection, Prompt
from mlxintro.backends.errors import UsageError
from mlxintro.backends.registry import open_backend
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.protocol import presets
from mlxintro.tools import dose
from mlxintro.tools.dose import Step
from mlxintro.vectors import impact
from mlxintro.vectors.extraction import extract
from mlxintro.vectors.settings import recipe_for
from tests.cli import Call


def test_divergence_is_scipys_relative_entropy() -> None:
    drawn = np.random.default_rng(0).dirichlet(np.ones(500), size=(2, 4))
    found = impact.divergence(np.log(drawn[0]).astype(np.float32), np.log(drawn[1]).astype(np.float32))
    assert found == pytest.approx(rel_entr(drawn[0], drawn[1]).sum(axis=-1), abs=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_divergence_of_a_real_model_is_that_of_its_scored_tokens() -> None:
    """Compare with ``score`` over the likeliest tokens instead of capture and unembedding."""
    with open_backend("smollm2", "torch", device="cpu", dtype="float32") as backend:
        tokens = backend.tokenizer.render([{"role": "user", "content": dose.QUESTIONS[0]}]).tokens
        vector = np.random.default_rng(1).normal(size=backend.info.width).astype(np.float32)
        prompts = [Prompt(tokens), Prompt(tokens, (Injection(15, vector, 0),))]
        plain, steered = backend.next_token(prompts)
        top = [int(token) for token in np.argsort(steered)[-200:]]
        scored = np.array([[one[0] for one in row] for row in backend.score(prompts, [[[t] for t in top]] * 2)])
        assert scored[0] == pytest.approx(plain[top], abs=1e-4)
        direct = float(np.sum(np.exp(scored[1]) * (scored[1] - scored[0])))
        ours = float(np.sum(np.exp(steered[top].astype(float)) * (steered[top] - plain[top])))
        assert ours == pytest.approx(direct, abs=1e-5)


@pytest.mark.parametrize(
    ("text", "share"), [("a b c d", 0.0), ("a b a b a b", 3 / 5), ("", 0.0), ("word", 0.0), ("no no no no", 2 / 3)]
)
def test_repetition_counts_pairs_that_stood_before(text: str, share: float) -> None:
    assert dose.repetition(text) == pytest.approx(share)


def test_a_proposal_lies_between_what_moves_nothing_and_what_garbles() -> None:
    def step(strength: float, divergence: float, coherent: float) -> Step:
        return Step(3, strength, strength, divergence, 0.0, coherent)

    ladder = [step(2, 3, 0.1), step(0.1, 0.01, 1), step(0.5, 0.2, 1), step(1, 1, 0.8), step(4, 4, 1)]
    (found,) = dose.propose(ladder)
    assert (found.usable, found.garbles_at) == ((0.5, 1), 2)


def test_the_simulated_subject_garbles_above_its_parameter() -> None:
    with FakeBackend("steering-only?strong=2") as backend:
        recipe = recipe_for(presets.load("lindsey").extraction, "ocean", backend.info)
        steps = dose.find(backend, extract(backend, [recipe], None), [4, 5], ladder=(0.5, 1, 4, 8))
    assert [one.garbles_at for one in dose.propose(steps)] == [4, 4]
    with FakeBackend("null") as backend, pytest.raises(UsageError, match="at least one"):
        dose.find(backend, {}, [1])


def test_the_command_prints_the_ladder_and_a_proposal_per_layer(call: Call) -> None:
    done = call("dose", "--backend", "fake", "-m", "steering-only", "--layers", "3,5", "--concepts", "ocean")
    assert done.code == 0
    said = [line.split(":")[0] for line in done.out.splitlines() if ":" in line]
    assert said == ["layer 3", "layer 5", "to run them"]
    found = json.loads(call("dose", "--backend", "fake", "--layers", "5", "--concepts", "ocean", "--json").out)
    assert len(found["steps"]) == len(dose.LADDER)


def test_usable_cells_are_the_largest_grid_that_all_its_layers_stand() -> None:
    proposals = [
        dose.Proposal(3, (1.0,), None),
        dose.Proposal(5, (0.5, 1.0, 2.0), 4.0),
        dose.Proposal(6, (0.5, 1.0), 2.0),
        dose.Proposal(7, (), 0.5),
    ]
    assert dose.usable_cells(proposals) == dose.Cells((5, 6), (0.5, 1.0))
    assert dose.usable_cells(proposals[-1:]) is None


def test_the_study_it_writes_can_be_run(call: Call, tmp_path: Path) -> None:
    asked = ("dose", "--backend", "fake", "-m", "detector", "--layers", "3,5", "--concepts", "ocean")
    study = tmp_path / "dosed.toml"
    study.write_text(call(*asked, "--toml").out)
    cells = json.loads(call(*asked, "--json").out)["usable"]
    planned = json.loads(call("run", str(study), "--dry-run", "--json").out)
    assert call("run", str(study), "--name", "dosed", "--controls", "none").code == 0
    shown = tomllib.loads(call("runs", "show", "dosed", "--toml").out)
    assert (shown["layers"], shown["strengths"], shown["unit"]) == (cells["layers"], cells["strengths"], "resid")
    assert planned
    assert call(*asked, "--toml", "--strengths", "0.0001").code == 2
