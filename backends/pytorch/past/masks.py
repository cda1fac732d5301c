"""Which earlier columns a layer sees, by its kind; layers that carry a state take no mask."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...errors import ModelError
from ...models import measured

ATTENDING = frozenset({"full_attention", "sliding_attention", "chunked_attention"})
CARRYING = frozenset({"linear_attention", "conv", "hybrid"})
"""Layers whose state is a summary of all earlier tokens: gated delta rules, state spaces, short convolutions. The kind
``hybrid`` has attention beside it (Falcon-H1)."""
WITHOUT_PAST = frozenset({"mlp", "moe"})
"""Layers that look at one token alone (Nemotron-H)."""
_BESIDE = ("linear_attention", "conv", "mlp", "moe")
"""Names under which models look up that there is no mask."""


def kinds_of(config: Any) -> frozenset[str]:
    """Return the kinds of layers of a text model, by its configuration.

    Raises:
        ModelError: a kind that is not known here.
    """
    named = getattr(config, "layer_types", None)
    windowed = ["sliding_attention"] if getattr(config, "sliding_window", None) else []
    kinds = frozenset(named or windowed or ["full_attention"])
    unknown = kinds - ATTENDING - CARRYING - WITHOUT_PAST
    if unknown:
        raise ModelError(
            f"{config.model_type} has layers of type {', '.join(sorted(unknown))}, which the torch backend does not "
            f"know: {measured.alternative(config.model_type, 'torch')}"
        )
    return kinds


def sees_all(config: Any) -> bool:
    """Tell whether every token of every layer sees all earlier columns."""
    return kinds_of(config) == {"full_attention"}


def build(config: Any, positions: Tensor, width: int, dtype: torch.dtype) -> Any:
    """Return which columns are attended, a column being a position; in the form the model takes them in.

    Args:
        config: of the text model.
        positions: of the queries, (rows or 1, tokens).
        width: columns there are.
        dtype: of additive masks.

    Returns:
        bool (rows or 1, 1, tokens, columns); additive for eager attention; by kind of layer where there are several;
        ``None`` for layers that take none.
    """
    kinds = kinds_of(config)
    carrying = kinds & CARRYING
    # A model of one kind of layers without attention hands its mask to every layer as it is.
    if carrying and not kinds - carrying - WITHOUT_PAST and "hybrid" not in kinds:
        return None
    seen = kinds & ATTENDING or {"full_attention"}
    masks = {kind: _mask(kind, config, positions, width) for kind in seen}
    if config._attn_implementation == "eager":
        least = torch.finfo(dtype).min
        masks = {kind: torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, least) for kind, mask in masks.items()}
    if carrying:
        return {**masks, **dict.fromkeys(_BESIDE)}
    return masks if len(masks) > 1 else next(iter(masks.values()))


def _mask(kind: str, config: Any, positions: Tensor, width: int) -> Tensor:
    columns = torch.arange(width, device=positions.device)
    where = positions[:, None, :, None]
    earlier = columns <= where
    if kind == "sliding_attention":
        return earlier & (columns > where - (getattr(config, "sliding_window", None) or 0))
    if kind == "chunked_attention":
        chunk = int(config.attention_chunk_size)
        return earlier & (columns // chunk == where // chunk)
    return earlier
