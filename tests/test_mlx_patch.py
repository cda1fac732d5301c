"""Patching an mlx-lm model leaves it as it was; what mlx-lm would run wrongly is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten
from mlx_lm.utils import load_model

from mlxintro.backends import sampling
from mlxintro.backends.base import OPERATIONS, SITES, Completion, Injection, Prompt, Request, Sampling
from mlxintro.backends.errors import ModelError, OutOfMemory, UsageError
from mlxintro.backends.lanes import lay_out
from mlxintro.backends.mlxlm import backend as mlx_backend
from mlxintro.backends.mlxlm.backend import MLXBackend
from mlxintro.backends.mlxlm.cache import GroupedKVCache
from mlxintro.backends.mlxlm.numeric import choose, log_softmax
from mlxintro.backends.mlxlm.patch import MLXLane, find_blocks, patched, site_module
from mlxintro.backends.models.sources import read_folder
from tests.matrix import each_family


@pytest.fixture
def model(tiny: Callable[[str], Path]) -> nn.Module:
    return load_model(tiny("llama"))[0]


@pytest.fixture
def backend(tiny: Callable[[str], Path]) -> Iterator[MLXBackend]:
    with load(tiny("llama")) as opened:
        yield opened


def load(folder: Path, **settings: Any) -> MLXBackend:
    return mlx_backend.load(read_folder(folder, name=folder.name, repository="tiny"), **settings)


def blocks_of(backend: MLXBackend) -> list[nn.Module]:
    return list(backend._network.blocks)


def weights_of(model: nn.Module) -> dict[str, np.ndarray[Any, Any]]:
    return {name: np.array(value) for name, value in tree_flatten(model.parameters())}


def unchanged(stream: mx.array) -> mx.array:
    return stream


def injected(layer: int = 1, size: float = 5.0, **settings: Any) -> Prompt:
    vector = np.full(64, size, np.float32)
    return Prompt(tuple(range(5, 25)), (Injection(layer, vector, 3, **settings),))


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


def test_a_family_that_scales_its_branches_has_no_such_sites(
    tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with load(tiny("llama")) as backend:
        block = type(blocks_of(backend)[0])

        def scaled(self: Any, x: mx.array, mask: Any = None, cache: Any = None) -> mx.array:
            h = x + 0.22 * self.self_attn(self.input_layernorm(x), mask, cache)
            return h + 0.22 * self.mlp(self.post_attention_layernorm(h))

        monkeypatch.setattr(block, "__call__", scaled)
        with pytest.raises(ModelError, match="use the site resid_post"):
            backend.capture([Prompt((5, 6))], sites=["mlp_out"])


def test_a_model_without_a_list_of_blocks_is_named() -> None:
    class Recurrent(nn.Module):
        model_type = "strange"

    with pytest.raises(ModelError, match="strange"):
        find_blocks(Recurrent())


def test_heads_grouped_in_an_axis_of_their_own_get_a_mask_that_fits(tiny: Callable[[str], Path]) -> None:
    """mlx-lm's Gemma 2 broadcasts a mask per row over its heads; with two rows and two heads, silently."""
    with load(tiny("gemma2")) as backend:
        assert backend._network.padding is GroupedKVCache
        rows = [Request(Prompt(tuple(range(5, 5 + n))), Sampling(max_tokens=8)) for n in (9, 14)]
        together = {reply.index: reply.tokens for reply in backend.generate(rows)}
        alone = {index: next(iter(backend.generate([row]))).tokens for index, row in enumerate(rows)}
        assert together == alone


def test_rows_of_different_lengths_share_a_batch_where_the_model_can(tiny: Callable[[str], Path]) -> None:
    with load(tiny("gemma3")) as backend:
        assert backend._network.plan([5, 7, 5, 7, 7], 3) == [[0, 2, 1], [3, 4]]


