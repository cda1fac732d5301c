"""Patching an mlx-lm model leaves it as it was; what mlx-lm would run wrongly is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten
from mlx_lm.utils import load_model

from mlxintro.backends import sampling
from mlxintro.backends.base import OPERATIONS, SITES, Injection, Prompt, Request, Sampling
from mlxintro.backends.errors import UsageError
from mlxintro.backends.lanes import lay_out
from mlxintro.backends.mlxlm import backend as mlx_backend
from mlxintro.backends.mlxlm.backend import MLXBackend
from mlxintro.backends.mlxlm.numeric import choose, log_softmax
from mlxintro.backends.mlxlm.patch import MLXLane, patched, site_module
from tests.mlx_models import blocks_of, injected, load


@pytest.fixture
def model(tiny: Callable[[str], Path]) -> nn.Module:
    return load_model(tiny("llama"))[0]


@pytest.fixture
def backend(tiny: Callable[[str], Path]) -> Iterator[MLXBackend]:
    with load(tiny("llama")) as opened:
        yield opened


def weights_of(model: nn.Module) -> dict[str, np.ndarray[Any, Any]]:
    return {name: np.array(value) for name, value in tree_flatten(model.parameters())}


def unchanged(stream: mx.array) -> mx.array:
    return stream


def test_a_patched_block_is_the_same_object_with_the_same_attributes_and_parameters(model: nn.Module) -> None:
    block = model.layers[1]
    original, state = type(block), dict(vars(block))
    paths = [name for name, _ in tree_flatten(model.parameters())]
    attributes = {name: getattr(block, name) for name in ("use_sliding", "self_attn", "hidden_size")}
    with patched([(block, unchanged)]):
        assert model.layers[1] is block
        assert type(block) is not original
        assert isinstance(block, original)
        assert type(block).__name__ == original.__name__
        assert all(getattr(block, name) is value for name, value in attributes.items())
        assert [name for name, _ in tree_flatten(model.parameters())] == paths
    assert type(block) is original
    assert vars(block) == state


def test_a_hook_that_changes_nothing_changes_no_bit(model: nn.Module) -> None:
    tokens = mx.array([[5, 6, 7, 8]])
    before = np.array(model(tokens))
    with patched([(block, unchanged) for block in model.layers]):
        during = np.array(model(tokens))
    np.testing.assert_array_equal(during, before)
    np.testing.assert_array_equal(np.array(model(tokens)), before)


def test_a_hook_changes_what_its_block_hands_on_and_nothing_else(model: nn.Module) -> None:
    tokens = mx.array([[5, 6, 7, 8]])
    seen: list[np.ndarray[Any, Any]] = []

    def double(stream: mx.array) -> mx.array:
        seen.append(np.array(stream))
        return 2 * stream

    def look(stream: mx.array) -> mx.array:
        seen.append(np.array(stream))
        return stream

    with patched([(model.layers[0], double), (model.layers[1], look)]):
        model(tokens)
    by_hand = model.layers[1](mx.array(2 * seen[0]), "causal", None)
    np.testing.assert_allclose(seen[1], np.array(by_hand), rtol=1e-6, atol=1e-6)


def test_the_class_comes_back_after_an_exception(model: nn.Module) -> None:
    originals = [type(block) for block in model.layers]

    def fail(stream: mx.array) -> mx.array:
        raise RuntimeError("inside the forward pass")

    with pytest.raises(RuntimeError, match="inside"), patched([(model.layers[0], unchanged), (model.layers[2], fail)]):
        model(mx.array([[5]]))
    assert [type(block) for block in model.layers] == originals


def test_a_patch_that_cannot_be_completed_is_undone(model: nn.Module) -> None:
    original = type(model.layers[0])
    with pytest.raises(TypeError), patched([(model.layers[0], unchanged), (object(), unchanged)]):
        pass
    assert type(model.layers[0]) is original


def test_nested_patches_unwind_in_order(model: nn.Module) -> None:
    block = model.layers[0]
    original = type(block)
    with patched([(block, unchanged)]):
        first = type(block)
        with patched([(block, unchanged)]):
            assert isinstance(block, first)
        assert type(block) is first
    assert type(block) is original


def test_tuples_and_keyword_arguments_pass_through() -> None:
    class Pair(nn.Module):
        def __call__(self, x: mx.array, mask: str, cache: object = None) -> tuple[mx.array, str, object]:
            return x, mask, cache

    module, cache = Pair(), object()
    with patched([(module, lambda stream: stream + 1)]):
        output = module(mx.zeros(2), "causal", cache=cache)
    assert output[0].tolist() == [1, 1]
    assert output[1:] == ("causal", cache)


def test_nothing_is_patched_between_two_tokens(backend: MLXBackend) -> None:
    originals = [type(block) for block in blocks_of(backend)]
    during: list[list[type]] = []
    requests = [Request(injected(), Sampling(max_tokens=4))]
    list(backend.generate(requests, lambda _: during.append([type(block) for block in blocks_of(backend)])))
    assert during == [originals] * 4


def test_an_abandoned_generator_leaves_model_and_next_call_as_they_were(backend: MLXBackend) -> None:
    plain = Request(Prompt(injected().tokens), Sampling(max_tokens=6))
    weights = weights_of(backend._network.model)
    [fresh] = backend.generate([plain])
    running = backend.generate([Request(injected(), Sampling(max_tokens=1)), Request(injected(2), Sampling())])
    next(running)
    [again] = backend.generate([plain])
    del running
    [after] = backend.generate([plain])
    assert fresh.tokens == again.tokens == after.tokens
    for name, value in weights_of(backend._network.model).items():
        np.testing.assert_array_equal(value, weights[name], strict=True)


def test_an_exception_in_a_listener_leaves_the_model_as_it_was(backend: MLXBackend) -> None:
    originals = [type(block) for block in blocks_of(backend)]

    def fail(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(backend.generate([Request(injected())], fail))
    assert [type(block) for block in blocks_of(backend)] == originals


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16, mx.float16])
def test_lanes_compute_in_float32_and_keep_every_bit_outside_their_windows(dtype: mx.Dtype) -> None:
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(4, 8)).astype(np.float32)
    windows: list[tuple[int, int | None]] = [(1, 3), (0, None), (2, 5), (40, 41)]
    prompts = [
        Prompt(tuple(range(6)), (Injection(0, vector, *window, operation=operation),))
        for vector, window, operation in zip(vectors, windows, (*OPERATIONS, "add"), strict=True)
    ]
    stream = mx.array(generator.normal(size=(4, 6, 8))).astype(dtype)
    positions = np.tile(np.arange(6, dtype=np.int32), (4, 1))
    positions[1, 4:] = -1  # padding
    [[laid_out]] = lay_out(prompts, {"resid_post": 8}).values()
    lane = MLXLane(laid_out)
    after = lane.apply(stream, positions, lane.inside(positions))
    assert after.dtype == dtype
    before32, after32 = np.array(stream.astype(mx.float32)), np.array(after.astype(mx.float32))
    for row, (vector, (start, stop)) in enumerate(zip(vectors, windows, strict=True)):
        unit = vector / np.linalg.norm(vector)
        touched = 0
        for column, position in enumerate(positions[row]):
            old, new = before32[row, column], after32[row, column]
            if position >= start and (stop is None or position < stop):
                expected = [old + vector, old - (old @ unit) * unit, vector, old + vector][row]
                rounded = np.array(mx.array(expected).astype(dtype).astype(mx.float32))
                np.testing.assert_allclose(new, rounded, rtol=float(mx.finfo(dtype).eps), atol=1e-6)
                touched += 1
            else:
                np.testing.assert_array_equal(new, old)
        assert lane.tally(row).positions == touched


def test_attention_and_mlp_outputs_add_up_to_what_a_block_adds(tiny: Callable[[str], Path]) -> None:
    for family in ("llama", "qwen3", "gemma2", "gemma3"):
        with load(tiny(family)) as backend:
            [found] = backend.capture([Prompt(tuple(range(5, 25)))], sites=SITES)
        added = found["resid_post"][1:] - found["resid_post"][:-1]
        np.testing.assert_allclose(found["attn_out"][1:] + found["mlp_out"][1:], added, rtol=1e-4, atol=1e-4)


def test_sites_are_post_norms_only_where_the_norm_comes_after(tiny: Callable[[str], Path]) -> None:
    llama, gemma = (load_model(tiny(family))[0].layers[0] for family in ("llama", "gemma3"))
    assert site_module(llama, "attn_out") is llama.self_attn
    assert site_module(gemma, "attn_out") is gemma.post_attention_layernorm
    assert site_module(gemma, "mlp_out") is gemma.post_feedforward_layernorm


def test_the_sampler_draws_what_the_rule_draws() -> None:
    generator = np.random.default_rng(1)
    rows = 64
    logits = (4 * generator.normal(size=(rows, 500))).astype(np.float32)
    logits[:4, 7] = logits[:4, 3] = 50  # ties go to the lower id
    settings = [
        Sampling(temperature=heat, top_p=top)
        for heat, top in zip(
            generator.choice([0.0, 0.5, 1.0, 2.0], rows), generator.choice([0.3, 0.9, 1.0], rows), strict=True
        )
    ]
    draws = generator.random(rows)
    draws[-2:] = 0.0, np.nextafter(1, 0)
    expected = [
        sampling.choose(row, setting.temperature, setting.top_p, draw)
        for row, setting, draw in zip(logits, settings, draws, strict=True)
    ]
    assert choose(mx.array(logits), settings, draws).tolist() == expected


def test_a_closed_backend_says_so_and_closes_twice(tiny: Callable[[str], Path]) -> None:
    backend = load(tiny("llama"))
    backend.close()
    backend.close()
    with pytest.raises(UsageError, match="closed"):
        backend.capture([Prompt((5, 6))])


def test_log_probabilities_of_a_large_vocabulary_keep_their_digits() -> None:
    logits = np.random.default_rng(0).standard_normal((3, 49_153)).astype(np.float32) * 3
    exact = logits - np.log(np.exp(logits.astype(np.float64)).sum(-1, keepdims=True))
    np.testing.assert_allclose(np.array(log_softmax(mx.array(logits))), exact, atol=3e-6)


@pytest.mark.parametrize("top_p", [0.7, pytest.param(1.0, marks=pytest.mark.slow)])
def test_draws_from_a_large_vocabulary_are_those_of_the_reference(top_p: float) -> None:
    noise = np.random.default_rng(1)
    logits = noise.standard_normal((400, 49_153)).astype(np.float32) * 2
    draws = noise.random(400)
    chosen = choose(mx.array(logits), [Sampling(temperature=1.0, top_p=top_p)] * 400, draws)
    wanted = [sampling.choose(row, 1.0, top_p, draw) for row, draw in zip(logits, draws, strict=True)]
    # A draw within float32's resolution of a boundary may fall on its other side.
    assert np.mean(np.array(chosen) != wanted) <= 0.01


def test_memory_is_wired_while_the_model_is_open(tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [1000]

    def wire() -> int:
        limits.append(5000)
        return limits[-2]

    with load(tiny("llama")) as donor:
        network, info, tokenizer = donor._network, donor.info, donor.tokenizer
        monkeypatch.setattr(mlx_backend, "maybe_set_recommended_wired_limit", wire)
        monkeypatch.setattr(mx, "default_device", lambda: mx.gpu)
        monkeypatch.setattr(mx, "set_wired_limit", limits.append)
        backend = MLXBackend(network.model, tokenizer, info)
        assert limits == [1000, 5000]
        backend.close()
        backend.close()
        assert limits == [1000, 5000, 1000]


@pytest.mark.metal
@pytest.mark.skipif(not mx.metal.is_available(), reason="needs an Apple GPU")
def test_what_does_not_fit_into_an_apple_gpu_is_an_error_that_is_known(backend: MLXBackend) -> None:
    """Larger than any machine; where Metal does not say so, the process would be killed."""
    with pytest.raises(RuntimeError) as raised:
        mx.eval(mx.zeros((2**22, 2**22)) + 1)
    assert backend._exhausted(raised.value)
    assert len(list(backend.generate([Request(injected(), Sampling(max_tokens=2))]))) == 1


@pytest.mark.metal
@pytest.mark.skipif(not mx.metal.is_available(), reason="needs an Apple GPU")
def test_an_apple_gpu_says_what_the_cpu_says(tiny: Callable[[str], Path]) -> None:
    requests = [Request(injected(size=0.5), Sampling(max_tokens=8)) for _ in range(3)]
    said = []
    for device in ("gpu", "cpu"):
        with load(tiny("llama"), device=device, dtype="float32") as opened:
            said.append([reply.tokens for reply in opened.generate(requests)])
    assert said[0] == said[1]
