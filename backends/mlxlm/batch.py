"""Rows that go through an mlx-lm model together: caches, padding, positions and injections.

Rows of one length use mlx-lm's plain caches with several rows and need no padding at all; rows of different lengths
use its batch caches, padded on the right while the prompt is read and rolled into place afterwards. What rows begin
with may have been read before (``reader``); its cache is then forked.

Every array operation happens on the calling thread: MLX streams belong to threads. Nothing stays patched between two
calls, so an abandoned decoder leaves nothing behind.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx_lm.models.cache import BatchKVCache
from numpy.typing import NDArray

from ..base import Prompt, Proof, Site
from ..lanes import LayerSite
from . import cache as mlx_cache
from .patch import Interventions, Positions

Observe = Callable[["Chunk"], None]


@dataclass(frozen=True, eq=False)
class MLXNetwork:
    """Holds a loaded model and what batching needs to know about it."""

    model: nn.Module
    blocks: Sequence[nn.Module]
    sizes: Mapping[Site, int]
    """Columns of the activation at each site."""
    prefill_chunk: int
    """Positions per forward call while a prompt is read."""
    caches: mlx_cache.Maker
    device: Any = None
    """MLX device to run on; the default one when ``None``."""

    def scope(self) -> AbstractContextManager[Any]:
        """Return where operations run while it is entered."""
        return nullcontext() if self.device is None else mx.stream(self.device)

    @cached_property
    def padding(self) -> type[BatchKVCache] | None:
        """Return the batch cache under which rows of different lengths may share a batch; ``None`` where they cannot.

        State-space caches have no padding, and attention written for one mask per batch fails or, worse, broadcasts a
        mask per row over heads. So the model is asked once: five short rows together must say what they say alone.
        Where they do not, only rows of equal length are batched.
        """
        if not mlx_cache.can_pad(self.caches()):
            return None
        rows = [Prompt(tuple(range(1, 2 + count))) for count in range(5)]
        alone = np.concatenate([_last_logits(MLXBatch(self, [row])) for row in rows])
        return next((kind for kind in mlx_cache.PADDED if _agrees(self, rows, kind, alone)), None)

    def plan(self, lengths: Sequence[int], batch_size: int) -> list[list[int]]:
        """Cut rows into batches this model can run, similar lengths together."""
        order = sorted(range(len(lengths)), key=lambda row: lengths[row])
        mixed = len(set(lengths)) > 1 and self.padding is not None
        batches: list[list[int]] = []
        for row in order:
            last = batches[-1] if batches else []
            if not last or len(last) == batch_size or (not mixed and lengths[last[0]] != lengths[row]):
                batches.append([row])
            else:
                last.append(row)
        return batches


def _agrees(network: MLXNetwork, rows: Sequence[Prompt], kind: type[BatchKVCache], alone: NDArray[np.float32]) -> bool:
    """Whether rows padded with this cache come to the logits they come to alone."""
    try:
        together = _last_logits(MLXBatch(network, rows, padding=kind))
    except (ValueError, RuntimeError, TypeError):
        return False
    centred = [logits - logits.mean(axis=1, keepdims=True) for logits in (together, alone)]
    lengths = np.linalg.norm(centred[0], axis=1) * np.linalg.norm(centred[1], axis=1)
    return bool((np.einsum("rv,rv->r", *centred) > 0.99 * lengths).all())


def _last_logits(batch: MLXBatch) -> NDArray[np.float32]:
    return np.array(batch.prefill().astype(mx.float32))


class Spot(NamedTuple):
    """Marks a wanted position inside a chunk."""

    row: int
    column: int
    slot: int
    """Index into the row's wanted positions."""


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Describes one forward call, as an observer sees it. Arrays it does not use are never computed."""

    positions: Positions
    logits: mx.array
    """(rows, n, vocabulary)."""
    seen: Mapping[LayerSite, mx.array]
    """Activations that were asked for, (rows, n, size)."""

    def find(self, wanted: Sequence[Sequence[int]]) -> list[Spot]:
        """Return where the positions each row wants lie in this chunk."""
        spots: list[Spot] = []
        for row, positions in enumerate(wanted):
            columns = {int(position): column for column, position in enumerate(self.positions[row]) if position >= 0}
            spots.extend(Spot(row, columns[p], slot) for slot, p in enumerate(positions) if p in columns)
        return spots


class MLXBatch:
    """Runs rows in lock-step, with their caches, their positions and their injections."""

    def __init__(
        self,
        network: MLXNetwork,
        prompts: Sequence[Prompt],
        *,
        begun: int = 0,
        beginning: list[Any] | None = None,
        counted: Interventions | None = None,
        padding: type[BatchKVCache] | None = None,
    ) -> None:
        """Nothing is computed yet.

        Args:
            begun: how many tokens of every prompt have been read already.
            beginning: plain caches of one row that hold them; they are used up.
            counted: of the one row that they were read in; its injections are the first of every prompt.
            padding: the batch cache for rows of different lengths, if not the network's.
        """
        self._network = network
        self._prompts = list(prompts)
        self._begun = begun
        self._beginning = beginning
        self._padding = padding
        self._even = len({len(prompt.tokens) for prompt in prompts}) == 1
        self._done = np.zeros(len(prompts), np.int32)
        """(rows,): positions that are in the cache."""
        self._caches: list[Any] = []
        self.interventions = Interventions(network.blocks, prompts, network.sizes)
        if counted is not None:
            self.interventions.count_on(counted)

    @property
    def caches(self) -> list[Any]:
        """Return one cache per block."""
        return self._caches

    @property
    def generated(self) -> NDArray[np.int32]:
        """Return (rows,): tokens of the reply that were fed."""
        return self._done - np.array([len(prompt.tokens) for prompt in self._prompts], np.int32)

    def prefill(self) -> mx.array:
        """Read the prompts to the end; returns the next token's logits (rows, vocabulary), not yet evaluated."""
        self.read([prompt.tokens[:-1] for prompt in self._prompts])
        return self.step(mx.array([prompt.tokens[-1] for prompt in self._prompts]))

    def read(
        self,
        tokens: Sequence[Sequence[int]],
        *,
        places: Sequence[LayerSite] = (),
        observe: Observe | None = None,
        chunk: int | None = None,
        final: bool = False,
    ) -> None:
        """Append known tokens to every row, in chunks.

        Args:
            tokens: per row; of different lengths only if the batch was announced so.
            places: activations to show to ``observe``.
            observe: called after every chunk.
            chunk: positions per forward call.
            final: nothing will follow, so what only later tokens would need is not computed.
        """
        # A rotating cache takes a chunk of one position for a decoding step, which it refuses while padded.
        chunk = max(2, chunk or self._network.prefill_chunk)
        if not self._caches:
            self._fork(self._beginning or self._network.caches())
            self._beginning = None
            self._done = self._done + np.int32(self._begun)
            tokens = [row[self._begun :] for row in tokens]
        counts = np.array([len(row) for row in tokens], np.int32)
        widest = int(counts.max())
        if widest == 0:
            return
        padded = bool((counts != widest).any())
        if padded:
            widest += widest % chunk == 1
            for cache in self._caches:
                cache.prepare(lengths=counts.tolist(), right_padding=(widest - counts).tolist())
        table = np.zeros((len(tokens), widest), np.int32)
        for row, ids in enumerate(tokens):
            table[row, : len(ids)] = ids
        for start in range(0, widest, chunk):
            part = table[:, start : start + chunk]
            columns = np.arange(part.shape[1], dtype=np.int32)
            inside = columns < (counts - start)[:, None]
            positions = np.where(inside, self._done[:, None] + columns, np.int32(-1))
            with self.interventions.at(positions, places) as seen:
                logits = self._network.model(mx.array(part), cache=self._caches)
            self._done = self._done + inside.sum(axis=1, dtype=np.int32)
            if observe is not None:
                observe(Chunk(positions, logits, seen))
            mx.eval(self.interventions.pending())
            if not (final and start + chunk >= widest):
                mx.eval([cache.state for cache in self._caches])
        if padded and not final:
            for cache in self._caches:
                cache.finalize()
            mx.eval([cache.state for cache in self._caches])
        mx.clear_cache()

    def step(self, tokens: mx.array) -> mx.array:
        """Feed one token per row; returns the next token's logits (rows, vocabulary), not yet evaluated.

        Args:
            tokens: (rows,), integers; need not be evaluated either.
        """
        with self.interventions.at(self._done[:, None].copy()):
            logits: mx.array = self._network.model(tokens[:, None], cache=self._caches)
        self._done = self._done + 1
        return logits[:, -1]

    def fork(self, rows: Sequence[int]) -> MLXBatch:
        """Return a batch of its own that goes on from these rows; one may be listed several times."""
        twin = copy.copy(self)
        twin._caches = [copy.copy(cache) for cache in self._caches]
        # What is chosen by rows is new, so the copies share no array that is written to.
        twin.interventions = self.interventions.copy()
        twin.keep(rows)
        return twin

    def keep(self, rows: Sequence[int]) -> None:
        """Drop every row not listed; the listed ones are renumbered in this order."""
        if self._even:
            self._caches = mlx_cache.chosen(self._caches, rows)
        else:
            index = mx.array(list(rows))
            for cache in self._caches:
                cache.filter(index)
        self._prompts = [self._prompts[row] for row in rows]
        self._done = self._done[list(rows)]
        self.interventions.keep(rows)

    def join(self, other: MLXBatch) -> None:
        """Take in the rows of another batch, numbered after one's own; the other one is used up.

        Both must have been read, by a network that can pad unless all rows are at one position.
        """
        stacked = None
        if self._even and other._even and self._done[0] == other._done[0]:
            stacked = mlx_cache.stacked(self._caches, other._caches)
        if stacked is not None:
            self._caches = stacked
        else:
            self._pad()
            other._pad()
            for ours, theirs in zip(self._caches, other._caches, strict=True):
                ours.extend(theirs)
        self._prompts = self._prompts + other._prompts
        self._done = np.concatenate([self._done, other._done])
        self.interventions = self.interventions.joined(other.interventions)

    def proofs(self, row: int) -> tuple[Proof, ...]:
        """Return what was injected into a row so far; evaluates nothing that a step has evaluated."""
        return self.interventions.proofs(row)

    def _pad(self) -> None:
        """Change to caches whose rows may be at different positions."""
        if self._even:
            self._caches = mlx_cache.padded(self._caches, len(self._prompts), self._padded_cache)
            self._even = False

    def _fork(self, caches: list[Any]) -> None:
        """One cache per block, for all rows, from the caches of what they have in common."""
        rows = len(self._prompts)
        if not self._even:
            self._caches = mlx_cache.spread(caches, rows, self._padded_cache)
        else:
            self._caches = caches if rows == 1 else mlx_cache.forked(caches, rows)

    @property
    def _padded_cache(self) -> type[BatchKVCache]:
        kind = self._padding or self._network.padding
        if kind is None:
            raise ValueError("rows at different positions in a model that cannot pad")
        return kind
