"""Generates with MLX, one step ahead of the host.

As soon as tokens are drawn they are fed to the model again, unread: while the host learns what they were, decodes text
and builds the next step, the device computes. What is injected in a step that a row no longer takes part in is not
counted as its: proofs are those of the step before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from ..base import Prompt, Proof, Sampling
from .batch import MLXBatch, MLXNetwork
from .numeric import choose, confirm
from .patch import Interventions
from .reader import MLXPromptReader


@dataclass(slots=True)
class _Lockstep:
    """Holds rows that go through the model together."""

    batch: MLXBatch
    logits: mx.array
    """Logits of the next token, (rows, vocabulary); their computation may still go on."""
    members: list[int]
    """Which live row each of its rows is."""
    proven: Interventions
    """Injections as they stood when the tokens that were read last were drawn."""


class MLXDecoder:
    """Decodes with MLX (``engine.Decoder``): one batch, or several where the model cannot pad."""

    def __init__(self, network: MLXNetwork, prompts: Sequence[Prompt]) -> None:
        """
        Args:
            prompts: all that may be admitted. What they begin with is read once.
        """
        self._network = network
        self._reader = MLXPromptReader(network, prompts)
        self._groups: list[_Lockstep] = []
        self._settled = True
        """Whether the device has confirmed everything that it was asked to compute."""

    def admit(self, prompts: Sequence[Prompt]) -> None:
        first = sum(len(group.members) for group in self._groups)
        with self._network.scope():
            for members in self._reader.plan(prompts, len(prompts)):
                batch, logits = self._reader.read([prompts[at] for at in members])
                self._enter(batch, logits, [first + at for at in members])

    def _enter(self, batch: MLXBatch, logits: mx.array, members: list[int]) -> None:
        if not self._groups or self._network.padding is None:
            self._groups.append(_Lockstep(batch, logits, members, batch.interventions))
            return
        [group] = self._groups
        group.batch.join(batch)
        group.logits = mx.concatenate([group.logits, logits])
        group.members += members

    def sample(self, samplings: Sequence[Sampling], draws: NDArray[np.float64]) -> list[int | None]:
        drawn = []
        with self._network.scope():
            for group in self._groups:
                settings = [samplings[at] for at in group.members]
                tokens = choose(group.logits, settings, draws[group.members])
                group.proven = group.batch.interventions.copy()
                limits = np.array([setting.max_tokens for setting in settings])
                if (group.batch.generated + 1 < limits).any():
                    group.logits = group.batch.step(tokens)
                mx.async_eval(  # type: ignore[no-untyped-call]
                    tokens, group.proven.pending(), group.logits, group.batch.interventions.pending()
                )
                drawn.append(tokens)
            read = [np.array(tokens) for tokens in drawn]
        self._settled = False
        chosen: list[int | None] = [None] * len(samplings)
        for group, ids in zip(self._groups, read, strict=True):
            for at, token in zip(group.members, ids.tolist(), strict=True):
                chosen[at] = token if token >= 0 else None
        return chosen

    def proofs(self, row: int) -> tuple[Proof, ...]:
        """See ``engine.Decoder``. A row is handed out with its proofs, so what it rests on is confirmed first."""
        if not self._settled:
            with self._network.scope():
                confirm()
            self._settled = True
        group = next(group for group in self._groups if row in group.members)
        return group.proven.proofs(group.members.index(row))

    def keep(self, rows: Sequence[int]) -> None:
        renumbered = {old: new for new, old in enumerate(rows)}
        with self._network.scope():
            for group in self._groups:
                kept = [row for row, at in enumerate(group.members) if at in renumbered]
                if kept and len(kept) < len(group.members):
                    group.batch.keep(kept)
                    group.logits = group.logits[mx.array(kept)]
                group.members = [renumbered[group.members[row]] for row in kept]
        self._groups = [group for group in self._groups if group.members]

    def step(self, tokens: Sequence[int]) -> None:
        """Do nothing: tokens are fed when they are drawn."""
