"""How much memory there is, how much a model takes, and what would fit.

Estimates on the safe side, from sizes and configuration alone; nothing is loaded to find out.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import ModelError
from ..models import aliases, embedded

POSITIONS = 4096
"""Cached positions an estimate allows for: eight rows of a typical trial."""

_OVERHEAD = 300_000_000
"""Buffers of the libraries themselves, in bytes; 5 % of the weights come on top for work space."""
ArrayLibrary = Literal["mlx", "torch"]
_ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True)
class Room:
    """Holds the memory of the device a model would live on, in bytes."""

    device: str
    total: int
    free: int


@dataclass(frozen=True, slots=True)
class MemoryFit:
    fits: bool
    needed: int
    """Bytes: weights, cache and work space."""
    free: int
    """Bytes."""


def machine(control_group: Path = Path("/sys/fs/cgroup")) -> Room:
    """Return the main memory, as far as this process may use it: a container's limit counts."""
    import psutil

    memory = psutil.virtual_memory()
    total, free = int(memory.total), int(memory.available)
    try:
        limit = int((control_group / "memory.max").read_text())
        used = int((control_group / "memory.current").read_text())
        stat = dict(line.split() for line in (control_group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return Room("cpu", total, free)
    # File pages are charged to the container but given up on demand.
    spare = max(0, limit - used + int(stat.get("file", 0)))
    return Room("cpu", min(total, limit), min(free, spare))


def cuda(index: int | None = None) -> Room:
    """Return the memory of one CUDA device; without an index, of all together, for a model that is spread over them."""
    import torch

    devices = range(torch.cuda.device_count()) if index is None else (index,)
    sizes = [torch.cuda.mem_get_info(device) for device in devices]
    name = "cuda" if index is None else f"cuda:{index}"
    return Room(name, sum(total for _, total in sizes), sum(free for free, _ in sizes))


def metal() -> Room:
    """Return what an Apple GPU may hold. Programs that are not looked at give way to it; only wired memory does not."""
    import mlx.core as mx
    import psutil

    memory = psutil.virtual_memory()
    recommended = int(mx.device_info().get("max_recommended_working_set_size") or apple_working_set(memory.total))
    wired = int(getattr(memory, "wired", 0))
    return Room("gpu", recommended, max(0, min(recommended, memory.total - wired)))


def apple_working_set(memory: int) -> int:
    """Return the bytes that Metal recommends to use of a machine's memory: two thirds, three quarters above 36 GB."""
    return memory * 3 // 4 if memory > 36 * 2**30 else memory * 2 // 3


def room(device: str = "cpu") -> Room:
    """Return the memory behind a device name.

    ``cuda``, ``cuda:N``, an Apple GPU (``gpu``, ``mps``) or main memory (``cpu``).
    """
    if device.startswith("cuda"):
        _, _, index = device.partition(":")
        return cuda(int(index) if index else None)
    if device in ("gpu", "mps") and sys.platform == "darwin" and importlib.util.find_spec("mlx") is not None:
        return metal()
    found = machine()
    return Room(device, found.total, found.free)


def needed(
    weight_bytes: int,
    config: Mapping[str, Any] | None = None,
    *,
    dtype: str | None = None,
    quantize: str | None = None,
    backend: ArrayLibrary = "mlx",
) -> int:
    """Return the bytes a loaded model takes: weights in the dtype they are run in, cache for ``POSITIONS``, work space.

    Args:
        weight_bytes: size of the weight files.
        config: the model's configuration; without it the cache is not counted.
        dtype: what the weights are converted to; ``None`` leaves them as stored.
        quantize: e.g. ``4bit``, applied while loading.
        backend: whose quantisation it is.
    """
    settings, _, item = settings_of(config, dtype)
    weights = loaded_bytes(weight_bytes, config, dtype=dtype, quantize=quantize, backend=backend)
    return int(weights * 1.05) + POSITIONS * cache_bytes(settings, item) + _OVERHEAD


def loaded_bytes(
    weight_bytes: int,
    config: Mapping[str, Any] | None = None,
    *,
    dtype: str | None = None,
    quantize: str | None = None,
    backend: ArrayLibrary = "mlx",
) -> int:
    """Return the bytes of the weights alone, in what they are run in; arguments as for ``needed``."""
    settings, stored, item = settings_of(config, dtype)
    numbers = weight_bytes / stored
    bits = re.match(r"\d+", quantize or "")
    if settings.get("quantization") or settings.get("quantization_config"):
        return weight_bytes
    if bits is None:
        return int(numbers * item)
    # bitsandbytes leaves embedding and output head as they are, and experts, which transformers holds as one array and
    # not as linear layers; MLX quantises all of them along.
    whole = _vocabulary_numbers(settings) + _expert_numbers(settings)
    kept = min(numbers, whole) if backend == "torch" else 0
    # Half a bit per weight for scales.
    return int(kept * item + (numbers - kept) * (int(bits[0]) + 0.5) / 8)


def _vocabulary_numbers(settings: Mapping[str, Any]) -> int:
    """How many weights embedding and output head have; 0 when the configuration does not say."""
    try:
        # Gemma's files leave out what is the rule in that family.
        tied = settings.get("tie_word_embeddings", str(settings.get("model_type", "")).startswith("gemma"))
        tables = 1 if tied else 2
        return tables * int(settings["vocab_size"]) * int(settings["hidden_size"])
    except (KeyError, TypeError, ValueError):
        return 0


def _expert_numbers(settings: Mapping[str, Any]) -> int:
    """How many weights the experts of all layers have; 0 for a model without."""
    try:
        named = ("num_local_experts", "num_experts", "n_routed_experts")
        experts = next((int(settings[name]) for name in named if settings.get(name)), 0)
        layers = int(settings["num_hidden_layers"])
        sparse = settings.get("moe_layers")
        if isinstance(sparse, list):
            layers = len(sparse)
        else:
            layers -= int(settings.get("first_k_dense_replace") or 0) + len(settings.get("mlp_only_layers") or ())
            layers //= int(settings.get("decoder_sparse_step") or 1)
        inner = int(settings.get("moe_intermediate_size") or settings["intermediate_size"])
        return layers * experts * 3 * int(settings["hidden_size"]) * inner
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError):
        return 0


def settings_of(config: Mapping[str, Any] | None, dtype: str | None) -> tuple[dict[str, Any], int, int]:
    """Return the text model's configuration, and bytes per number as stored and as run."""
    settings = dict(config or {})
    inner = settings.get("text_config")
    if isinstance(inner, Mapping):
        settings = {**settings, **inner}
    stored = _ITEM_BYTES.get(str(settings.get("dtype") or settings.get("torch_dtype")), 2)
    return settings, stored, _ITEM_BYTES.get(dtype or "", stored)


def cache_bytes(settings: Mapping[str, Any], item: float) -> int:
    """Return the bytes of keys and values per cached position, ``item`` per number.

    0 when the configuration does not say.
    """
    try:
        heads = int(settings["num_attention_heads"])
        size = int(settings.get("head_dim") or settings["hidden_size"] // heads)
        rows = int(settings["num_hidden_layers"]) * int(settings.get("num_key_value_heads") or heads)
        return int(2 * rows * size * item)
    except (KeyError, TypeError, ValueError, OverflowError, ZeroDivisionError):
        return 0


def fits(
    weight_bytes: int,
    config: Mapping[str, Any] | None = None,
    *,
    free: int,
    dtype: str | None = None,
    quantize: str | None = None,
    backend: ArrayLibrary = "mlx",
) -> MemoryFit:
    """Compare what a model needs with ``free`` bytes."""
    need = needed(weight_bytes, config, dtype=dtype, quantize=quantize, backend=backend)
    return MemoryFit(need <= free, need, free)


def check_fits(
    name: str,
    verdict: MemoryFit,
    *,
    backend: ArrayLibrary,
    device: str,
) -> None:
    """Refuse a model that does not fit, and say what would.

    Raises:
        ModelError: with needed and free gigabytes.
    """
    if verdict.fits:
        return
    smaller = [
        alias
        for alias in sorted(aliases.ALIASES, key=lambda alias: -alias.parameters)
        if fits(alias.weight_bytes(backend), free=verdict.free).fits
        and alias.name != name.lower()
        and name not in (alias.torch, alias.mlx)
    ]
    options = [alias.name for alias in smaller[:2]] or [embedded.NAME]
    raise ModelError(
        f"{name} does not fit on {device}: it needs about {verdict.needed / 1e9:.1f} GB, {verdict.free / 1e9:.1f} GB "
        f"are free; close other programs, or use what would fit: {', '.join(options)}"
    )
