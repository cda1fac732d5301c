"""The trainer of an adapter, on both backends: the loss is that of the injected model, the gradient that of the loss,
what is trained is an adapter and nothing else, and PyTorch and MLX come to the same weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlx.utils import tree_flatten

from mlxintro.backends.adapters import low_rank, peft_folder
from mlxintro.backends.adapters import sources as adapters
from mlxintro.backends.adapters.beginning import reading_rows, telling_rows
from mlxintro.backends.base import Backend, Float32, Injection, Prompt
from mlxintro.backends.errors import InjectionError, UsageError
from mlxintro.backends.mlxlm import backend as mlx_backend
from mlxintro.backends.mlxlm.backend import MLXBackend
from mlxintro.backends.mlxlm.patch import Interventions
from mlxintro.backends.models.sources import read_folder
from mlxintro.backends.pytorch import backend as torch_backend
from mlxintro.backends.pytorch import training
from mlxintro.backends.pytorch.backend import TorchBackend
from mlxintro.backends.training import AdapterShape, StepReport, TrainingRow

SHAPE = AdapterShape(rank=2, alpha=8.0, first_layer=2)
LOWER = replace(SHAPE, first_layer=1, reads_from=2)
LOAD: dict[str, Callable[..., Backend]] = {"torch": torch_backend.load, "mlx": mlx_backend.load}


@pytest.fixture(params=LOAD)
def backend(request: pytest.FixtureRequest, tiny: Callable[[str], Path]) -> Iterator[Backend]:
    source = read_folder(tiny("llama"), name="llama", repository="tiny")
    with LOAD[request.param](source, device="cpu", dtype="float32") as loaded:
        yield loaded


def row_of(tail: int, *, seed: int, injected: bool = True) -> TrainingRow:
    """A prompt of twelve common tokens and some of its own, injected into from the twelfth on."""
    rng = np.random.default_rng(seed)
    common = np.random.default_rng(0).integers(5, 390, 12).tolist()
    tokens = (*common, *rng.integers(5, 390, tail).tolist())
    vector = (3 * rng.standard_normal(64)).astype(np.float32)
    injections = (Injection(seed % 2, vector, 12),) if injected else ()
    return TrainingRow(Prompt(tokens, injections), tuple(rng.integers(5, 390, 3 + seed % 3).tolist()))


def lengthened(row: TrainingRow, by: int) -> TrainingRow:
    """Put more tokens before a row."""
    more = tuple(np.random.default_rng(7).integers(5, 390, by).tolist())
    later = tuple(replace(one, start=one.start + by) for one in row.prompt.injections)
    return replace(row, prompt=Prompt((*more, *row.prompt.tokens), later))


def group() -> list[TrainingRow]:
    return [row_of(4 + seed, seed=seed, injected=seed != 2) for seed in range(5)]


def weights(backend: Backend) -> dict[str, Any]:
    if isinstance(backend, TorchBackend):
        return {name: value.numpy().copy() for name, value in backend.network.model.state_dict().items()}
    assert isinstance(backend, MLXBackend)
    return {name: np.array(value) for name, value in tree_flatten(backend._network.model.parameters())}


def test_the_loss_of_a_step_is_what_the_backend_scores_one_by_one_with_the_same_injections(
    backend: Backend,
) -> None:
    rows = group()
    scored = [backend.score([one.prompt], [[one.answer]])[0][0] for one in rows]
    expected = -float(np.concatenate(scored).mean())
    with backend.trainer(SHAPE) as trainer:
        report = trainer.step([rows[:3], rows[3:]], 0.0)
    assert report.loss == pytest.approx(expected, rel=1e-5)
    heavy = [replace(one, decision=3.0 if at == 1 else 1.0) for at, one in enumerate(rows)]
    weights = [3.0 if (at, token) == (1, 0) else 1.0 for at, one in enumerate(rows) for token in range(len(one.answer))]
    with backend.trainer(SHAPE) as trainer:
        weighted = trainer.step([heavy[:3], heavy[3:]], 0.0).loss
    assert weighted == pytest.approx(-float(np.average(np.concatenate(scored), weights=weights)), rel=1e-5)
    assert abs(weighted - expected) > 1e-3
    assert report.injections == 4
    assert report.positions == sum(
        len(one.prompt.tokens) + len(one.answer) - 1 - 12 for one in rows if one.prompt.injections
    )
    plain = [replace(one, prompt=Prompt(one.prompt.tokens)) for one in rows]
    without = -float(np.concatenate([backend.score([one.prompt], [[one.answer]])[0][0] for one in plain]).mean())
    assert abs(without - expected) > 1e-3


@pytest.mark.parametrize("backend", ["torch"], indirect=True)
def test_the_gradient_is_that_of_the_loss(backend: TorchBackend) -> None:
    """Against a central difference along one weight of B, with the loss taken from ``score``."""
    rows = group()
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
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    with backend.trainer(SHAPE) as trainer:
        before = trainer.state()
        monkeypatch.setattr(training, "hooked", lambda network, edits: nullcontext())
        monkeypatch.setattr(Interventions, "at", lambda injected, positions: nullcontext())
        with pytest.raises(InjectionError, match="should touch"):
            trainer.step([group()], 1e-2)
        after = trainer.state()
        assert all(np.array_equal(before[name], after[name]) for name in before)


def learns(backend: Backend) -> list[bool]:
    """Whether gradients are wanted of each weight; MLX asks for them by name."""
    model = backend.network.model if isinstance(backend, TorchBackend) else None
    return [parameter.requires_grad for parameter in model.parameters()] if model else []


def test_a_closed_trainer_leaves_the_model_bit_for_bit_as_it_was(backend: Backend) -> None:
    before, learnt = weights(backend), learns(backend)
    with backend.trainer(SHAPE) as trainer:
        for _ in range(3):
            trainer.step([group()], 1e-2)
    after = weights(backend)
    assert list(after) == list(before)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert learns(backend) == learnt
    assert not isinstance(backend, TorchBackend) or not hasattr(backend.network.model, "peft_config")


def test_an_adapter_above_a_layer_leaves_the_stream_up_to_there_alone_and_learns(
    backend: Backend, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    origin = read_folder(tiny("llama"), name="llama", repository="tiny")
    rows = group()
    prompt = rows[0].prompt
    before = backend.capture([prompt])[0]["resid_post"]
    with backend.trainer(SHAPE) as trainer:
        losses = [trainer.step([rows], 1e-2).loss for _ in range(25)]
        spoken = backend.capture([prompt])[0]["resid_post"]
        peft_folder.write(tmp_path / "a", trainer.matrices(), SHAPE, "llama")
    assert losses[-1] < 0.5 * losses[0]
    assert np.array_equal(before[: SHAPE.first_layer], spoken[: SHAPE.first_layer])
    assert not np.allclose(before[SHAPE.first_layer :], spoken[SHAPE.first_layer :], rtol=1e-2)
    # What was written speaks on either backend as the trained model did, but for the rounding to float16.
    streams = []
    for load in LOAD.values():
        with load(origin, device="cpu", dtype="float32", adapter=adapters.resolve(str(tmp_path / "a"))) as again:
            streams.append(again.capture([prompt])[0]["resid_post"])
    assert np.linalg.norm(streams[0] - spoken) < 5e-3 * np.linalg.norm(spoken)
    assert np.linalg.norm(streams[0] - streams[1]) < 1e-5 * np.linalg.norm(spoken)


def test_a_training_that_goes_on_from_its_state_ends_with_the_same_weights(backend: Backend) -> None:
    rows = [group(), group()[::-1]]
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


def test_a_state_of_another_shape_is_refused(backend: Backend) -> None:
    with backend.trainer(SHAPE) as trainer:
        kept = trainer.state()
    with backend.trainer(replace(SHAPE, rank=3)) as trainer, pytest.raises(UsageError, match="another shape"):
        trainer.restore(kept, 1)


@pytest.mark.parametrize("shape", [replace(SHAPE, first_layer=4), replace(SHAPE, rank=0)])
def test_a_shape_that_does_not_fit_the_model_is_refused(backend: Backend, shape: AdapterShape) -> None:
    with pytest.raises(UsageError):
        backend.trainer(shape)


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


def test_an_aimed_trainer_reads_the_directions_and_still_changes_nothing(backend: Backend) -> None:
    prompt = row_of(6, seed=3).prompt
    before = backend.capture([prompt])[0]["resid_post"]
    directions = np.random.default_rng(1).standard_normal((50, backend.info.width)).astype("f4")
    with backend.trainer(SHAPE) as plain:
        random = plain.matrices()
    with backend.trainer(SHAPE, directions=directions) as trainer:
        aimed = trainer.matrices()
        np.testing.assert_array_equal(backend.capture([prompt])[0]["resid_post"], before)
    changed = {path.split(".")[-1] for path in aimed if not np.array_equal(aimed[path][0], random[path][0])}
    assert changed == {"q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"}
    with backend.trainer(LOWER, directions=directions) as trainer:
        lower = trainer.matrices()
    assert set(aimed) < set(lower)
    for path, (reads, _) in lower.items():
        if path in aimed:
            np.testing.assert_array_equal(reads, aimed[path][0])
    with backend.trainer(replace(LOWER, reads_from=None)) as plain:
        below = {path: both for path, both in plain.matrices().items() if path not in aimed}
    assert below, "blocks below those that read what is injected begin at random"
    assert all(np.array_equal(lower[path][0], reads) for path, (reads, _) in below.items())


def test_a_trainer_begins_with_the_matrices_it_is_given_and_refuses_those_of_another_shape(
    backend: Backend,
) -> None:
    with backend.trainer(SHAPE) as trainer:
        for _ in range(2):
            trainer.step([group()], 1e-2)
        learnt = trainer.matrices()
        spoken = backend.capture([group()[0].prompt])[0]["resid_post"]
    with backend.trainer(replace(SHAPE, seed=4)) as trainer:
        trainer.begin_with(learnt)
        np.testing.assert_array_equal(backend.capture([group()[0].prompt])[0]["resid_post"], spoken)
        with pytest.raises(UsageError, match="higher rank"):
            trainer.begin_with({path: (down[[0, 1, 1]], up[:, [0, 1, 1]]) for path, (down, up) in learnt.items()})
        with pytest.raises(UsageError, match="higher rank"):
            trainer.begin_with({path: (down[:1], up) for path, (down, up) in learnt.items()})
    with backend.trainer(replace(LOWER, seed=4)) as trainer:
        trainer.begin_with(learnt)
        np.testing.assert_array_equal(backend.capture([group()[0].prompt])[0]["resid_post"], spoken)
        below = trainer.matrices()
    with backend.trainer(SHAPE) as trainer, pytest.raises(UsageError, match="other layers"):
        trainer.begin_with(below)


def test_the_last_rows_of_an_aimed_trainer_read_what_tells_prompts_apart(backend: Backend) -> None:
    rng = np.random.default_rng(2)
    directions, apart = (rng.standard_normal((n, backend.info.width)).astype("f4") for n in (50, 1))
    with backend.trainer(SHAPE, directions=directions, discriminants=apart) as trainer:
        aimed = {path.split("layers.")[-1]: down for path, (down, _) in trainer.matrices().items()}
    with backend.trainer(SHAPE, directions=directions) as trainer:
        without = {path.split("layers.")[-1]: down for path, (down, _) in trainer.matrices().items()}
    gains = {name.split("layers.")[-1]: value for name, value in weights(backend).items() if "layernorm" in name}
    for name, norm in (("2.self_attn.q_proj", "2.input_layernorm"), ("3.mlp.up_proj", "3.post_attention_layernorm")):
        # The stream comes multiplied by the gain, so what is read before it is nearly the discriminant itself.
        read = aimed[name][1] * gains[f"{norm}.weight"]
        assert read @ apart[0] / np.linalg.norm(read) / np.linalg.norm(apart[0]) > 0.99
        np.testing.assert_allclose(aimed[name][0], without[name][0], rtol=1e-5)


def test_a_gain_is_made_up_for_but_where_it_is_next_to_nothing() -> None:
    gain = np.array([2.0, 0.5, 1.0, 1e-4], np.float32)
    rows = telling_rows(np.ones((1, 4), np.float32), gain)
    np.testing.assert_allclose((rows * gain)[0, :3], 1.0, atol=0.06)
    assert abs(rows[0, 3]) < 0.1


def test_an_adapter_begins_a_training_of_a_higher_rank_and_answers_as_before(backend: Backend) -> None:
    prompt = row_of(6, seed=3).prompt
    with backend.trainer(SHAPE) as small:
        for _ in range(3):
            small.step([group()], 1e-2)
        learnt = small.matrices()
        expected = backend.capture([prompt])[0]["resid_post"]
    larger = replace(SHAPE, rank=4, alpha=16.0, seed=9)
    with backend.trainer(larger) as trainer:
        trainer.begin_with(learnt)
        np.testing.assert_allclose(backend.capture([prompt])[0]["resid_post"], expected, atol=1e-4)
        assert all(down[2:].any() for down, _ in trainer.matrices().values()), "further rows keep their start"


def five_steps(load: Callable[..., Backend], folder: Path, rows: list[list[TrainingRow]]) -> Any:
    """Reports and matrices of five steps, the first moments after the first one by place, and the trained stream."""
    directions = np.random.default_rng(1).standard_normal((50, 64)).astype("f4")
    source = read_folder(folder, name=folder.name, repository="tiny")
    with load(source, device="cpu", dtype="float32") as backend, backend.trainer(SHAPE, directions=directions) as made:
        begun = made.matrices()
        reports = [made.step(rows, 1e-2)]
        moments = {name: value for name, value in made.state().items() if name.endswith(("/exp_avg", "/m"))}
        reports += [made.step(rows, 1e-2) for _ in range(4)]
        return begun, reports, moments, made.matrices(), backend.capture([rows[0][0].prompt])[0]["resid_post"]


def far(a: Float32, b: Float32) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(a))


SLOW = [pytest.param(family, marks=pytest.mark.slow) for family in ("llama", "qwen2", "gemma2")]


@pytest.mark.parametrize("family", ["gemma3", *SLOW])
def test_both_backends_come_to_the_same_loss_gradient_and_weights(family: str, tiny: Callable[[str], Path]) -> None:
    folder = tiny(family)
    # Gemma 3 looks back 32 positions in every other layer: the common beginning of 40 reaches beyond them.
    rows = [lengthened(one, 28) for one in (row_of(4 + seed, seed=seed, injected=seed != 2) for seed in range(5))]
    one, other = (five_steps(load, folder, [rows[:3], rows[3:]]) for load in LOAD.values())
    for path, (down, up) in one[0].items():
        assert np.array_equal(down, other[0][path][0]), "a training begins alike on both"
        assert not up.any()
        assert not other[0][path][1].any()

    def told(report: StepReport) -> list[float]:
        return [report.loss, report.gradient]

    np.testing.assert_allclose([told(a) for a in one[1]], [told(b) for b in other[1]], rtol=1e-5)
    assert [a.positions for a in one[1]] == [b.positions for b in other[1]]
    assert one[1][-1].loss < 0.95 * one[1][0].loss
    theirs = {name.replace(".lora_a/m", ".lora_A").replace(".lora_b/m", ".lora_B"): m for name, m in other[2].items()}
    ours = {name.replace(".default.weight/exp_avg", ""): moment for name, moment in one[2].items()}
    assert set(ours) == set(theirs)
    gradients = [(ours[name], theirs[name].T) for name in ours if ".lora_B" in name]
    assert max(far(a, b) for a, b in gradients) < 1e-4
    trained = [(one[3][path][part], other[3][path][part]) for path in one[3] for part in (0, 1)]
    assert max(far(a, b) for a, b in trained) < 1e-4
    assert far(one[4], other[4]) < 1e-5


def test_a_quantised_model_keeps_its_packed_weights_and_learns_beside_them(
    tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    source = read_folder(tiny("llama"), name="llama", repository="tiny")
    with mlx_backend.load(source, device="cpu", quantize="4bit") as backend:
        rows, before = group(), weights(backend)
        with backend.trainer(SHAPE) as trainer:
            losses = [trainer.step([rows], 1e-2).loss for _ in range(15)]
            spoken = backend.capture([rows[0].prompt])[0]["resid_post"]
            peft_folder.write(tmp_path / "q", trainer.matrices(), SHAPE, "llama")
        assert all(np.array_equal(before[name], value) for name, value in weights(backend).items())
    assert losses[-1] < 0.7 * losses[0]
    adapter = adapters.resolve(str(tmp_path / "q"))
    with mlx_backend.load(source, device="cpu", quantize="4bit", adapter=adapter) as again:
        assert far(spoken, again.capture([rows[0].prompt])[0]["resid_post"]) < 5e-3
    assert {up.up.shape[1] for up in low_rank.read(adapter).values()} == {2}


def test_products_that_mlx_does_not_have_are_refused(tiny: Callable[[str], Path]) -> None:
    source = read_folder(tiny("llama"), name="llama", repository="tiny")
    with mlx_backend.load(source, device="cpu") as backend, pytest.raises(UsageError, match="--dtype bfloat16"):
        backend.trainer(SHAPE, products="bfloat16")
