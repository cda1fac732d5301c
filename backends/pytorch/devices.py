"""Which device a PyTorch model goes to, and how: one card where it fits, several where it does not."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch

from ..errors import PrerequisiteError, UsageError
from ..machine import memory, nvidia
from ..models.sources import ModelSource

_SPARE = 1.2
"""What a model takes beside its weights on a card of its own: a fifth for caches and activations."""


def pick_device(device: str | None) -> str:
    """Return the device asked for, or the best there is.

    Raises:
        UsageError: not a device this backend knows.
        PrerequisiteError: it is not there, or torch cannot use the GPU that is.
    """
    if device is None:
        if torch.cuda.is_available():
            return "cuda"
        if torch.backends.mps.is_available():
            return "mps"
        # A GPU that torch cannot use is no reason to compute a hundred times slower without a word.
        _require_no_idle_gpu()
        return "cpu"
    kind, _, number = device.partition(":")
    if kind not in ("cuda", "mps", "cpu") or (number and not number.isdecimal()):
        raise UsageError(f"no device {device!r}: use cuda, cuda:0, mps or cpu", setting="device")
    if kind == "cuda" and not torch.cuda.is_available():
        _require_no_idle_gpu()
        raise PrerequisiteError(
            "no CUDA device: use --device cpu, or a machine with an NVIDIA GPU and its driver", setting="device"
        )
    if kind == "cuda" and number and int(number) >= torch.cuda.device_count():
        raise PrerequisiteError(
            f"no device {device}: there are {torch.cuda.device_count()} GPUs, numbered from 0", setting="device"
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise PrerequisiteError("no Apple GPU that torch can use: use --device cpu", setting="device")
    return device


def card_for(place: str, needed: int) -> str:
    """Return the emptiest card that a model fits on, for ``cuda``.

    ``cuda`` itself, all cards together, where it fits on none.

    Args:
        place: what ``pick_device`` gave; any other than ``cuda`` is returned as it is.
        needed: bytes.
    """
    if place != "cuda":
        return place
    free = [torch.cuda.mem_get_info(card)[0] for card in range(torch.cuda.device_count())]
    emptiest = max(range(len(free)), key=lambda card: free[card])
    return f"cuda:{emptiest}" if len(free) == 1 or needed <= free[emptiest] else "cuda"


def placement(device: str, source: ModelSource, dtype: str, quantize: str | None) -> Any:
    """Return a transformers device map, or ``None`` to load into main memory and move from there.

    Args:
        device: ``cuda`` means all cards together unless the model fits on one.

    Raises:
        PrerequisiteError: it needs accelerate.
    """
    weights = memory.loaded_bytes(source.weight_bytes, source.config, dtype=dtype, quantize=quantize, backend="torch")
    if device == "cpu":
        return None
    accelerate = importlib.util.find_spec("accelerate") is not None
    where = card_for(device, int(_SPARE * weights))
    if where == "cuda" and not accelerate:
        raise PrerequisiteError(
            f"{source.name} needs several GPUs, and spreading it needs accelerate: pip install 'mlxintro[cuda]'"
        )
    if accelerate:
        return "auto" if where == "cuda" else {"": where}
    room = memory.machine().free
    if where.startswith("cuda") and weights > room:
        raise PrerequisiteError(
            f"{source.name} would pass through main memory on its way to the card: {weights / 1e9:.1f} GB, and "
            f"{room / 1e9:.1f} GB are free; with accelerate it goes straight there: pip install 'mlxintro[cuda]'"
        )
    return None


def four_bit(quantize: str, device: str, dtype: torch.dtype) -> Any:
    """Return the settings of bitsandbytes for weights in 4 bits.

    Raises:
        UsageError: another quantisation.
        PrerequisiteError: not on CUDA, or a library is missing.
    """
    if quantize != "4bit":
        raise UsageError(f"cannot quantise to {quantize!r}: the torch backend knows 4bit")
    if not device.startswith("cuda"):
        raise PrerequisiteError(
            f"4-bit weights through torch need CUDA, not {device}: use --backend mlx, or no --quantize"
        )
    missing = [name for name in ("bitsandbytes", "accelerate") if importlib.util.find_spec(name) is None]
    if missing:
        raise PrerequisiteError(f"4-bit weights need {' and '.join(missing)}: pip install 'mlxintro[cuda]'")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


def _require_no_idle_gpu() -> None:
    """Refuse to go on where there is an NVIDIA GPU that this torch cannot use.

    Raises:
        PrerequisiteError: with the command that mends it.
    """
    version = nvidia.driver()
    if version is not None:
        raise PrerequisiteError(nvidia.advice(version, torch.__version__, torch.version.cuda), setting="device")
