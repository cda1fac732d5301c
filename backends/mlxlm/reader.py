"""Reads the prompts of one call with MLX. What most of them begin with is read once; see ``backends.prefix``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import numpy as np

from ..base import Prompt
from ..prefix import common_injections, groups, shared_prefix, usable
from . import cache as mlx_cache
from .batch import MLXBatch, MLXNetwork
from .patch import Interventions


class MLXPromptReader:
    """Reads prompts in groups that have equally much of the shared beginning, each from a copy of its cache."""

    def __init__(self, network: MLXNetwork, prompts: Sequence[Prompt]) -> None:
        """
        Args:
            prompts: all of the call, as far as they are known; nothing is read yet.
        """
        self._network = network
        self._injected = common_injections(prompts)
        self._shared = shared_prefix(prompts, len(self._injected))
        self._held: dict[int, tuple[list[Any], Interventions]] = {}
        """Plain caches of one row, and what was injected into it, by how many tokens of the beginning it holds."""

    def plan(self, prompts: Sequence[Prompt], batch_size: int) -> list[list[int]]:
        """Cut prompts into batches that the model can run, similar lengths together."""
        lengths = [len(prompt.tokens) for prompt in prompts]
        begun = [usable(prompt, self._shared, len(self._injected)) for prompt in prompts]
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
        begun = [usable(prompt, self._shared, len(self._injected)) for prompt in prompts]
        batch: MLXBatch | None = None
        parts: list[mx.array] = []
        order: list[int] = []
        for first, members in groups([len(prompt.tokens) for prompt in prompts], begun):
            beginning, counted = self._beginning(first) if first else (None, None)
            entering = MLXBatch(
                self._network, [prompts[at] for at in members], begun=first, beginning=beginning, counted=counted
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

    def _beginning(self, tokens: int) -> tuple[list[Any], Interventions]:
        """Caches of one row that hold the first tokens of what is shared, to go on from."""
        if tokens not in self._held:
            if self._injected:
                # What was injected later than that must not be counted.
                self._read(tokens)
            else:
                longer, nothing = self._held.get(len(self._shared)) or self._read(len(self._shared))
                found = longer if tokens == len(self._shared) else mlx_cache.shortened(longer, tokens)
                # A state that has moved on cannot be cut back.
                self._held[tokens] = (found, nothing) if found else self._read(tokens)
        caches, counted = self._held[tokens]
        return mlx_cache.copied(caches), counted

    def _read(self, tokens: int) -> tuple[list[Any], Interventions]:
        single = MLXBatch(self._network, [Prompt(self._shared[:tokens], self._injected)])
        single.read([self._shared[:tokens]])
        held = self._held[tokens] = single.caches, single.interventions
        return held
