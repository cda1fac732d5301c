"""Measures the inputs of ``backends.machine.roofline`` with MLX."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from ..machine.roofline import Roofline, shortest
from .batch import MLXNetwork

_SIDE = {"gpu": 4096, "cpu": 512}
"""Rows of the square matrices that are multiplied: a fraction of a second's work on either."""
_COLUMNS = 4096
_MOST = 2**30
"""Bytes read at a time. Weights that fit into a cache are read from there, so the buffer is no larger than they are."""


def measure(network: MLXNetwork, free: int, dtype: Any) -> Roofline | None:
    """Count what one token costs and time this device at it.

    Args:
        free: bytes of memory the device has left; a quarter of it is used at most.
        dtype: MLX dtype of the residual stream.

    Returns:
        ``None`` for a mixture of experts, where a token does not meet all weights, and for a model without keys and
        values in its cache.
    """
    modules = [module for block in network.blocks for _, module in block.named_modules()]
    head = _head(network.model)
    cache_bytes = _cache_bytes(network)
    if head is None or cache_bytes is None or any("Switch" in type(module).__name__ for module in modules):
        return None
    parts = [*network.blocks, head]
    weight_bytes = sum(array.nbytes for part in parts for _, array in tree_flatten(part.parameters()))
    size = min(weight_bytes, _MOST, free // 4) // 4
    matrix, vector = mx.ones((max(1, size // _COLUMNS), _COLUMNS)), mx.ones((_COLUMNS,))
    side = _SIDE[(network.device or mx.default_device()).type.name]
    square, product = mx.random.normal((side, side)).astype(dtype), _product(modules, side, dtype)
    mx.eval(matrix, vector, square)
    reading = min(shortest(lambda: mx.eval(matrix.sum())), shortest(lambda: mx.eval(matrix @ vector)))
    rate = 2 * side**3 / shortest(lambda: mx.eval(product(square)))
    return Roofline(
        bandwidth=matrix.nbytes / reading,
        matmul=rate,
        weight_bytes=weight_bytes,
        block_parameters=sum(_multiplied(module) for module in modules),
        head_parameters=_multiplied(head),
        cache_bytes=cache_bytes,
    )


def _product(modules: list[nn.Module], side: int, dtype: Any) -> Any:
    """A square layer of the kind the blocks use: quantised as most of theirs is, or plain."""
    packed = next((module for module in modules if isinstance(module, nn.QuantizedLinear)), None)
    layer = nn.Linear(side, side, bias=False)
    if packed is not None:
        layer = layer.to_quantized(group_size=packed.group_size, bits=packed.bits, mode=packed.mode)
        layer.__class__ = type(packed)  # On a CPU the model's own way to multiply.
    layer.set_dtype(dtype)
    mx.eval(layer.parameters())
    return layer


def _multiplied(module: nn.Module) -> int:
    """Weights of a matrix, in numbers, however they are packed."""
    if isinstance(module, (nn.QuantizedLinear, nn.QuantizedEmbedding)):
        rows, words = module.weight.shape
        return int(rows * words * 32 // module.bits)
    return int(module.weight.size) if isinstance(module, (nn.Linear, nn.Embedding)) else 0


def _head(model: nn.Module) -> Any:
    """The unembedding: a layer of its own, or the embedding once more."""
    named = {name.rpartition(".")[2]: module for name, module in model.named_modules()}
    return named.get("lm_head", named.get("embed_tokens"))


def _cache_bytes(network: MLXNetwork) -> int | None:
    """Keys and values of one position, off a cache that holds one."""
    caches = network.caches()
    network.model(mx.array([[0]]), cache=caches)
    total = 0
    for cache in caches:
        held = tree_flatten([getattr(cache, "keys", None), getattr(cache, "values", None)])
        for _, array in held:
            if not isinstance(array, mx.array) or array.ndim != 4:
                return None
            total += array.shape[1] * array.shape[3] * array.itemsize
    return total
