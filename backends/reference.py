"""Log-probabilities by transformers' own forward pass, to hold a backend against.

The same files are loaded a second time, without this project's attention, cache, batches or hooks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .errors import ModelError
from .machine import memory
from .models import sources
from .values import Float32


def reference_logprobs(model: str, backend: str, tokens: Sequence[int]) -> tuple[Float32, str]:
    """Compute the log-probability of every token but the first, on the CPU.

    Args:
        model: as the loaded backend was asked for it.
        backend: which backend that is, ``mlx`` or ``torch``: its files are read.

    Returns:
        float32 (tokens - 1,), and the dtype in words.

    Raises:
        ModelError: transformers cannot read these files, or they do not fit into memory a second time.
    """
    framework: sources.Framework = "mlx" if backend == "mlx" else "torch"
    source = sources.resolve(model, framework, fetch=False)
    if "quantization" in source.config:
        raise ModelError(f"{source.name} is quantised for MLX, which transformers cannot read")
    free = memory.machine().free
    kind = next(
        (
            kind
            for kind in ("float32", "bfloat16")
            if memory.fits(source.weight_bytes, source.config, free=free, dtype=kind, backend="torch").fits
        ),
        None,
    )
    if kind is None:
        raise ModelError(f"{source.name} does not fit into memory beside the copy that is loaded")
    from .pytorch.yardsticks.reference import logprobs

    found: Float32 = np.asarray(logprobs(source, tokens, kind), np.float32)
    return found, f"in {kind} on the CPU"
