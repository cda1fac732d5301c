"""Applies a low-rank adapter to an mlx-lm model.

Float32 weights take the adapter in; others keep it beside them, as an mlx-lm LoRA layer, since a sum in 16 bits or a
second quantisation would lose most of a small adapter.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.tuner.lora import LoRALinear

from ..adapters import low_rank
from ..adapters.low_rank import LowRankMap
from ..adapters.sources import AdapterSource
from ..errors import ModelError


def apply(model: nn.Module, source: AdapterSource) -> None:
    """Put an adapter into a model that was loaded for it alone.

    Raises:
        ModelError: the adapter is damaged, of a kind that mlx-lm does not know, or does not fit the model.
    """
    modules = dict(model.named_modules())
    for path, one in low_rank.read(source).items():
        home, linear = _linear(modules, path, source)
        outputs, inputs = linear.weight.shape
        if isinstance(linear, nn.QuantizedLinear):
            inputs = inputs * 32 // linear.bits
        if (one.up.shape[0], one.down.shape[1]) != (outputs, inputs):
            raise ModelError(
                f"the adapter {source.name} is for a {path} of {one.down.shape[1]} inputs and {one.up.shape[0]} "
                f"outputs, and this model's has {inputs} and {outputs}: give the adapter of this model"
            )
        name = path.rpartition(".")[2]
        setattr(modules[home], name, _adapted(linear, one))


def _adapted(linear: Any, one: LowRankMap) -> nn.Module:
    layer = LoRALinear.from_base(linear, r=one.down.shape[0], scale=one.scale)
    layer.lora_a, layer.lora_b = mx.array(one.down.T), mx.array(one.up.T)
    if type(linear) is nn.Linear and linear.weight.dtype == mx.float32:
        fused: nn.Module = layer.fuse()
        return fused
    layer.freeze()
    return layer.eval()


def _linear(modules: dict[str, Any], path: str, source: AdapterSource) -> tuple[str, Any]:
    """Path of the parent and the linear map; families with several towers have a longer path here than in PyTorch."""
    tail = path[path.find("layers.") :] if "layers." in path else path
    found = [name for name in modules if name == path or name.endswith(f".{tail}")]
    found = [path] if path in found else found
    if len(found) != 1 or not isinstance(modules[found[0]], (nn.Linear, nn.QuantizedLinear)):
        raise ModelError(
            f"the adapter {source.name} changes {path}, and this model has no such linear map: give the adapter of "
            "this model"
        )
    return found[0].rpartition(".")[0], modules[found[0]]
