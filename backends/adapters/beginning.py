"""The matrices that the training of an adapter begins with: equal on every backend, by the seed and the place alone."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..training import AdapterShape, Matrices
from ..values import Float32

_ATTENTION, _MLP = ("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj")
"""Maps that read the residual stream, after a normalisation; those of a block that has others start at random."""
_LEAST_SHARE = 1e-4
"""Share of the whole variance below which a direction is not made louder."""
_LEAST_GAIN = 0.1
"""Share of the mean gain below which a coordinate is not made up for."""


def first_matrices(
    shape: AdapterShape,
    sizes: Mapping[str, tuple[int, int]],
    blocks: Mapping[str, Any],
    directions: Float32 | None,
    discriminants: Float32 | None,
    gain: Callable[[Any], Float32],
) -> Matrices:
    """Return the matrices of an untrained adapter: B is zero, so it changes nothing.

    A is uniform, with a variance of 1 / (3 inputs), as peft and mlx-lm draw it; where ``directions`` are given, maps
    that read the residual stream begin with them.

    Args:
        sizes: module path -> outputs and inputs of every map that is adapted.
        blocks: module path -> block, those that are adapted, in order.
        directions: (count, width), what will be injected.
        discriminants: (count, width), what the last rows read beside it, half of all at most: what tells prompts apart
            in the normalised stream, whatever is injected.
        gain: gives what a normalisation makes of ones, (width,).
    """
    found = {
        path: (_random_rows(shape, path, inputs), np.zeros((outputs, shape.rank), np.float32))
        for path, (outputs, inputs) in sizes.items()
    }
    if directions is None:
        return found
    none = np.empty((0, directions.shape[1]), np.float32)
    apart = none if discriminants is None else discriminants[: shape.rank // 2]
    skipped = 0 if shape.reads_from is None else max(shape.reads_from - shape.first_layer, 0)
    for turn, (home, block) in enumerate(list(blocks.items())[skipped:]):
        first = getattr(block, "input_layernorm", None)
        second = getattr(block, "pre_feedforward_layernorm", None) or getattr(block, "post_attention_layernorm", None)
        for norm, part, names in ((first, "self_attn", _ATTENTION), (second, "mlp", _MLP)):
            if norm is None:
                continue
            seen = gain(norm)
            aimed = reading_rows(directions, seen, shape.rank - len(apart), turn, len(blocks) - skipped)
            rows = np.concatenate([aimed, telling_rows(apart, seen)])
            for path in (f"{home}.{part}.{name}" for name in names):
                if path in found:
                    found[path] = (rows, found[path][1])
    return found


def _random_rows(shape: AdapterShape, path: str, inputs: int) -> Float32:
    """(rank, inputs), by the seed and the place in the blocks; what stands before that differs between libraries."""
    place = zlib.crc32(path[max(0, path.find("layers.")) :].encode())
    edge = inputs**-0.5
    return np.random.default_rng([shape.seed, place]).uniform(-edge, edge, (shape.rank, inputs)).astype(np.float32)


def reading_rows(directions: Float32, gain: Float32, rank: int, turn: int, turns: int) -> Float32:
    """Return the initial A of a map that reads the residual stream.

    Principal directions of what it is to read, each as loud.

    Starting from the directions of the input's variance is what EVA does (Paischer et al. 2024, arXiv 2410.07170). Here
    the input's interesting part is known, the directions that are injected; and they are whitened, because a word is
    told from its neighbours by directions with little variance, which gradients through random projections find last.
    Blocks take the principal directions in turn, so that together they read more of them than the rank of one.

    Args:
        directions: (count, width) of any length, in the residual stream.
        gain: (width,) of the normalisation before the map.
        turn: number of the block, counted from the first that is adapted.
        turns: how many blocks there are.

    Returns:
        (rank, width). Rows beyond what there are directions for are zero.
    """
    unit = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
    seen = unit.astype(np.float64) * gain
    _, lengths, axes = np.linalg.svd(seen, full_matrices=False)
    spread = lengths**2 / len(seen)
    whitened = axes / np.sqrt(spread + _LEAST_SHARE * spread.sum())[:, None]
    chosen = whitened[turn::turns][:rank]
    rows = np.zeros((rank, directions.shape[1]), np.float32)
    # As loud under what is injected as the usual random start, whose entries have a variance of 1 / (3 inputs).
    rows[: len(chosen)] = chosen / np.sqrt(3 * directions.shape[1])
    return rows


def telling_rows(discriminants: Float32, gain: Float32) -> Float32:
    """Return rows of the initial A that read the discriminants of a normalised stream from behind a norm's gain.

    Args:
        discriminants: (count, width), to be read before the gain.
        gain: (width,) of the normalisation before the map; where it is next to nothing, little is read.
    """
    floor = _LEAST_GAIN * float(np.sqrt(np.mean(gain**2)))
    return (discriminants * gain / (gain**2 + floor**2)).astype(np.float32)
