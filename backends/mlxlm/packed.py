"""Multiplies tokens with quantised weights on a CPU, in float32.

MLX's product with packed weights on a CPU unpacks a weight again for every token, and sums in the dtype of its input,
which in bfloat16 is 3 % off. So for the many tokens of a prompt, or of rows decoded together, a part of the weight is
unpacked once and BLAS multiplies; and whatever the dtype, the sums are float32's, as on Metal. The model keeps its
packed weights. Nothing of this is meant for Metal, which has kernels of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mlx.core as mx
import mlx.nn as nn

_FEW = 4
"""Up to so many tokens MLX's own product is as fast."""
_PART = 2**22
"""Numbers that are unpacked at a time: 16 MiB in float32, however large a head is."""


def multiply_in_float32(model: nn.Module, device: Any) -> None:
    """Let the quantised layers of a model multiply as this module says, if it runs on a CPU.

    Layers keep their identity, weights and paths, as under ``patch.patched``; only their class is another one. Layers
    that are not affinely quantised stay as they are.

    Args:
        model: one that nobody else uses.
        device: MLX device it runs on.
    """
    if device.type != mx.DeviceType.cpu:
        return
    for _, module in model.named_modules():
        if type(module) in _KINDS and module.mode == "affine":
            module.__class__ = _KINDS[type(module)]


class _Float32Linear(nn.QuantizedLinear):  # type: ignore[misc]
    """Computes ``QuantizedLinear``. The instance stays what it was in all but its class."""

    def __call__(self, x: mx.array) -> mx.array:
        y = _product(self, x)
        return y + self["bias"] if "bias" in self else y


class _Float32Embedding(nn.QuantizedEmbedding):  # type: ignore[misc]
    """Computes ``QuantizedEmbedding`` where the embedding is the head as well."""

    def as_linear(self, x: mx.array) -> mx.array:
        return _product(self, x)


_KINDS: dict[type, type] = {nn.QuantizedLinear: _Float32Linear, nn.QuantizedEmbedding: _Float32Embedding}


def _product(layer: Any, x: mx.array) -> mx.array:
    """(..., inputs) -> (..., outputs), in the dtype of the input."""
    tokens = x.reshape(-1, x.shape[-1]).astype(mx.float32)
    found = _packed(layer, tokens) if len(tokens) <= _FEW else _by_parts(layer)(tokens)
    return found.reshape(*x.shape[:-1], -1).astype(x.dtype)


def _packed(layer: Any, tokens: mx.array) -> mx.array:
    return mx.quantized_matmul(
        tokens,
        layer["weight"],
        layer["scales"].astype(mx.float32),
        layer["biases"].astype(mx.float32),
        group_size=layer.group_size,
        bits=layer.bits,
    )


def _by_parts(layer: Any) -> Callable[[mx.array], Any]:
    """A function that multiplies (tokens, inputs) with one part of the weight after the other."""
    outputs = len(layer["weight"])
    step = max(1, _PART * layer.bits // (32 * layer["weight"].shape[1]))
    parts = [slice(first, min(first + step, outputs)) for first in range(0, outputs, step)]

    @mx.custom_function
    def product(tokens: mx.array) -> mx.array:
        found: list[mx.array] = []
        for part in parts:
            found.append(tokens @ unpacked(layer, part, after=found[-1:]).T)
        return mx.concatenate(found, axis=-1)

    @product.vjp
    def gradient(_: mx.array, cotangent: mx.array, output: mx.array) -> mx.array:
        """Unpack once more: held until the gradient comes, all layers together would be the whole model unpacked."""
        through = [cotangent[:, part] @ unpacked(layer, part, after=[cotangent]) for part in parts]
        return sum(through[1:], through[0])

    return product


def unpacked(layer: Any, outputs: slice, *, after: Sequence[mx.array] = ()) -> mx.array:
    """Return what ``mx.dequantize`` does, several times as fast on a CPU.

    Args:
        layer: affinely quantised, of any number of bits up to 8.
        outputs: which rows of its weight.
        after: what is computed first. MLX would unpack all parts of a large weight before it uses the first.

    Returns:
        float32 (outputs, inputs).
    """
    held = [layer[name] for name in ("weight", "scales", "biases")]
    words, scales, biases = (array[outputs] for array in (mx.depends(held, list(after)) if after else held))
    scales, biases = (array.astype(mx.float32)[..., None] for array in (scales, biases))
    numbers = _numbers(words, layer.bits).reshape(*scales.shape[:-1], layer.group_size)
    weight: mx.array = (numbers.astype(mx.float32) * scales + biases).reshape(len(scales), -1)
    return weight


def _numbers(words: mx.array, bits: int) -> mx.array:
    """uint32 (outputs, inputs * bits / 32) -> uint8 (outputs, inputs): each row is a stream of bits, lowest first."""
    streams = words.view(mx.uint8)
    if bits == 8:
        return streams
    # Eight numbers fill as many bytes as a number has bits.
    streams = streams.reshape(len(words), -1, bits)
    columns = []
    for number in range(8):
        byte, offset = divmod(number * bits, 8)
        column = streams[..., byte] >> offset
        if offset + bits > 8:
            column = column | (streams[..., byte + 1] << (8 - offset))
        columns.append(column & (2**bits - 1))
    return mx.stack(columns, axis=-1)
