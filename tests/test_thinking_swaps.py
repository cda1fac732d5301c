"""Swapped thoughts tell a subject that reads its notes from one that reads its state; recipes say where they read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlxintro.analysis.results import Row
from mlxintro.analysis.stats import Mean
from mlxintro.backends.base import Prompt
from mlxintro.backends.errors import UsageError
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.ladder.case import Case
from mlxintro.ladder.observers import own_notes
from mlxintro.ladder.rows import Rows
from mlxintro.protocol import controls
from mlxintro.protocol.study import make_study
from mlxintro.running import launch
from mlxintro.thinking.swapped import SWAP_SIDES
from mlxintro.thinking.swaps import swap_table
from mlxintro.vectors.extraction import extract
from mlxintro.vectors.reading import PromptReading
from tests.cli import mlxintro
from tests.experiment_runs import planned
from tests.test_thinking_runs import ON, RUN, finished


@pytest.mark.parametrize(("notes", "state_moves", "notes_move"), [(1, False, True), (0, True, False)])
def test_the_side_that_a_scripted_answer_follows_is_the_side_that_moves_it(
    tmp_path: Path, notes: int, state_moves: bool, notes_move: bool
) -> None:
    model = f"detector?think=1&hit=1&fa=0&notes={notes}"
    _, trials = finished(tmp_path, model, **ON, controls=["swapped-thoughts"])
    swaps = [trial for trial in trials if trial.arm == "swapped-thoughts"]
    assert len(swaps) == 8
    for trial in swaps:
        logits, thoughts = trial.measurements["logits"], trial.measurements["thoughts"]
        assert set(logits) == set(SWAP_SIDES)
        assert "I do detect an injected thought" in thoughts["injected"]["text"]
        assert "I do not detect" in thoughts["clean"]["text"]
        assert logits["own"] > 2 > 0 > logits["clean"]
        assert (logits["state"] > logits["clean"] + 2) is state_moves
        assert (logits["notes"] > logits["clean"] + 2) is notes_move


def test_what_they_come_to_stands_in_stats(tmp_path: Path) -> None:
    finished(tmp_path, "detector?think=1&hit=1&fa=0&notes=0", **ON, controls=["swapped-thoughts"])
    tables = json.loads(mlxintro(tmp_path, "stats", "thinks", "--json").out)["tables"]
    [table] = [one for one in tables if one["name"] == "swapped_thoughts"]
    rows = {row[0]: row for row in table["rows"]}
    assert set(rows) == {"reads its state", "reads its notes", "both"}


def test_the_table_takes_concepts_for_units() -> None:
    def of(own: float, notes: float, state: float, clean: float) -> dict[str, Any]:
        return {"logits": dict(zip(SWAP_SIDES, (own, notes, state, clean), strict=True))}

    rows = [("a", of(3, 1, 2, 0)), ("a", of(5, 1, 4, 0)), ("b", of(4, 1, 2, 1))]
    table = swap_table(rows)
    assert table is not None
    means = {row[0]: row[2] for row in table.rows}
    # By hand: state (2 + 4) / 2 = 3 and 1; notes 1 and 0; both 4 and 3.
    for name, expected in (("reads its state", 2.0), ("reads its notes", 0.5), ("both", 3.5)):
        found = means[name]
        assert isinstance(found, Mean)
        assert found.value == expected
    assert swap_table([("a", {}), ("b", {"logits": {"self": 1.0}})]) is None


def test_the_arm_belongs_to_subjects_that_think() -> None:
    with pytest.raises(UsageError, match="add --thinking on"):
        controls.arms(make_study(model="x", controls=["swapped-thoughts"]))
    assert "swapped-thoughts" in controls.arms(make_study(model="x", controls="full", thinking="on"))
    for thinking in (None, "off", "empty"):
        assert "swapped-thoughts" not in controls.arms(make_study(model="x", controls="full", thinking=thinking))


def test_a_vector_is_read_outside_of_thoughts_unless_the_study_says_otherwise() -> None:
    with FakeBackend("detector?think=1") as backend:
        vectors = {}
        for thinking in (None, "on", "empty"):
            extraction = {} if thinking is None else {"extraction": {"thinking": thinking}}
            _, plan = planned(backend, "injected-thoughts", concepts=["ocean"], **extraction)
            [vector] = extract(backend, plan.recipes.values()).values()
            vectors[thinking] = vector
            [reading] = vector.recipe.positives()
            tokens, _ = reading.place(backend.tokenizer)
            text = backend.tokenizer.decode(tokens)
            assert text.endswith({None: "ocean", "on": "<think>\n", "empty": "</think>\n\n"}[thinking])
            # The target's own activation, read directly where the prompt ends.
            direct = backend.capture([Prompt(tokens)], positions=(-1,))[0]["resid_post"][:, 0]
            others = [Prompt(one.place(backend.tokenizer)[0]) for one in vector.recipe.negatives()]
            read = backend.capture(others, positions=(-1,))
            negatives = [one["resid_post"][:, 0] for one in read]
            expected = direct - np.mean(np.array(negatives, np.float64), axis=0)
            np.testing.assert_allclose(vector.direction, expected, atol=1e-3)
        assert len({vector.recipe.key for vector in vectors.values()}) == 3


def test_recipes_that_say_nothing_of_thoughts_keep_their_keys() -> None:
    from mlxintro.protocol.hashing import canonical_json

    assert "thinking" not in canonical_json(PromptReading("Tell me about {word}", "last-template-token", "ocean"))
    with FakeBackend("detector") as backend:
        _, plan = planned(backend, "injected-thoughts", concepts=["ocean"])
        [recipe] = plan.recipes.values()
        assert "thinking" not in canonical_json(recipe)


def test_where_vectors_are_read_is_said(tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text('experiment = "injected-thoughts"\nthinking = "on"\n[extraction]\nthinking = "on"\n')
    shown = mlxintro(tmp_path, "run", str(study), "-m", "detector?think=1", *RUN[2:], "--explain").out
    assert "inside an opened thought" in shown
    with pytest.raises(UsageError, match="read outside of thoughts"):
        launch.check(make_study(model="x", extraction={"method": "contrast-pairs", "thinking": "on"}))


def swapped_case(state: float, notes: float, own: float, clear: float = 0.0) -> Case:
    """A case of eight concepts whose answers move by these nats, and clear questions by others."""

    def row(arm: str, concept: str | None, at: int, measurements: dict[str, Any], question: str = "") -> Row:
        condition = "injected" if concept else "control"
        return Row("", condition, arm, concept, 5, 2.0, at, "", measurements, {"question": question}, None)

    def odds(logit: float) -> dict[str, Any]:
        yes, no = -math.log1p(math.exp(-logit)), -math.log1p(math.exp(logit))
        return {"logprobs": {**dict.fromkeys(controls.YES, yes), **dict.fromkeys(controls.NO, no)}}

    words = [f"word {at}" for at in range(8)]
    rows = []
    for at, word in enumerate(words):
        # Concepts differ a little, and so do questions.
        more = 0.05 * (at - 3.5)
        sides = dict(zip(SWAP_SIDES, (own - 4 + more, notes - 4 + more, state - 4 + more, -4.0), strict=True))
        rows.append(row("swapped-thoughts", word, at, {"logits": sides}))
        for arm, base in (("clear-no", -5.0), ("clear-yes", 5.0)):
            rows.append(row(arm, None, at, odds(base), f"{arm} {at}"))
            rows.append(row(arm, word, at, odds(base + clear + 2 * more), f"{arm} {at}"))
    run = Rows.of(rows, thinks=True)
    return Case(run, run.injected, "all trials")


@pytest.mark.parametrize(
    ("moved", "state", "shown"),
    [
        # The vector, its own thought, both; clear questions: by how many nats each moves the answer.
        ((6.0, 0.0, 6.0, 0.0), "excluded", False),  # reads its state
        ((4.5, 2.0, 6.5, 0.0), "excluded", False),  # reads both, its state more
        ((0.0, 6.0, 6.0, 0.0), "not excluded", True),  # reads its thought
        ((1.5, 5.0, 6.5, 0.0), "not excluded", True),  # a trace of its state, which is well above none
        ((3.0, 0.0, 3.0, 3.0), "not excluded", False),  # moves every answer as far
        ((0.0, 0.0, 0.0, 0.0), "not tested", False),  # nothing to explain
    ],
)
def test_the_rung_about_own_notes_follows_from_what_moves_the_answer(
    moved: tuple[float, float, float, float], state: str, shown: bool
) -> None:
    found = own_notes(swapped_case(*moved))
    assert (found.state, found.shown) == (state, shown), (found.said, found.more)


def test_without_swapped_thoughts_the_rung_is_not_tested() -> None:
    run = Rows.of([], thinks=True)
    assert own_notes(Case(run, (), "all trials")).state == "not tested"
