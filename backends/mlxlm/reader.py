"""Reads the prompts of one call with MLX. What most of them begin with is read once; see ``backends.prefix``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import numpy as np

from ..base import Prompt
from ..prefix import groups, shared_prefix, usable
from . import cache as mlx_cache
from .batch import MLXBatch, MLXNetwork


class MLXPromptReader:
    """Reads prompts in groups that have equally much of the shared beginning, each from a copy of its cache."""

    def __init__(self, network: MLXNetwork, prompts: Sequence[Prompt]) -> None:
        """
        Args:
            prompts: all of the call, as far as they are known; nothing is read yet.
        """
        self._network = network
        self._shared = shared_prefix(prompts)
        self._held: dict[int, list[Any]] = {}
        """Plain caches of one row by how many tokens of the shared beginning they hold."""

    def plan(self, prompts: Sequence[Prompt], batch_size: int) -> list[list[int]]:
        """Cut prompts into batches that the model can run, similar lengths together."""
        lengths = [len(prompt.tokens) for prompt in prompts]
        begun = [usable(prompt, self._shared) for prompt in prompts]
        if len(set(zip(lengths, begun, strict=True))) == 1 or self._network.padding is not None:
            return self._network.plan(lengths, batch_size)
        # Rows of a model that cannot pad stay apart unless they are read alike.
        alike: dict[int, list[int]] = defaultdict(list)
        for row, count in enumerate(begun):
            alike[count].append(row)
        return [
            [rows[at] for at in members]
            for rows in alike.values()
            for members in self._network.plan([lengths[row] for row in rows], batch_size)
        ]

    def read(self, prompts: Sequence[Prompt]) -> tuple[MLXBatch, mx.array]:
        """Read prompts that ``plan`` puts together.

        Returns:
            Their rows in this order, and the next token's logits (rows, vocabulary), not yet evaluated.
        """
        begun = [usable(prompt, self._shared) for prompt in prompts]
        batch: MLXBatch | None = None
        parts: list[mx.array] = []
        order: list[int] = []
        for first, members in groups([len(prompt.tokens) for prompt in prompts], begun):
            entering = MLXBatch(
                self._network, [prompts[at] for at in members], begun=first, beginning=self._beginning(first)
            )
            parts.append(entering.prefill())
            order += members
            if batch is None:
                batch = entering
            else:
                batch.join(entering)
        assert batch is not None, "no prompts"
        logits = parts[0] if len(parts) == 1 else mx.concatenate(parts)
        if order != sorted(order):
            rows = np.argsort(order).tolist()
            batch.keep(rows)
            logits = logits[mx.array(rows)]
        return batch, logits

    def _beginning(self, tokens: int) -> list[Any] | None:
        """Caches of one row that hold the first tokens of what is shared, to go on from."""
        if not tokens:
            return None
        if tokens not in self._held:
            longer = self._held.get(len(self._shared)) or self._continued(len(self._shared))
            found = longer if tokens == len(self._shared) else mlx_cache.shortened(longer, tokens)
            # A state that has moved on cannot be cut back.
            self._held[tokens] = found or self._continued(tokens)
        return mlx_cache.copied(self._held[tokens])

    def _continued(self, tokens: int) -> list[Any]:
        held = self._held[tokens] = self._network.continued(self._network.caches(), self._shared[:tokens])
        return held
