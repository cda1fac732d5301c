"""Products with quantised weights on a CPU: the numbers, their digits, their gradient and the memory they take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from mlxintro.backends.base import Prompt
from mlxintro.backends.mlxlm import packed
from mlxintro.backends.mlxlm.packed import multiply_in_float32, unpacked
from tests.mlx_models import blocks_of, load

CPU, GPU = mx.Device(mx.DeviceType.cpu, 0), mx.Device(mx.DeviceType.gpu, 0)


@pytest.fixture(autouse=True)
def on_the_cpu() -> Any:
    with mx.stream(CPU):
        yield


def quantised(bits: int = 4, group: int = 32, *, dtype: Any = mx.float32, outputs: int = 40) -> nn.QuantizedLinear:
    generator = np.random.default_rng(bits)
    layer = nn.Linear(128, outputs)
    layer.weight = mx.array(generator.standard_normal((outputs, 128), np.float32))
    layer.bias = mx.array(generator.standard_normal(outputs, np.float32))
    layer.set_dtype(dtype)
    return layer.to_quantized(group_size=group, bits=bits)


def exact(array: mx.array) -> np.ndarray:
    return np.array(array.astype(mx.float32), np.float64)


def weights(layer: nn.QuantizedLinear) -> np.ndarray:
    scales, biases = (array.astype(mx.float32) for array in (layer.scales, layer.biases))
    return exact(mx.dequantize(layer.weight, scales, biases, group_size=layer.group_size, bits=layer.bits))


@pytest.mark.parametrize("group", [32, 64, 128])
@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
def test_weights_are_unpacked_to_the_very_numbers_that_mlx_unpacks_them_to(bits: int, group: int) -> None:
    layer = quantised(bits, group)
    assert np.array_equal(exact(unpacked(layer, slice(None))), weights(layer))
    assert np.array_equal(exact(unpacked(layer, slice(7, 19))), weights(layer)[7:19])


@pytest.mark.parametrize(("dtype", "digits"), [("float32", 1e-6), ("float16", 5e-4), ("bfloat16", 4e-3)])
@pytest.mark.parametrize("tokens", [1, 4, 5, 33])
def test_a_product_is_rounded_once_whatever_its_dtype_and_however_many_tokens(
    dtype: str, digits: float, tokens: int
) -> None:
    layer = quantised(dtype=getattr(mx, dtype))
    x = mx.array(np.random.default_rng(0).standard_normal((1, tokens, 128), np.float32)).astype(getattr(mx, dtype))
    wanted = exact(x) @ weights(layer).T + exact(layer.bias)
    multiply_in_float32(layer, CPU)
    found = layer(x)
    assert found.dtype == x.dtype
    assert np.linalg.norm(exact(found) - wanted) < digits * np.linalg.norm(wanted)


@pytest.mark.parametrize("tokens", [2, 50])
def test_a_head_that_is_the_embedding_is_multiplied_alike(tokens: int) -> None:
    head = nn.QuantizedEmbedding(300, 64, group_size=32, bits=8)
    x = mx.random.normal((tokens, 64))
    wanted, rows = exact(head.as_linear(x)), exact(head(mx.array([3, 1])))
    multiply_in_float32(head, CPU)
    np.testing.assert_allclose(exact(head.as_linear(x)), wanted, rtol=1e-5, atol=1e-5)
    assert np.array_equal(exact(head(mx.array([3, 1]))), rows)


def test_a_weight_in_many_parts_gives_the_product_and_gradient_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "_PART", 128 * 7)  # 40 outputs: five parts of 7 and one of 5.
    layer = quantised()
    multiply_in_float32(layer, CPU)
    generator = np.random.default_rng(1)
    x, towards = (generator.standard_normal(shape).astype(np.float32) for shape in ((2, 9, 128), (2, 9, 40)))
    np.testing.assert_allclose(
        exact(layer(mx.array(x))), x @ weights(layer).T + exact(layer.bias), rtol=1e-4, atol=1e-4
    )
    gradient = mx.grad(lambda x: (layer(x) * mx.array(towards)).sum())(mx.array(x))
    np.testing.assert_allclose(exact(gradient), towards @ weights(layer), rtol=1e-4, atol=1e-4)


def peak(computed: Callable[[mx.array], mx.array], x: mx.array, layers: list[nn.QuantizedLinear]) -> float:
    """Bytes that a computation takes at most, for a byte of its unpacked weights."""
    for layer in layers:
        multiply_in_float32(layer, CPU)
    mx.eval(x, [layer.parameters() for layer in layers])
    mx.synchronize()
    mx.clear_cache()
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    mx.eval(computed(x))
    return (mx.get_peak_memory() - before) / sum(4 * layer.weight.size * 32 / layer.bits for layer in layers)


def test_a_large_weight_is_unpacked_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "_PART", 128 * 128)
    wide = quantised(outputs=128 * 60)
    assert peak(wide, mx.ones((5, 128)), [wide]) < 0.25


def test_no_weight_stays_unpacked_until_the_gradient_comes() -> None:
    layers = [quantised(outputs=128) for _ in range(60)]

    def run(x: mx.array) -> mx.array:
        for layer in layers:
            x = layer(x) * 0.01
        return x.sum()

    assert peak(mx.grad(run), mx.ones((5, 128)), layers) < 0.09


def test_other_devices_and_other_layouts_keep_mlx_own_product() -> None:
    layer = quantised()
    multiply_in_float32(layer, GPU)
    assert type(layer) is nn.QuantizedLinear
    other = nn.Linear(64, 64).to_quantized(group_size=32, bits=4, mode="mxfp4")
    multiply_in_float32(other, CPU)
    assert type(other) is nn.QuantizedLinear


def test_a_quantised_model_reads_a_prompt_on_a_cpu_without_mlx_own_product(
    tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, counts = mx.quantized_matmul, []

    def counted(x: mx.array, *args: Any, **settings: Any) -> mx.array:
        counts.append(x.size // x.shape[-1])
        return own(x, *args, **settings)

    monkeypatch.setattr(mx, "quantized_matmul", counted)
    with load(tiny("llama"), device="cpu", quantize="4bit") as backend:
        assert any(isinstance(part, nn.QuantizedLinear) for block in blocks_of(backend) for part in block.modules())
        backend.capture([Prompt(tuple(range(5, 45)))])
    assert counts, "a few tokens are multiplied by it"
    assert max(counts) <= 4
