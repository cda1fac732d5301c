"""From a folder to an mlx-lm model: loads it, measures it, and refuses what mlx-lm would run wrongly.

mlx-lm takes what it knows from config.json and ignores the rest in silence. Where that changes what is computed, the
folder is refused with the line that mends it, or the usable context is cut to where the computation is the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.cache import RotatingKVCache, make_prompt_cache
from mlx_lm.utils import load_model

from ..errors import ModelError, UsageError
from ..models.sources import ModelSource
from .patch import patched

DTYPES = {"float32": mx.float32, "bfloat16": mx.bfloat16, "float16": mx.float16}


def check_rope(settings: Mapping[str, Any], model: nn.Module) -> None:
    """Refuse a configuration whose rotary embedding mlx-lm has read differently from how it is written.

    transformers 5 writes ``rope_parameters`` (for Gemma 3 one per layer type). Most families of mlx-lm read only
    ``rope_theta``, ``rope_local_base_freq`` and ``rope_scaling`` and fall back to defaults without a word, which turns
    text into garbage. So what mlx-lm has parsed is compared with what the file says.

    Args:
        settings: config.json, or its ``text_config``.
        model: built from it.

    Raises:
        ModelError: they differ.
    """
    owner = getattr(model, "language_model", model)
    args = getattr(owner, "args", None)
    written = settings.get("rope_parameters")
    if args is None or not isinstance(written, Mapping):
        return
    by_type = {name: part for name, part in written.items() if isinstance(part, Mapping)}
    main = by_type.get("full_attention", written)
    local = by_type.get("sliding_attention", {})
    for key, part in (("rope_theta", main), ("rope_local_base_freq", local)):
        theta, read = part.get("rope_theta"), getattr(args, key, None)
        if theta is not None and read is not None and float(read) != float(theta):
            stated = f"its {key} is {settings[key]}" if key in settings else f"it has no {key}"
            raise ModelError(
                f"config.json says rope_parameters.rope_theta {theta:g} but {stated}, and mlx-lm would use {read:g}: "
                f'write "{key}": {theta:g} at the top level of config.json'
            )
    kind = main.get("rope_type", main.get("type", "default"))
    scaling = getattr(args, "rope_scaling", None) or getattr(args, "rope_parameters", None) or {}
    read_kind = scaling.get("rope_type", scaling.get("type", "default")) if "full_attention" not in scaling else kind
    if kind != read_kind:
        raise ModelError(
            f"config.json says rope_parameters.rope_type {kind} but mlx-lm would use {read_kind}: "
            'write "rope_scaling" with the same settings at the top level of config.json'
        )


def usable_context(settings: Mapping[str, Any], model: nn.Module) -> int:
    """How many positions mlx-lm computes as the model was meant.

    mlx-lm runs Gemma 2 and Mistral 7B v0.1 without their sliding windows. Within a window that is the same model;
    past it, it is another.
    """
    context = int(settings.get("max_position_embeddings") or 2**31 - 1)
    window = settings.get("sliding_window")
    if window is None or settings.get("use_sliding_window") is False:
        return context
    if any(isinstance(cache, RotatingKVCache) for cache in make_prompt_cache(model)):
        return context
    types = settings.get("layer_types")
    if isinstance(types, list) and "sliding_attention" not in types:
        return context
    return min(context, int(window))


def find_device(name: str | None) -> Any:
    if name is None:
        return None
    if name not in ("cpu", "gpu"):
        raise UsageError(f"MLX has no device {name}: choose gpu or cpu")
    kind = mx.DeviceType.cpu if name == "cpu" else mx.DeviceType.gpu
    if mx.device_count(kind) == 0:
        raise UsageError(f"MLX finds no {name} on this machine: leave --device out")
    return mx.Device(kind, 0)


def one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 160 else text[:157] + "..."


def build(source: ModelSource) -> nn.Module:
    """Build the model; weights stay on disk until they are evaluated."""
    kind = source.config.get("model_type")
    try:
        model, _ = load_model(source.folder, lazy=True)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, OSError) as error:
        if "not supported" in str(error):
            reason = f"mlx-lm does not know the architecture {kind}: use --backend torch"
        else:
            reason = f"mlx-lm cannot load {source.folder} ({one_line(error)}): fetch it again or use --backend torch"
        raise ModelError(reason) from error
    return model


def quantise(model: nn.Module, wanted: str, source: ModelSource) -> str:
    digits = re.fullmatch(r"(4|8)-?bit", wanted)
    if digits is None:
        raise UsageError(f"MLX cannot quantise to {wanted}: choose 4bit or 8bit")
    if source.quantization != "none":
        raise UsageError(f"{source.name} is {source.quantization} already: leave the quantisation out")
    bits, group = int(digits[1]), 64
    nn.quantize(
        model,
        group_size=group,
        bits=bits,
        class_predicate=lambda _, part: hasattr(part, "to_quantized") and part.weight.shape[-1] % group == 0,
    )
    return f"{bits}-bit (group {group})"


def measure(model: nn.Module, blocks: Sequence[nn.Module]) -> tuple[int, str, int]:
    """Width and dtype of the residual stream, and vocabulary size, off a forward call that is never evaluated."""
    seen: list[mx.array] = []

    def look(stream: mx.array) -> mx.array:
        seen.append(stream)
        return stream

    with patched([(blocks[0], look)]):
        logits = model(mx.array([[0]]))
    return seen[0].shape[-1], str(seen[0].dtype).rpartition(".")[2], logits.shape[-1]
