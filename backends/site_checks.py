"""Whether a model's sites mean what the contract says; asked once, before they are used."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .errors import ModelError
from .values import Float32, Injection, ModelInfo, Prompt, Site

Activations = Callable[[Prompt, tuple[int, ...], tuple[Site, ...], tuple[int, ...]], dict[Site, Float32]]
"""Prompt, layers, sites and positions -> what is there, (layers, positions, size) by site."""


def check_sum(info: ModelInfo, activations: Activations) -> None:
    """Check that ``attn_out`` and ``mlp_out`` together are what a block adds to the residual stream.

    Some families scale a sublayer's output on its way into the stream.
    """
    captured = activations(Prompt((0, 1, 2)), (0, 1), ("resid_post", "attn_out", "mlp_out"), (2,))
    before, after = captured["resid_post"][:, 0]
    added = captured["attn_out"][1, 0] + captured["mlp_out"][1, 0]
    # Rounding of a 16-bit stream is relative to the stream, not to what is added to it.
    allowed = 0.02 * np.linalg.norm(after - before) + 2**-7 * np.linalg.norm(after)
    if not np.linalg.norm(after - before - added) <= allowed:
        raise ModelError(
            f"in {info.architecture} attn_out and mlp_out are not what a block adds to the residual stream: "
            "use the site resid_post"
        )


def check_heads(info: ModelInfo, activations: Activations) -> None:
    """Check that ``attn_out`` follows from ``head_out``: moved to another position, it brings it along.

    Some families change what attention gives after its heads have been projected.
    """
    layer = min(1, info.layers - 1)
    tokens = (0, 1, 2)
    found = activations(Prompt(tokens), (layer,), ("head_out", "attn_out"), (1, 2))
    moved = Injection(layer, found["head_out"][0, 0], 2, 3, "head_out", "replace")
    after = activations(Prompt(tokens, (moved,)), (layer,), ("attn_out",), (2,))["attn_out"][0, 0]
    expected, own = found["attn_out"][0]
    allowed = 0.02 * np.linalg.norm(expected - own) + 2**-7 * np.linalg.norm(expected)
    if not np.linalg.norm(after - expected) <= allowed:
        raise ModelError(
            f"in {info.architecture} head_out is not all that attention adds to the residual stream comes "
            "from: use the site attn_out"
        )
