"""Attention for batches that decode: query heads that share keys are taken together, so keys are never repeated.

transformers repeats keys and values to one per query head whenever there is a mask, which in a decoding step moves
several times the bytes the step needs. Here the query heads of a group are further queries of the same key head, which
is the same sum. Capped scores (Gemma 2) are computed as their definition says.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

NAME = "mlxintro"


def use_in(model: Any) -> None:
    """Let a model that reached us with transformers' own attention use this one."""
    text = model.config.get_text_config(decoder=True)
    capped = getattr(text, "attn_logit_softcapping", None)
    if not getattr(model, "_supports_attention_backend", False) or not (
        model.config._attn_implementation == "sdpa" or capped
    ):
        return
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    **unused: Any,
) -> tuple[Tensor, None]:
    """
    Args:
        query: (rows, heads, tokens, size).
        key, value: (rows, key heads, columns, size).
        attention_mask: bool (rows or 1, 1, tokens, columns), true where attended; causal when ``None``.

    Returns:
        (rows, tokens, heads, size).
    """
    rows, heads, tokens, size = query.shape
    kinds, columns = key.shape[1:3]
    group = heads // kinds
    mask = attention_mask
    if mask is None and tokens > 1:
        mask = torch.ones(1, 1, tokens, columns, dtype=torch.bool, device=query.device).tril(columns - tokens)
    if mask is not None and tokens > 1 and group > 1:
        mask = mask.repeat(1, 1, group, 1)
    grouped = query.reshape(rows, kinds, group * tokens, size)
    if softcap is None:
        found = torch.nn.functional.scaled_dot_product_attention(grouped, key, value, attn_mask=mask, scale=scaling)
    else:
        scores = (grouped @ key.transpose(2, 3)) * (size**-0.5 if scaling is None else scaling)
        scores = torch.tanh(scores / softcap) * softcap
        if mask is not None:
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        found = torch.softmax(scores, dim=-1, dtype=torch.float32).to(value.dtype) @ value
    return found.reshape(rows, heads, tokens, -1).transpose(1, 2).contiguous(), None
