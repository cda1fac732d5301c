"""Measures the inputs of ``backends.machine.roofline`` with PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...machine.roofline import Roofline, shortest
from ..model import Network
from ..past.slots import SlotCache, Write

_SIDE = {"cpu": 1024, "mps": 4096, "cuda": 8192}
"""Rows of the square matrices that are multiplied: enough for full speed, few enough for a second."""
_COLUMNS = 4096
_MOST = 2**30
"""Bytes read at a time. Weights that fit into a cache are read from there, so the buffer is no larger than they are."""


@torch.inference_mode()
def measure(network: Network, free: int) -> Roofline | None:
    """Count what one token costs and time this device at it.

    Args:
        free: bytes of memory the device has left; a quarter of it is used at most.

    Returns:
        ``None`` for a mixture of experts, where a token does not meet all weights.
    """
    blocks = nn.ModuleList(network.blocks)
    if any(getattr(network.config, name, None) for name in ("num_experts", "num_local_experts", "n_routed_experts")):
        return None
    weight_bytes = sum(part.nbytes for part in nn.ModuleList([blocks, network.norm, network.head]).parameters())
    device = network.device
    size = min(weight_bytes, _MOST, free // 4) // 4
    matrix = torch.ones(max(1, size // _COLUMNS), _COLUMNS, device=device)
    vector = torch.ones(_COLUMNS, device=device)
    # Drawn on the CPU: after a capture that failed, a CUDA device may refuse to draw.
    square = torch.randn(_SIDE[device.type], _SIDE[device.type]).to(device, network.dtype)
    reading = min(shortest(lambda: _done(matrix.sum())), shortest(lambda: _done(matrix @ vector)))
    return Roofline(
        bandwidth=matrix.nbytes / reading,
        matmul=2 * square.shape[0] ** 3 / shortest(lambda: _done(square @ square)),
        weight_bytes=weight_bytes,
        block_parameters=_multiplied(blocks),
        head_parameters=_multiplied(network.head),
        cache_bytes=_cache_bytes(network),
    )


def _done(result: Tensor) -> None:
    if result.device.type == "cuda":
        torch.cuda.synchronize(result.device)
    elif result.device.type == "mps":
        torch.mps.synchronize()


def _multiplied(part: nn.Module) -> int:
    """Weights of all matrices, in numbers; those quantised to 4 bits lie packed and are counted by their shape."""
    total = 0
    for module in part.modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, nn.Linear):
            total += module.in_features * module.out_features
        elif isinstance(weight, Tensor) and weight.ndim == 2:
            total += weight.numel()
    return total


def _cache_bytes(network: Network) -> int:
    """Keys and values of one position, off a cache that holds one."""
    cache = SlotCache(len(network.blocks))
    cache.write = Write(slice(0, 1), 1, 1)
    first = torch.zeros(1, 1, dtype=torch.long, device=network.device)
    network.read(first, first, 1, cache)
    return sum(store.nbytes // store.shape[2] for store in cache.stores())
