"""From a folder to an mlx-lm model: loads it, measures it, and refuses what mlx-lm would run wrongly.

mlx-lm takes what it knows from config.json and ignores the rest in silence. Where that changes what is computed, the
folder is refused with the line that mends it, or the usable context is cut to where the computation is the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten
from mlx_lm.models.cache import RotatingKVCache, make_prompt_cache
from mlx_lm.utils import load_model

from ..errors import ModelError, UsageError
from ..models import foreign, measured
from ..models.sources import ModelSource
from .patch import Hook, head_projection, patched

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
    """Return how many positions mlx-lm computes as the model was meant.

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


def advice(source: ModelSource) -> str:
    """Say what to do with a model that mlx-lm cannot load or run."""
    kind = str(source.config.get("model_type"))
    return f"{measured.alternative(kind, 'mlx')}; or fetch or save the model again"


def build(source: ModelSource) -> nn.Module:
    """Build the model; weights stay on disk until they are evaluated.

    Raises:
        ModelError: mlx-lm does not know the family, reads another form of it, or finds the files damaged.
    """
    kind = str(source.config.get("model_type"))
    with foreign.told(f"mlx-lm cannot load {source.folder}", advice(source)):
        try:
            model, _ = load_model(source.folder, lazy=True)
        except ValueError as error:
            if "not supported" in str(error):
                raise ModelError(
                    f"mlx-lm does not know the architecture {kind}: {measured.alternative(kind, 'mlx')}"
                ) from error
            if _OTHER_FORM.search(str(error)):
                raise _other_form(source, error) from error
            raise
        except (TypeError, KeyError, AttributeError) as error:
            raise _other_form(source, error) from error
        except SystemExit:
            raise ModelError(
                f"mlx-lm needs a package that is not installed to run {kind}: {measured.alternative(kind, 'mlx')}"
            ) from None
    return model


_OTHER_FORM = re.compile(r"parameters not in model|Missing \d+ parameters|Expected shape")


def _other_form(source: ModelSource, error: Exception) -> ModelError:
    """Configuration and weights that mlx-lm expects in another form: fetching them again would change nothing."""
    kind = str(source.config.get("model_type"))
    torch = "--backend torch, or " if measured.works(kind, "torch") or not measured.is_known(kind) else ""
    return ModelError(
        f"this mlx-lm reads another form of {kind} than {source.folder} has ({foreign.line(error)}): "
        f"use {torch}a conversion from https://huggingface.co/mlx-community"
    )


def _require_numbers(model: nn.Module, logits: mx.array, dtype: str) -> None:
    """Refuse a model that computes NaN or infinity, with what is to blame.

    Args:
        logits: of any prompt.
        dtype: of the residual stream.

    Raises:
        ModelError: the weights hold such numbers, or lead to them.
    """
    logits = logits.astype(mx.float32)
    if not mx.any(mx.isnan(logits) | (logits == mx.inf)).item():
        return
    for name, weight in tree_flatten(model.parameters()):
        if mx.issubdtype(weight.dtype, mx.floating) and not mx.all(mx.isfinite(weight)).item():
            raise ModelError(
                f"the weights hold numbers that are not finite ({name} first): the files are damaged, or training went "
                "wrong; fetch the model again, or choose another"
            )
    raise ModelError(foreign.overflow(dtype))


def quantise(model: nn.Module, wanted: str, source: ModelSource) -> str:
    """Quantise the weights of a model, in groups of 64; one that is stored in so many bits stays as it is.

    Args:
        wanted: ``4bit`` or ``8bit``.

    Returns:
        The quantisation it has then, as ``ModelInfo`` names it.

    Raises:
        UsageError: MLX cannot, or the model is stored in another number of bits.
    """
    digits = re.fullmatch(r"(4|8)-?bit", wanted)
    if digits is None:
        raise UsageError(f"MLX cannot quantise to {wanted}: choose 4bit or 8bit")
    if source.quantization.startswith(f"{digits[1]}-bit"):
        return source.quantization
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


@dataclass(frozen=True, slots=True)
class StreamSizes:
    """Says what a forward pass shows of a model's sizes."""

    width: int
    dtype: str
    vocabulary: int
    heads: int
    """Number of heads; 0 where the heads of all blocks are not alike or cannot be reached."""
    head_width: int


def measure(model: nn.Module, blocks: Sequence[nn.Module], settings: Mapping[str, Any]) -> StreamSizes:
    """Measure a model off a forward pass of three tokens.

    Args:
        settings: config.json, or its ``text_config``.

    Raises:
        ModelError: the model computes numbers that are not finite.
    """
    seen: list[mx.array] = []
    inputs: list[mx.array] = []

    def looking(at: list[mx.array]) -> Hook:
        def look(stream: mx.array) -> mx.array:
            at.append(stream)
            return stream

        return look

    projections = [part for part in map(head_projection, blocks) if part is not None]
    hooks = [(blocks[0], looking(seen)), *((part, looking(inputs)) for part in projections)]
    with patched(hooks, frozenset(range(1, len(hooks)))):
        logits = model(mx.array([[0, 1, 2]]))
    dtype = str(seen[0].dtype).rpartition(".")[2]
    _require_numbers(model, logits, dtype)
    heads = settings.get("num_attention_heads") or settings.get("n_head") or 0
    widths = {array.shape[-1] for array in inputs}
    alike = heads and len(inputs) == len(blocks) and len(widths) == 1
    width = widths.pop() if alike else 0
    if width % max(heads, 1) or not width:
        heads = width = 0
    return StreamSizes(seen[0].shape[-1], dtype, logits.shape[-1], heads, width // max(heads, 1))
