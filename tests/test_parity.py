"""MLX and PyTorch, on the same weights in float32, are the same model: at every layer, and under injection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from mlxintro.backends.base import (
    OPERATIONS,
    SITES,
    Backend,
    Completion,
    Float32,
    Injection,
    Prompt,
    Request,
    Sampling,
    Site,
)
from mlxintro.backends.errors import PrerequisiteError
from mlxintro.backends.mlxlm import backend as mlx_backend
from mlxintro.backends.models.sources import read_folder, resolve
from mlxintro.backends.pytorch import backend as torch_backend
from tests.matrix import each_family

Pair = tuple[Backend, Backend]


@pytest.fixture(scope="module", params=each_family())
def pair(request: pytest.FixtureRequest, tiny: Callable[[str], Path]) -> Iterator[Pair]:
    """One tiny model on MLX and on PyTorch."""
    source = read_folder(tiny(request.param), name=request.param, repository="tiny")
    with mlx_backend.load(source) as mlx, torch_backend.load(source, device="cpu", dtype="float32") as torch:
        yield mlx, torch


@pytest.fixture(scope="module")
def embedded() -> Iterator[Pair]:
    """SmolLM2-135M-Instruct on MLX and on PyTorch."""
    try:
        source = resolve("smollm2", "mlx", dtype="float32")
    except PrerequisiteError as missing:
        pytest.skip(str(missing))
    with (
        mlx_backend.load(source, dtype="float32") as mlx,
        torch_backend.load(source, device="cpu", dtype="float32") as torch,
    ):
        yield mlx, torch


def prompt_of(length: int, *injections: Injection, seed: int = 0) -> Prompt:
    return Prompt(tuple(np.random.default_rng(seed).integers(5, 390, length).tolist()), injections)


def direction(width: int, seed: int, norm: float = 1.0) -> Float32:
    vector = np.random.default_rng(seed).normal(size=width)
    return (vector * norm / np.linalg.norm(vector)).astype(np.float32)


def distance(ours: Float32, theirs: Float32) -> float:
    """Largest relative distance of two activations, over layers and positions."""
    return float((np.linalg.norm(ours - theirs, axis=-1) / np.linalg.norm(theirs, axis=-1)).max())


def replies(backend: Backend, requests: list[Request]) -> list[Completion]:
    return sorted(backend.generate(requests), key=lambda completion: completion.index)


@pytest.mark.parametrize("site", SITES)
def test_activations_agree_at_every_layer_and_position(pair: Pair, site: Site) -> None:
    prompts = [prompt_of(length, seed=length) for length in (50, 3, 27)]
    ours, theirs = (backend.capture(prompts, sites=[site]) for backend in pair)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine[site].shape == other[site].shape
        assert distance(mine[site], other[site]) < 1e-5


def test_activations_agree_beyond_a_sliding_window(tiny: Callable[[str], Path]) -> None:
    source = read_folder(tiny("gemma3"), name="gemma3", repository="tiny")
    with mlx_backend.load(source) as mlx, torch_backend.load(source, device="cpu", dtype="float32") as torch:
        prompts = [prompt_of(length, seed=length) for length in (200, 150, 33)]
        ours, theirs = (backend.capture(prompts) for backend in (mlx, torch))
        for mine, other in zip(ours, theirs, strict=True):
            assert distance(mine["resid_post"], other["resid_post"]) < 1e-5
        requests = [Request(prompt, Sampling(max_tokens=40)) for prompt in prompts]
        assert [r.tokens for r in replies(mlx, requests)] == [r.tokens for r in replies(torch, requests)]


def test_greedy_tokens_agree_without_injection(pair: Pair) -> None:
    requests = [Request(prompt_of(length, seed=length), Sampling(max_tokens=24)) for length in (11, 30, 30, 4, 61)]
    ours, theirs = (replies(backend, requests) for backend in pair)
    assert [reply.tokens for reply in ours] == [reply.tokens for reply in theirs]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_greedy_tokens_and_proofs_agree_under_injection(pair: Pair, operation: str) -> None:
    mlx, _ = pair
    requests = []
    for row, length in enumerate((18, 33, 33, 7, 40, 26)):
        layer, site = row % mlx.info.layers, SITES[row % len(SITES)]
        vector = direction(mlx.info.width, row, norm=6.0)
        injections = [
            Injection(layer, vector, start=length // 2, stop=None, operation=operation, site=site),  # type: ignore[arg-type]
            Injection(2, vector, start=1, stop=length + 3, operation="add"),
        ]
        requests.append(Request(prompt_of(length, *injections[: 1 + row % 2], seed=row), Sampling(max_tokens=16)))
    ours, theirs = (replies(backend, requests) for backend in pair)
    assert [reply.tokens for reply in ours] == [reply.tokens for reply in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        for a, b in zip(mine.proofs, other.proofs, strict=True):
            assert (a.positions, a.first, a.last) == (b.positions, b.first, b.last)
            assert a.change == pytest.approx(b.change, rel=1e-4)
            assert a.relative_change == pytest.approx(b.relative_change, rel=1e-4)


def test_injections_change_the_tokens_that_agree(pair: Pair) -> None:
    """Guards the test above: equal tokens would mean nothing if injections did nothing."""
    mlx, torch = pair
    plain = prompt_of(33, seed=1)
    steered = Prompt(plain.tokens, (Injection(1, direction(mlx.info.width, 1, norm=40.0), start=10),))
    for backend in (mlx, torch):
        before, after = replies(backend, [Request(p, Sampling(max_tokens=16)) for p in (plain, steered)])
        assert before.tokens != after.tokens


def test_sampled_tokens_agree(pair: Pair) -> None:
    requests = [
        Request(prompt_of(20, seed=3), Sampling(max_tokens=16, temperature=heat, top_p=top, seed=seed))
        for seed, (heat, top) in enumerate([(0.7, 1.0), (1.0, 0.9), (1.3, 0.5), (0.0, 1.0), (1.0, 1.0)])
    ]
    ours, theirs = (replies(backend, requests) for backend in pair)
    assert [reply.tokens for reply in ours] == [reply.tokens for reply in theirs]


def test_scores_agree_under_injection(pair: Pair) -> None:
    mlx, _ = pair
    injected = Injection(1, direction(mlx.info.width, 5, norm=5.0), start=4)
    prompts = [prompt_of(20, injected, seed=1), prompt_of(9, seed=2)]
    continuations: list[list[tuple[int, ...]]] = [[(7,), (8,), (7, 9, 11)], [(300, 5)]]
    ours, theirs = (backend.score(prompts, continuations) for backend in pair)
    for mine, other in zip(chain(*ours), chain(*theirs), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)


def test_logit_lenses_agree(pair: Pair) -> None:
    mlx, torch = pair
    residuals = mlx.capture([prompt_of(12)])[0]["resid_post"]
    np.testing.assert_allclose(mlx.lens(residuals), torch.lens(residuals), rtol=1e-4, atol=1e-5)


def chat(backend: Backend, *injections: Injection) -> Prompt:
    messages = [{"role": "user", "content": "Explain step by step how bread is made, from the field to the table."}]
    return Prompt(backend.tokenizer.render(messages).tokens, injections)


@pytest.mark.slow
def test_embedded_model_activations_agree_at_all_layers(embedded: Pair) -> None:
    mlx, torch = embedded
    ours, theirs = (backend.capture([chat(mlx)])[0]["resid_post"] for backend in embedded)
    assert ours.shape[0] == 30
    assert distance(ours, theirs) < 1e-5
    assert mlx.tokenizer.render([{"role": "user", "content": "é\n"}]) == torch.tokenizer.render(
        [{"role": "user", "content": "é\n"}]
    )


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "tokens"), [((15,), 8), ((8, 15, 22), 32)], ids=("short", "long"))
def test_embedded_model_says_the_same_with_and_without_injection(
    embedded: Pair, layers: tuple[int, ...], tokens: int
) -> None:
    mlx, torch = embedded
    plain = chat(mlx)
    norms = np.linalg.norm(torch.capture([plain])[0]["resid_post"], axis=-1)
    prompts = [plain]
    for layer in layers:
        vector = direction(mlx.info.width, layer, norm=0.4 * float(np.median(norms[layer])))
        prompts.append(chat(mlx, Injection(layer, vector, start=len(plain.tokens) - 4)))
    requests = [Request(prompt, Sampling(max_tokens=tokens)) for prompt in prompts]
    ours, theirs = (replies(backend, requests) for backend in embedded)
    assert [reply.tokens for reply in ours] == [reply.tokens for reply in theirs]
    assert len({reply.tokens for reply in ours}) == len(prompts)
    assert len(ours[0].tokens) == tokens


@pytest.mark.slow
def test_four_bit_embedded_model_is_the_dequantised_one_up_to_rounding(embedded: Pair) -> None:
    """The 4-bit folder holds the same numbers as the float32 one.

    Its scales are float32, so only the order of additions differs: the activations must agree as closely as those of
    the two frameworks on float32 weights do.
    """
    mlx, torch = embedded
    source = resolve("smollm2", "mlx")
    prompt = Prompt(chat(mlx).tokens[:8], (Injection(10, direction(mlx.info.width, 3, norm=2.0), start=4),))
    with mlx_backend.load(source) as quantised:
        assert quantised.info.quantization == "4-bit (group 32)"
        ours = quantised.capture([prompt])[0]["resid_post"]
        theirs = torch.capture([prompt])[0]["resid_post"]
        assert distance(ours, theirs) < 1e-5
        [reply] = replies(quantised, [Request(prompt, Sampling(max_tokens=3))])
        [reference] = replies(torch, [Request(prompt, Sampling(max_tokens=3))])
        assert reply.tokens == reference.tokens
        assert reply.proofs[0].positions == reply.forwarded - 4
        assert reply.proofs[0].change == pytest.approx(2.0, rel=1e-3)
