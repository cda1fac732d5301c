"""The plain forward pass of transformers, without anything of this project in it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...models.sources import ModelSource
from ..loading import load_model


@torch.inference_mode()
def logprobs(source: ModelSource, tokens: Sequence[int], dtype: str) -> list[float]:
    """Load a model on the CPU and read a text once, without a cache.

    Returns:
        Natural log-probability of every token but the first.

    Raises:
        ModelError: transformers cannot load it.
    """
    model = load_model(source, device="cpu", dtype=dtype, own_products=False)
    ids = torch.tensor([list(tokens)])
    logits = model(input_ids=ids, use_cache=False).logits[0, :-1].double()
    found: list[float] = torch.log_softmax(logits, -1).gather(1, ids[0, 1:, None])[:, 0].tolist()
    return found