def edited(folder: Path, target: Path, **changes: Any) -> Path:
    """A copy of a model folder with config.json changed; ``None`` removes a key."""
    shutil.copytree(folder, target)
    config = json.loads((target / "config.json").read_text())
    config = {key: value for key, value in {**config, **changes}.items() if value is not None}
    (target / "config.json").write_text(json.dumps(config))
    return target


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_rotary_base_that_mlx_lm_would_not_read_is_refused(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    missing = refusal(edited(tiny("llama"), tmp_path / "missing", rope_theta=None))
    assert "no rope_theta" in missing
    assert '"rope_theta": 50000' in missing
    disagreeing = refusal(edited(tiny("qwen2"), tmp_path / "other", rope_theta=1e6))
    assert "rope_theta is 1000000" in disagreeing
    local = refusal(edited(tiny("gemma3"), tmp_path / "local", rope_local_base_freq=5e4))
    assert "rope_local_base_freq" in local


def test_a_rotary_scaling_that_mlx_lm_would_not_read_is_refused(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    scaled = {"rope_type": "linear", "factor": 4.0, "rope_theta": 50_000.0}
    assert "rope_scaling" in refusal(edited(tiny("llama"), tmp_path / "unread", rope_parameters=scaled))
    with load(edited(tiny("llama"), tmp_path / "read", rope_parameters=scaled, rope_scaling=scaled)) as backend:
        assert backend._network.blocks[0].self_attn.rope.scale == 0.25


def test_qwen3_reads_rope_parameters_by_itself(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    with load(edited(tiny("qwen3"), tmp_path / "nested", rope_theta=None)) as backend:
        assert backend._network.blocks[0].self_attn.rope.base == 50_000


def test_a_sliding_window_that_mlx_lm_ignores_bounds_the_context(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    with load(edited(tiny("mistral"), tmp_path / "mistral", sliding_window=32)) as backend:
        assert backend.info.context == 32
        with pytest.raises(UsageError, match="context of 32"):
            backend.capture([Prompt(tuple(range(40)))])
    with load(tiny("gemma3")) as backend:
        assert backend.info.context == 512


def test_what_mlx_lm_cannot_load_is_one_line(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    assert "nosuch" in refusal(edited(tiny("llama"), tmp_path / "type", model_type="nosuch"))
    assert "says 5 layers, its weights hold 4" in refusal(edited(tiny("llama"), tmp_path / "l", num_hidden_layers=5))
    assert "another form" in refusal(edited(tiny("llama"), tmp_path / "shape", intermediate_size=160))
    assert "'hidden_size'" in refusal(edited(tiny("llama"), tmp_path / "key", hidden_size=None))
    corrupt = edited(tiny("llama"), tmp_path / "corrupt")
    data = (corrupt / "model.safetensors").read_bytes()
    (corrupt / "model.safetensors").write_bytes(data[:100])
    assert "damaged or cut short" in refusal(corrupt)
    (corrupt / "model.safetensors").write_bytes(data[: len(data) // 2])
    assert "again" in refusal(corrupt)


def test_settings_that_do_not_exist_are_named(tiny: Callable[[str], Path]) -> None:
    for settings in ({"dtype": "int8"}, {"device": "tpu"}, {"quantize": "3bit"}):
        with pytest.raises(UsageError, match=str(next(iter(settings.values())))):
            load(tiny("llama"), **settings)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("quantize", [None, "4bit"])
def test_the_stream_has_the_dtype_that_was_asked_for(
    tiny: Callable[[str], Path], dtype: str, quantize: str | None
) -> None:
    with load(tiny("qwen2"), dtype=dtype, quantize=quantize) as backend:
        assert backend.info.dtype == dtype
        assert backend.info.quantization == ("4-bit (group 64)" if quantize else "none")
        [reply] = backend.generate([Request(injected(), Sampling(max_tokens=3))])
        assert reply.proofs[0].positions == reply.forwarded - 3


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


def test_a_model_with_recurrent_state_gives_the_same_replies_in_a_batch(tiny: Callable[[str], Path]) -> None:
    """Mamba's cache has no positions and no padding: rows of one length share it, others do not."""
    from mlx_lm.models.mamba import Model, ModelArgs

    mx.random.seed(0)
    model = Model(
        ModelArgs(
            model_type="mamba",
            vocab_size=448,
            hidden_size=64,
            intermediate_size=128,
            state_size=8,
            num_hidden_layers=3,
            conv_kernel=4,
            use_bias=False,
            use_conv_bias=True,
            time_step_rank=4,
        )
    )
    with load(tiny("llama")) as llama:
        backend = MLXBackend(model, llama.tokenizer, replace(llama.info, layers=3), prefill_chunk=5)
        assert backend._network.padding is None
        assert backend._network.plan([5, 7, 5, 7, 7], 2) == [[0, 2], [1, 3], [4]]
        texts = [tuple(range(5, 5 + length)) for length in (12, 12, 17)]
        vector = np.full(64, 0.5, np.float32)
        rows = [
            Request(Prompt(text, (Injection(1, size * vector, 7),)), Sampling(max_tokens=8))
            for text, size in zip(texts, (1, -3, 1), strict=True)
        ]
        together = {reply.index: reply for reply in backend.generate(rows)}
        for index, row in enumerate(rows):
            [alone] = backend.generate([row])
            assert together[index].tokens == alone.tokens
            assert together[index].proofs[0].positions == len(row.prompt.tokens) - 7 + 7


def test_log_probabilities_of_a_large_vocabulary_keep_their_digits() -> None:
    logits = np.random.default_rng(0).standard_normal((3, 49_153)).astype(np.float32) * 3
    exact = logits - np.log(np.exp(logits.astype(np.float64)).sum(-1, keepdims=True))
    np.testing.assert_allclose(np.array(log_softmax(mx.array(logits))), exact, atol=3e-6)


def test_draws_from_a_large_vocabulary_are_those_of_the_reference() -> None:
    noise = np.random.default_rng(1)
    logits = noise.standard_normal((400, 49_153)).astype(np.float32) * 2
    draws = noise.random(400)
    for top_p in (1.0, 0.7):
        chosen = choose(mx.array(logits), [Sampling(temperature=1.0, top_p=top_p)] * 400, draws)
        wanted = [sampling.choose(row, 1.0, top_p, draw) for row, draw in zip(logits, draws, strict=True)]
        # A draw within float32's resolution of a boundary may fall on its other side.
        assert np.mean(np.array(chosen) != wanted) <= 0.01


@pytest.mark.parametrize("family", each_family("llama", "gemma2", "gemma3"))
@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_rows_that_enter_a_running_batch_say_what_they_say_alone(
    tiny: Callable[[str], Path], family: str, temperature: float
) -> None:
    """Lengths on both sides of Gemma 3's window of 32, so that its rotating caches have turned when rows enter."""
    noise = np.random.default_rng(3)
    requests = []
    for row in range(11):
        length = int(noise.integers(4, 60))
        text = tuple(range(5, 9)) + tuple(noise.integers(5, 390, length).tolist())
        vector = noise.normal(size=64).astype(np.float32)
        injections = (Injection(row % 4, vector, 4 + row % 3, stop=None if row % 2 else length + 6),)
        sampling = Sampling(max_tokens=int(noise.integers(2, 50)), temperature=temperature, seed=row)
        requests.append(Request(Prompt(text, injections), sampling))
    with load(tiny(family), batch_size=3) as backend:
        together = {reply.index: reply for reply in backend.generate(requests)}
        for index, request in enumerate(requests):
            [alone] = backend.generate([request])
            assert together[index].tokens == alone.tokens
            for ours, theirs in zip(together[index].proofs, alone.proofs, strict=True):
                assert (ours.positions, ours.first, ours.last) == (theirs.positions, theirs.first, theirs.last)
                assert ours.change == pytest.approx(theirs.change, rel=1e-4)


def test_what_a_call_has_in_common_is_read_once(tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with load(tiny("llama"), batch_size=2) as backend:
        kind = type(backend._network.model)
        assert backend._network.padding is not None
        read: list[tuple[int, ...]] = []
        original = kind.__call__

        def counted(self: Any, inputs: mx.array, *args: Any, **kwargs: Any) -> mx.array:
            read.append(inputs.shape)
            return original(self, inputs, *args, **kwargs)

        monkeypatch.setattr(kind, "__call__", counted)
        texts = [(*range(5, 35), 40 + row, 50, 51) for row in range(6)]
        list(backend.generate([Request(Prompt(text), Sampling(max_tokens=1)) for text in texts]))
        # 30 tokens once; of the other three, two are read and the last is fed, in three batches of two.
        assert read == [(1, 30), *[(2, 2), (2, 1)] * 3]
        read.clear()
        backend.score([Prompt(text) for text in texts], [[(7,)]] * 6)
        assert read == [(1, 30), *[(2, 2), (2, 1)] * 3]


def test_a_reply_costs_no_forward_pass_more_than_its_tokens(
    tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with load(tiny("llama")) as backend:
        kind = type(backend._network.model)
        passes: list[int] = []
        original = kind.__call__

        def counted(*args: Any, **kwargs: Any) -> Any:
            passes.append(1)
            return original(*args, **kwargs)

        monkeypatch.setattr(kind, "__call__", counted)
        [reply] = backend.generate([Request(Prompt((5, 6, 7)), Sampling(max_tokens=6))])
        assert reply.finish == "length"
        # Two tokens of the prompt, its last one, and five of the reply: the sixth is never fed.
        assert len(passes) == 1 + 1 + 5


def test_rows_that_overflow_fail_and_the_others_finish(tiny: Callable[[str], Path]) -> None:
    fine = injected(size=1.0)
    # One of them alone stays finite: its norm overflows to infinity, and the stream over it is 0.
    broken = replace(fine, injections=injected(1, 3e38).injections + injected(2, 3e38).injections)
    with load(tiny("llama")) as backend:
        running = backend.generate([Request(prompt, Sampling(max_tokens=3)) for prompt in (fine, broken, fine)])
        replies = [next(running), next(running)]
        assert sorted(reply.index for reply in replies) == [0, 2]
        with pytest.raises(ModelError, match="row 1 of 3"):
            next(running)


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


def test_no_reply_is_handed_out_before_the_device_has_confirmed_what_it_rests_on(
    backend: MLXBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Metal may say only after tokens were read that the step which made them failed."""

    def fail() -> None:
        raise RuntimeError("[METAL] Command buffer execution failed: Insufficient Memory")

    monkeypatch.setattr(mx, "synchronize", fail)
    handed_out: list[Completion] = []
    with pytest.raises(OutOfMemory):
        handed_out.extend(backend.generate([Request(injected(), Sampling(max_tokens=3))] * 2))
    assert handed_out == []


def test_rows_that_end_together_wait_for_the_device_once(backend: MLXBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[int] = []
    synchronize = mx.synchronize

    def counted(*device: mx.Device) -> None:
        waits.append(1)
        synchronize(*device)

    monkeypatch.setattr(mx, "synchronize", counted)
    replies = list(backend.generate([Request(injected(), Sampling(max_tokens=5))] * 4))
    assert len(waits) == len({len(reply.tokens) for reply in replies})


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
