"""Attention for batches that decode: query heads that share keys are taken together, so keys are never repeated.

transformers repeats keys and values to one per query head whenever there is a mask, which in a decoding step moves
several times the bytes the step needs. Here the query heads of a group are further queries of the same key head, which
is the same sum. Capped scores (Gemma 2) are computed as their definition says.

What limits a step on the CPU is how many keys and values are read. Columns in which all rows hold the same, the
beginning that their prompts share, are therefore read once for all rows instead of once for each, and the softmax goes
over both parts: the same sum in another order (Juravsky et al. 2024, "Hydragen", section 3.2).
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

NAME = "mlxintro"
_SHARED = "shared_columns"
"""Attribute of keys that says in how many columns, from the first, all rows hold the same."""
_WORTH = 16
"""Rows and shared columns from which on it pays to take them apart."""


def mark_shared(key: Tensor, columns: int) -> None:
    """Say of keys that all rows hold the same in their first columns, and that all tokens see those."""
    setattr(key, _SHARED, columns)


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
    """Attend to keys and values, as transformers' attention functions do.

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
    shared = getattr(key, _SHARED, 0)
    # A mask that is added, or that is of its own for every head, may say more than which columns are seen.
    alike = mask is not None and mask.dtype == torch.bool and mask.shape[1] == 1
    if softcap is None and alike and tokens == 1 and min(rows, shared) >= _WORTH:
        scale = size**-0.5 if scaling is None else scaling
        return _attend_apart(query[:, :, 0] * scale, key, value, cast(Tensor, mask), shared)[:, None], None
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


def _attend_apart(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, shared: int) -> Tensor:
    """Attend from one token per row, with the columns that are shared taken from the first row.

    Args:
        query: (rows, heads, size), scaled.
        key, value: (rows, key heads, columns, size).
        mask: bool (rows or 1, 1, 1, columns).
        shared: columns; fewer than there are.

    Returns:
        (rows, heads, size).
    """
    rows, heads, size = query.shape
    kinds, columns = key.shape[1:3]
    group = heads // kinds
    queries = query.view(rows, kinds, group, size)
    # All rows are the queries of one product: (key heads, rows * group, ...).
    together = queries.transpose(0, 1).reshape(kinds, rows * group, size)
    scores = query.new_empty(kinds, rows, group, columns)
    scores.view(kinds, rows * group, columns)[..., :shared] = together @ key[0, :, :shared].transpose(1, 2)
    own = queries.reshape(rows * kinds, group, size) @ key[:, :, shared:].flatten(0, 1).transpose(1, 2)
    own = own.view(rows, kinds, group, -1).masked_fill_(~mask[..., shared:], -torch.inf)
    scores[..., shared:] = own.transpose(0, 1)
    weights = torch.softmax(scores, dim=-1)
    found = weights.view(kinds, rows * group, columns)[..., :shared] @ value[0, :, :shared]
    tail = weights[..., shared:].transpose(0, 1).reshape(rows * kinds, group, -1) @ value[:, :, shared:].flatten(0, 1)
    apart = found.view(kinds, rows, group, -1).transpose(0, 1)
    return (apart + tail.view(rows, kinds, group, -1)).reshape(rows, heads, -1)
