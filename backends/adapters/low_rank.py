"""The matrices of an adapter, whatever layout they were saved in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..values import Float32
from .peft_folder import PREFIX
from .sources import AdapterSource
from .tensors import parse_tensors

_PEFT = re.compile(r"(.+)\.lora_([AB])\.(?:default\.)?weight")
_MLX = re.compile(r"(.+)\.lora_([ab])")
_NOT_LOW_RANK = {
    "use_dora": "DoRA",
    "modules_to_save": "whole modules beside the low-rank ones",
    "trainable_token_indices": "trained tokens",
    "alora_invocation_tokens": "activation by tokens",
}


@dataclass(frozen=True, slots=True, eq=False)
class LowRankMap:
    """Says what is added to one linear map: ``scale * up @ down``."""

    down: Float32
    """(rank, inputs), called A by Hu et al. 2021."""
    up: Float32
    """(outputs, rank), called B."""
    scale: float


def read(source: AdapterSource) -> dict[str, LowRankMap]:
    """Return the module path -> what is added to it, in float32.

    Raises:
        ModelError: the adapter is more or something else than low-rank matrices of linear maps, or damaged.
    """
    tensors = load_tensors(source)
    return _of_peft(source, tensors) if source.layout == "peft" else _of_mlx(source, tensors)


def load_tensors(source: AdapterSource) -> dict[str, Float32]:
    """Return the tensors of the weights' file, widened to float32.

    Raises:
        ModelError: it is damaged.
    """
    try:
        found = {name: _widened(name, values) for name, values in parse_tensors(source.weights.read_bytes()).items()}
    except (OSError, ValueError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"{source.weights} cannot be read ({line}): save or fetch the adapter again") from None
    if not found:
        raise ModelError(f"{source.name} holds no weights: save the adapter again")
    return found


def _widened(name: str, values: NDArray[Any]) -> Float32:
    if values.dtype.kind != "f":
        raise ValueError(f"{name} has the type {values.dtype}")
    found: Float32 = values.astype(np.float32)
    if not np.isfinite(found).all():
        raise ValueError(f"{name} holds NaN or infinity")
    return found


def _of_peft(source: AdapterSource, tensors: Mapping[str, Float32]) -> dict[str, LowRankMap]:
    config = source.config
    if config.get("peft_type") != "LORA":
        raise ModelError(f"{source.name} is an adapter of type {config.get('peft_type')}: only LORA can be applied")
    more = [what for key, what in _NOT_LOW_RANK.items() if config.get(key)]
    if config.get("bias", "none") != "none":
        more.append("trained biases")
    if more:
        raise ModelError(
            f"{source.name} has {' and '.join(more)}, not low-rank matrices alone: merge it into its model"
        )
    found = {}
    for path, (down, up) in _pairs(source, tensors, _PEFT).items():
        module = path.removeprefix(PREFIX)
        rank = down.shape[0]
        alpha = _pattern(config.get("alpha_pattern"), module, config.get("lora_alpha", rank))
        scale = float(alpha) / (rank**0.5 if config.get("use_rslora") else rank)
        found[module] = _checked(source, module, down, up, scale)
    return found


def _of_mlx(source: AdapterSource, tensors: Mapping[str, Float32]) -> dict[str, LowRankMap]:
    settings = source.config.get("lora_parameters") or {}
    if source.config.get("fine_tune_type", "lora") != "lora" or "scale" not in settings:
        raise ModelError(f"{source.name} is no LoRA adapter of mlx-lm: only fine_tune_type lora can be applied")
    return {
        path: _checked(source, path, down.T, up.T, float(settings["scale"]))
        for path, (down, up) in _pairs(source, tensors, _MLX).items()
    }


def _pairs(
    source: AdapterSource, tensors: Mapping[str, Float32], names: re.Pattern[str]
) -> dict[str, tuple[Float32, Float32]]:
    halves: dict[str, dict[str, Float32]] = {}
    for name, tensor in tensors.items():
        match = names.fullmatch(name)
        if match is None:
            raise ModelError(f"{source.name} holds {name}, which is no low-rank matrix: merge it into its model")
        halves.setdefault(match[1], {})[match[2].lower()] = tensor
    lonely = next((path for path, parts in halves.items() if len(parts) != 2), None)
    if lonely is not None:
        raise ModelError(f"{source.name} holds one of the two matrices of {lonely}: save or fetch the adapter again")
    return {path: (parts["a"], parts["b"]) for path, parts in halves.items()}


def _checked(source: AdapterSource, path: str, down: Float32, up: Float32, scale: float) -> LowRankMap:
    if down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1]:
        raise ModelError(f"{source.name}: the matrices of {path} do not fit each other: save the adapter again")
    return LowRankMap(np.ascontiguousarray(down), np.ascontiguousarray(up), scale)


def _pattern(patterns: Any, module: str, default: Any) -> Any:
    """peft's rule: a pattern counts where it matches the end of a module's path."""
    for pattern, value in (patterns or {}).items():
        if re.fullmatch(rf"(?:.*\.)?{pattern}", module):
            return value
    return default
