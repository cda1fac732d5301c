"""Scores continuations with MLX: prompts are read once, and copies of their rows read on."""

from __future__ import annotations

from collections.abc import Sequence

import mlx.core as mx
import numpy as np

from ..base import Float32, Prompt, Proof
from ..scoring import Wanted
from .batch import Chunk, MLXNetwork
from .numeric import LOGITS_AT_ONCE, confirm, log_softmax
from .reader import MLXPromptReader


class MLXScorer:
    """Scores a batch that has read its prompts; implements ``scoring.PromptScorer``."""

    def __init__(self, network: MLXNetwork, prompts: Sequence[Prompt], reader: MLXPromptReader) -> None:
        """Reads all prompts.

        Args:
            reader: knows what they begin with.
        """
        self._network = network
        with network.scope():
            self._batch, self._logits = reader.read(prompts)
            mx.eval(self._logits, self._batch.interventions.pending())

    def first(self, wanted: Sequence[Wanted]) -> list[float]:
        with self._network.scope():
            values = _logprobs(self._logits[:, None], wanted)
            confirm()
        return values

    def everything(self) -> Float32:
        """Return the log-probabilities of the whole vocabulary after each prompt, float32 (rows, vocabulary)."""
        with self._network.scope():
            found = np.array(log_softmax(self._logits))
            confirm()
        return found

    def follow(
        self, rows: Sequence[int], tails: Sequence[Sequence[int]], wanted: Sequence[Wanted]
    ) -> tuple[list[float], list[tuple[Proof, ...]]]:
        values: list[float] = [0.0] * len(wanted)
        done = 0

        def observe(chunk: Chunk) -> None:
            nonlocal done
            width = chunk.positions.shape[1]
            here = [at for at, w in enumerate(wanted) if done <= w.column < done + width]
            asked = [Wanted(wanted[at].row, wanted[at].column - done, wanted[at].token) for at in here]
            for at, value in zip(here, _logprobs(chunk.logits, asked), strict=True):
                values[at] = value
            done += width

        with self._network.scope():
            twin = self._batch.fork(rows)
            most = LOGITS_AT_ONCE // (self._logits.shape[-1] * len(rows))
            twin.read(tails, observe=observe, chunk=max(1, min(most, self._network.prefill_chunk)), final=True)
            proofs = [twin.proofs(row) for row in range(len(rows))]
            confirm()
        return values, proofs

    def proofs(self, row: int) -> tuple[Proof, ...]:
        return self._batch.proofs(row)


def _logprobs(logits: mx.array, wanted: Sequence[Wanted]) -> list[float]:
    """Log-probabilities of tokens, from logits (rows, columns, vocabulary)."""
    if not wanted:
        return []
    rows, columns, tokens = (mx.array(part) for part in zip(*((w.row, w.column, w.token) for w in wanted), strict=True))
    return [float(value) for value in np.array(log_softmax(logits)[rows, columns, tokens])]
