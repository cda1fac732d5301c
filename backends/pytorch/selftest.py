"""A decoder is held against the whole model once, when it is loaded: rows of two lengths, a cache, one step on."""

from __future__ import annotations

import torch

from ..base import Prompt
from ..errors import ModelError
from ..models import measured
from .batch import PromptReader
from .model import Network

_PROMPTS = ((1, 2, 3), (2, 1))
_NEXT = 1


def check_masks(network: Network) -> None:
    """Refuse a model whose attention holds a mask of its own that is more than causal (local attention of GPT-Neo).

    It takes the last rows of that mask for whatever tokens it is given, so a batch of rows at different positions would
    see other columns than each alone, and no short reading shows it: windows are hundreds of tokens wide.

    Raises:
        ModelError: there is such a mask.
    """
    for block in network.blocks:
        for name, held in block.named_buffers():
            if held.dtype != torch.bool or held.ndim < 2 or held.shape[-1] != held.shape[-2]:
                continue
            if not torch.equal(held, torch.ones_like(held).tril()):
                raise ModelError(
                    f"{type(network.model).__name__} masks tokens by a table of its own ({name}), which does not hold "
                    f"for rows at different positions: {measured.alternative(network.config.model_type, 'torch')}"
                )


@torch.inference_mode()
def check_decoding(network: Network) -> None:
    """Compare logits read through the cache, in a batch, with those of plain forward passes.

    Families whose layers keep a state of their own instead of keys and values come out differently, or not at all.

    Raises:
        ModelError: they differ.
    """
    stream = PromptReader(network, [Prompt(tokens) for tokens in _PROMPTS], chunk=8).read(
        [Prompt(tokens) for tokens in _PROMPTS]
    )
    read = [stream.logits.clone()]
    stream.step([_NEXT] * len(_PROMPTS))
    read.append(stream.logits)
    tolerance = 1e-3 if network.dtype == torch.float32 else 5e-2
    for row, tokens in enumerate(_PROMPTS):
        ids = torch.tensor([[*tokens, _NEXT]], device=network.device)
        whole = network.model(input_ids=ids, use_cache=False).logits[0].float()
        for logits, at in zip(read, (len(tokens) - 1, len(tokens)), strict=True):
            if not (logits[row] - whole[at].to(logits.device)).abs().amax() <= tolerance * whole[at].abs().amax():
                raise ModelError(
                    f"{type(network.model).__name__} computes something else through its cache than at once: "
                    f"{measured.alternative(network.config.model_type, 'torch')}"
                )
