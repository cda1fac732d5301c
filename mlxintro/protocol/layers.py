"""Layers as they are written: in a sentence, and as ``--layers`` takes them."""

from __future__ import annotations

from collections.abc import Sequence


def as_option(layers: Sequence[int]) -> str:
    """Return layers as ``--layers`` takes them: ``10``, ``1-5,8``.

    Args:
        layers: ascending, at least one.
    """
    runs: list[list[int]] = []
    for layer in layers:
        if runs and runs[-1][-1] == layer - 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def in_sentence(layers: Sequence[int]) -> str:
    """Return layers in words: ``layer 10``, ``layers 1 to 5``, ``layers 1-5, 8``."""
    if len(layers) == 1:
        return f"layer {layers[0]}"
    if layers[-1] - layers[0] == len(layers) - 1:
        return f"layers {layers[0]} to {layers[-1]}"
    return f"layers {as_option(layers).replace(',', ', ')}"
