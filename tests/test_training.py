"""Training an adapter: the loss is that of the injected model, what is trained is an adapter and nothing else, and the
labels are what they are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mlxintro.backends.adapters import peft_folder
from mlxintro.backends.adapters import sources as adapters
from mlxintro.backends.base import Injection, Prompt
from mlxintro.backends.errors import InjectionError, UsageError
from mlxintro.backends.models.sources import read_folder
from mlxintro.backends.pytorch import backend as torch_backend
from mlxintro.backends.pytorch import training
from mlxintro.backends.pytorch.backend import TorchBackend
from mlxintro.backends.training import AdapterShape, TrainingRow, reading_rows
from mlxintro.protocol.concepts import library, same_word
from mlxintro.protocol.controls import questions
from mlxintro.training.checkpoint import TrainingFolder
from mlxintro.training.material import in_turn, material, split_words
from mlxintro.training.plan import TrainingPlan
from mlxintro.training.rows import RowDraft, relabelled
from mlxintro.training.timing import coarse

SHAPE = AdapterShape(rank=2, alpha=8.0, first_layer=2)


@pytest.fixture
def backend(tiny: Callable[[str], Path]) -> Iterator[TorchBackend]:
    source = read_folder(tiny("llama"), name="llama", repository="tiny")
    with torch_backend.load(source, device="cpu", dtype="float32") as loaded:
        yield loaded


def row(backend: TorchBackend, tail: int, *, seed: int, injected: bool = True) -> TrainingRow:
    """A prompt of twelve common tokens and some of its own, injected into from the twelfth on."""
    rng = np.random.default_rng(seed)
    common = np.random.default_rng(0).integers(5, 390, 12).tolist()
    tokens = (*common, *rng.integers(5, 390, tail).tolist())
    vector = (3 * rng.standard_normal(backend.info.width)).astype(np.float32)
    injections = (Injection(seed % 2, vector, 12),) if injected else ()
    return TrainingRow(Prompt(tokens, injections), tuple(rng.integers(5, 390, 3 + seed % 3).tolist()))


def group(backend: TorchBackend) -> list[TrainingRow]:
    return [row(backend, 4 + seed, seed=seed, injected=seed != 2) for seed in range(5)]


def weights(backend: TorchBackend) -> dict[str, Any]:
    return {name: value.clone() for name, value in backend.network.model.state_dict().items()}


def test_the_loss_of_a_step_is_what_the_backend_scores_one_by_one_with_the_same_injections(
    backend: TorchBackend,
) -> None:
    rows = group(backend)
    scored = [backend.score([one.prompt], [[one.answer]])[0][0] for one in rows]
    expected = -float(np.concatenate(scored).mean())
    with backend.trainer(SHAPE) as trainer:
        report = trainer.step([rows[:3], rows[3:]], 0.0)
    assert report.loss == pytest.approx(expected, rel=1e-5)
    assert report.injections == 4
    assert report.positions == sum(
        len(one.prompt.tokens) + len(one.answer) - 1 - 12 for one in rows if one.prompt.injections
    )
    plain = [replace(one, prompt=Prompt(one.prompt.tokens)) for one in rows]
    without = -float(np.concatenate([backend.score([one.prompt], [[one.answer]])[0][0] for one in plain]).mean())
    assert abs(without - expected) > 1e-3


def test_the_gradient_is_that_of_the_loss(backend: TorchBackend) -> None:
    """Against a central difference along one weight of B, with the loss taken from ``score``."""
    rows = group(backend)
    with backend.trainer(SHAPE) as trainer:
        trainer.step([rows], 1e-2)  # B is no longer zero
        name = next(name for name in trainer.state() if "q_proj.lora_B" in name and "/" not in name)
        parameter = dict(backend.network.model.named_parameters())[name]
        trainer._backward([rows])
        found = float(parameter.grad[1, 1])

        def loss(shift: float) -> float:
            with torch.no_grad():
                parameter[1, 1] += shift
            scored = [backend.score([one.prompt], [[one.answer]])[0][0] for one in rows]
            with torch.no_grad():
                parameter[1, 1] -= shift
            return -float(np.concatenate(scored).astype(np.float64).mean())

        assert found == pytest.approx((loss(1e-2) - loss(-1e-2)) / 2e-2, rel=0.02)


def test_an_injection_that_does_not_happen_stops_the_training(
    backend: TorchBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    with backend.trainer(SHAPE) as trainer:
        before = trainer.state()
        monkeypatch.setattr(training, "hooked", lambda network, edits: nullcontext())
        with pytest.raises(InjectionError, match="should touch"):
            trainer.step([group(backend)], 1e-2)
        after = trainer.state()
        assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_closed_trainer_leaves_the_model_bit_for_bit_as_it_was(backend: TorchBackend) -> None:
    before = weights(backend)
    learnt = [parameter.requires_grad for parameter in backend.network.model.parameters()]
    with backend.trainer(SHAPE) as trainer:
        for _ in range(3):
            trainer.step([group(backend)], 1e-2)
    after = weights(backend)
    assert list(after) == list(before)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [parameter.requires_grad for parameter in backend.network.model.parameters()] == learnt
    assert not hasattr(backend.network.model, "peft_config")


def test_an_adapter_above_a_layer_leaves_the_stream_up_to_there_alone_and_learns(
    backend: TorchBackend, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    origin = read_folder(tiny("llama"), name="llama", repository="tiny")
    rows = group(backend)
    prompt = rows[0].prompt
    before = backend.capture([prompt])[0]["resid_post"]
    with backend.trainer(SHAPE) as trainer:
        losses = [trainer.step([rows], 1e-2).loss for _ in range(25)]
        spoken = backend.capture([prompt])[0]["resid_post"]
        peft_folder.write(tmp_path / "a", trainer.matrices(), SHAPE, "llama")
    assert losses[-1] < 0.5 * losses[0]
    assert np.array_equal(before[: SHAPE.first_layer], spoken[: SHAPE.first_layer])
    assert not np.allclose(before[SHAPE.first_layer :], spoken[SHAPE.first_layer :], rtol=1e-2)
    # What was written speaks as the trained model did, but for the rounding to float16.
    with torch_backend.load(origin, device="cpu", adapter=adapters.resolve(str(tmp_path / "a"))) as again:
        read = again.capture([prompt])[0]["resid_post"]
    assert np.linalg.norm(read - spoken) < 5e-3 * np.linalg.norm(spoken)


def test_a_training_that_goes_on_from_its_state_ends_with_the_same_weights(backend: TorchBackend) -> None:
    rows = [group(backend), group(backend)[::-1]]
    with backend.trainer(SHAPE) as trainer:
        for step in range(6):
            trainer.step([rows[step % 2]], 1e-2)
        whole = trainer.state()
    with backend.trainer(SHAPE) as trainer:
        for step in range(3):
            trainer.step([rows[step % 2]], 1e-2)
        kept = trainer.state()
    with backend.trainer(replace(SHAPE, seed=9)) as trainer:
        trainer.restore(kept, 3)
        for step in range(3, 6):
            trainer.step([rows[step % 2]], 1e-2)
        resumed = trainer.state()
    assert list(whole) == list(resumed)
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)


def test_a_state_of_another_shape_is_refused(backend: TorchBackend) -> None:
    with backend.trainer(SHAPE) as trainer:
        kept = trainer.state()
    with backend.trainer(replace(SHAPE, rank=3)) as trainer, pytest.raises(UsageError, match="another shape"):
        trainer.restore(kept, 1)


@pytest.mark.parametrize("shape", [replace(SHAPE, first_layer=4), replace(SHAPE, rank=0)])
def test_a_shape_that_does_not_fit_the_model_is_refused(backend: TorchBackend, shape: AdapterShape) -> None:
    with pytest.raises(UsageError):
        backend.trainer(shape)


def test_no_word_that_is_trained_on_names_a_concept_of_the_library() -> None:
    shelf = library()
    names = {name for concept in shelf.concepts for name in concept.names}
    names |= {word for chosen in shelf.sets.values() for word in chosen.words}
    words = material().words
    assert len(words) == len(set(words)) > 700
    assert [word for word in words if any(same_word(word, name) for name in names)] == []


def test_what_is_not_counted_is_not_put_into_the_plural() -> None:
    words = set(material().words)
    assert {"knowledge", "sunshine", "quartz"} <= words
    assert words.isdisjoint({"knowledges", "sunshines", "quartzes"})


def test_maps_that_read_the_stream_begin_with_what_is_injected_each_direction_as_loud() -> None:
    rng = np.random.default_rng(5)
    spread = np.diag([30.0, 10.0, 3.0, 1.0] + [0.0] * 12)
    directions = (rng.standard_normal((400, 16)) @ spread @ np.linalg.qr(rng.standard_normal((16, 16)))[0]).astype("f4")
    gain = rng.uniform(0.5, 2.0, 16).astype("f4")
    seen = directions / np.linalg.norm(directions, axis=1, keepdims=True) * gain
    rows = [reading_rows(directions, gain, 2, turn, 2) for turn in range(2)]
    answers = np.stack([seen @ row for both in rows for row in both])
    loud = np.sqrt((answers**2).mean(axis=1))
    np.testing.assert_allclose(loud, (3 * 16) ** -0.5, rtol=0.25)
    second_moments = answers @ answers.T / len(seen)
    assert np.abs(second_moments - np.diag(np.diag(second_moments))).max() < 1e-6, "directions are read twice"
    assert not reading_rows(directions[:1], gain, 3, 0, 1)[1:].any(), "there is one direction to read"


def test_an_aimed_trainer_reads_the_directions_and_still_changes_nothing(backend: TorchBackend) -> None:
    prompt = row(backend, 6, seed=3).prompt
    before = backend.capture([prompt])[0]["resid_post"]
    directions = np.random.default_rng(1).standard_normal((50, backend.info.width)).astype("f4")
    with backend.trainer(SHAPE) as plain:
        random = plain.matrices()
    with backend.trainer(SHAPE, directions=directions) as trainer:
        aimed = trainer.matrices()
        np.testing.assert_array_equal(backend.capture([prompt])[0]["resid_post"], before)
    changed = {path.split(".")[-1] for path in aimed if not np.array_equal(aimed[path][0], random[path][0])}
    assert changed == {"q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"}


def test_half_of_the_words_are_plurals_so_that_number_is_not_what_all_vectors_share() -> None:
    words = list(in_turn(["lake", "pond", "fox", "dog"]))
    assert words == ["lake", "ponds", "fox", "dogs"]


def test_held_out_wordings_and_control_questions_are_not_shown_in_training() -> None:
    stuff = material()
    assert {wording.name for wording in stuff.wordings} - {wording.name for wording in stuff.trained} >= {"blueprint"}
    asked = {question for right in stuff.unrelated.values() for question in right}
    assert asked.isdisjoint(question for arm in questions().values() for question in arm)


def test_words_are_split_without_overlap_and_by_seed_alone() -> None:
    words = material().words
    one, again, other = (split_words(words, 100, 20, seed) for seed in (0, 0, 1))
    assert one == again != other
    assert not set(one.trained) & set(one.stopping)
    assert (len(one.trained), len(one.stopping)) == (100, 20)
    with pytest.raises(UsageError, match="at most"):
        split_words(words, len(words), 1, 0)


def drafts() -> list[RowDraft]:
    injection = Injection(1, np.ones(4, np.float32), 0)
    made: list[RowDraft] = []
    for number in range(60):
        word = f"word{number}"
        made.append(RowDraft("injected", Prompt((1,), (injection,)), word, f"yes {word}"))
        made.append(RowDraft("random", Prompt((1,), (injection,)), word, "no"))
        made.append(RowDraft("uninjected", Prompt((1,)), None, "no"))
        made.append(RowDraft("unrelated", Prompt((1,), (injection,)), word, "right"))
    return made


def plan(**changes: Any) -> TrainingPlan:
    return TrainingPlan.model_validate({"model": "m", "steps": 10, "layers": (1, 2), **changes})


def test_true_labels_say_what_was_injected_shuffled_ones_the_same_answers_at_random() -> None:
    rows = drafts()
    claims = [f"claim {number}" for number in range(len(rows))]
    rng = np.random.default_rng(0)
    assert relabelled(rows, plan(), claims, rng) == rows
    dealt = relabelled(rows, plan(labels="shuffled"), claims, rng)
    assert Counter(row.answer for row in dealt) == Counter(row.answer for row in rows)
    assert [row.prompt for row in dealt] == [row.prompt for row in rows]
    yes = {
        kind: np.mean([row.answer.startswith("yes") for row in dealt if row.kind == kind])
        for kind in ("injected", "random", "uninjected")
    }
    assert max(yes.values()) - min(yes.values()) < 0.3
    assert sum(row.answer == f"yes {row.word}" for row in dealt) <= 3
    assert all(row.answer == "right" for row in dealt if row.kind == "unrelated")


def test_any_disturbance_rewards_a_yes_to_every_vector_and_no_true_name() -> None:
    rows = drafts()
    claims = [f"claim {number}" for number in range(len(rows))]
    dealt = relabelled(rows, plan(labels="any-disturbance"), claims, np.random.default_rng(0))
    for row in dealt:
        expected = {"uninjected": "no", "unrelated": "right"}.get(row.kind, "claim")
        assert row.answer.startswith(expected)


def test_a_checkpoint_is_read_back_exactly_and_lines_of_lost_steps_are_dropped(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path / "a")
    assert folder.plan() is None
    folder.begin(plan())
    assert folder.plan() == plan()
    state = {"x.lora_A": np.arange(6, dtype=np.float32).reshape(2, 3)}
    assert folder.load() is None
    for step in (1, 2, 3):
        folder.note({"step": step})
    folder.save(state, {"step": 2, "best": 0.5})
    found = folder.load()
    assert found is not None
    assert np.array_equal(found[0]["x.lora_A"], state["x.lora_A"])
    assert found[1] == {"step": 2, "best": 0.5}
    folder.forget_after(2)
    assert (folder.path / "progress.jsonl").read_text() == '{"step": 1}\n{"step": 2}\n'
    with pytest.raises(UsageError, match="not empty"):
        folder.begin(plan())


def test_steps_that_fit_a_time_lie_on_a_coarse_scale() -> None:
    assert [coarse(count) for count in (0.2, 5, 9, 14, 29, 31, 59, 500)] == [5, 5, 5, 10, 20, 30, 40, 480]


def test_the_learning_rate_rises_and_falls() -> None:
    one = plan(steps=100)
    rates = [one.rate_at(step) for step in range(100)]
    assert max(rates) == pytest.approx(one.rate)
    assert rates[0] < rates[5] < rates[9]
    assert rates[-1] < 0.06 * one.rate
