"""Rows that go through an mlx-lm model together: caches, padding, shared prefixes, and the decoder on top.

Rows of one length use mlx-lm's plain caches with several rows and need no padding at all; rows of different lengths
use its batch caches, padded on the right while the prompt is read and rolled into place afterwards. The tokens all rows
have in common, up to the first position any of them injects at, are read once and their cache is forked.

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
from mlx.utils import tree_map
from mlx_lm.models.cache import KVCache, RotatingKVCache, make_prompt_cache
from numpy.typing import NDArray

from backends.base import Prompt, Proof, Sampling
from backends.lanes import Place, proofs
from backends.mlx_numeric import LOGITS_AT_ONCE, choose, log_softmax
from backends.mlx_patch import Interventions, Positions
from backends.scoring import Wanted

Observe = Callable[["Chunk"], None]


@dataclass(frozen=True, eq=False)
class Network:
    """A loaded model and what batching needs to know about it."""

    model: nn.Module
    blocks: Sequence[nn.Module]
    width: int
    prefill_chunk: int
    """Positions per forward call while a prompt is read."""
    device: Any = None
    """MLX device to run on; the default one when ``None``."""

    def scope(self) -> AbstractContextManager[Any]:
        """Where operations run while it is entered."""
        return nullcontext() if self.device is None else mx.stream(self.device)

    @cached_property
    def pads(self) -> bool:
        """Whether rows of different lengths may share a batch.

        Some families cannot: state-space caches have no padding, and attention written for one mask per batch
        (mlx-lm's Gemma 2) fails or, worse, broadcasts over heads. So the model is asked once: five short rows
        together must say what they say alone. Where they do not, only rows of equal length are batched.
        """
        if any(type(cache) not in (KVCache, RotatingKVCache) for cache in make_prompt_cache(self.model)):
            return False
        rows = [Prompt(tuple(range(1, 2 + count))) for count in range(5)]
        try:
            together = _last_logits(self, rows)
        except (ValueError, RuntimeError, TypeError):
            return False
        alone = np.concatenate([_last_logits(self, [row]) for row in rows])
        centred = [logits - logits.mean(axis=1, keepdims=True) for logits in (together, alone)]
        lengths = np.linalg.norm(centred[0], axis=1) * np.linalg.norm(centred[1], axis=1)
        return bool((np.einsum("rv,rv->r", *centred) > 0.99 * lengths).all())

    def plan(self, lengths: Sequence[int], batch_size: int) -> list[list[int]]:
        """Cut rows into batches this model can run, similar lengths together."""
        order = sorted(range(len(lengths)), key=lambda row: lengths[row])
        mixed = len(set(lengths)) > 1 and self.pads
        batches: list[list[int]] = []
        for row in order:
            last = batches[-1] if batches else []
            if not last or len(last) == batch_size or (not mixed and lengths[last[0]] != lengths[row]):
                batches.append([row])
            else:
                last.append(row)
        return batches


def _last_logits(network: Network, prompts: Sequence[Prompt]) -> NDArray[np.float32]:
    _, logits = prefilled(network, prompts)
    return np.array(logits.astype(mx.float32))


def prefilled(network: Network, prompts: Sequence[Prompt]) -> tuple[Batch, mx.array]:
    """Prompts read to the end, and the next token's logits (rows, vocabulary), not yet evaluated."""
    batch = Batch(network, prompts)
    batch.read([prompt.tokens[:-1] for prompt in prompts])
    return batch, batch.step([prompt.tokens[-1] for prompt in prompts])


class Spot(NamedTuple):
    """A wanted position inside a chunk."""

    row: int
    column: int
    slot: int
    """Index into the row's wanted positions."""


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """One forward call, as an observer sees it. Arrays it does not use are never computed."""

    positions: Positions
    logits: mx.array
    """(rows, n, vocabulary)."""
    seen: Mapping[Place, mx.array]
    """Activations that were asked for, (rows, n, width)."""

    def find(self, wanted: Sequence[Sequence[int]]) -> list[Spot]:
        """Where the positions each row wants lie in this chunk."""
        spots: list[Spot] = []
        for row, positions in enumerate(wanted):
            columns = {int(position): column for column, position in enumerate(self.positions[row]) if position >= 0}
            spots.extend(Spot(row, columns[p], slot) for slot, p in enumerate(positions) if p in columns)
        return spots


class Batch:
    """Rows in lock-step: their caches, their positions and their injections."""

    def __init__(self, network: Network, prompts: Sequence[Prompt]) -> None:
        """Nothing is computed yet."""
        self._network = network
        self._prompts = list(prompts)
        self._even = len({len(prompt.tokens) for prompt in prompts}) == 1
        self._done = np.zeros(len(prompts), np.int32)
        """(rows,): positions that are in the cache."""
        self._caches: list[Any] = []
        starts = [injection.start for prompt in prompts for injection in prompt.injections]
        self._first_injected = min(starts, default=None)
        self.interventions = Interventions(network.blocks, prompts, network.width)

    def read(
        self,
        tokens: Sequence[Sequence[int]],
        *,
        places: Sequence[Place] = (),
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
            shared = 0 if observe else self._common_prefix(tokens)
            self._caches = self._fork(self._prefix(tokens[0][:shared], chunk))
            self._done += shared
            tokens = [row[shared:] for row in tokens]
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
            self._done += inside.sum(axis=1, dtype=np.int32)
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

    def step(self, tokens: Sequence[int]) -> mx.array:
        """Feed one token per row; returns the next token's logits (rows, vocabulary), not yet evaluated."""
        if not self._caches:
            self._caches = self._fork(make_prompt_cache(self._network.model))
        with self.interventions.at(self._done[:, None].copy()):
            logits: mx.array = self._network.model(mx.array(list(tokens))[:, None], cache=self._caches)
        self._done += 1
        return logits[:, -1]

    def fork(self, rows: Sequence[int]) -> Batch:
        """A batch of its own that goes on from these rows; one may be listed several times."""
        twin = copy.copy(self)
        twin._caches = [copy.copy(cache) for cache in self._caches]
        twin.interventions = self.interventions.copy()
        twin.keep(rows)
        return twin

    def keep(self, rows: Sequence[int]) -> None:
        """Drop every row not listed; the listed ones are renumbered in this order."""
        index = mx.array(list(rows))
        for cache in self._caches:
            if self._even:
                cache.state = _over_rows(cache.state, lambda array: array[index])
            else:
                cache.filter(index)
        self._prompts = [self._prompts[row] for row in rows]
        self._done = self._done[list(rows)]
        self.interventions.keep(rows)

    def proofs(self, row: int) -> tuple[Proof, ...]:
        """What was injected into a row so far; evaluates nothing that a step has evaluated."""
        return proofs(self._prompts[row], self.interventions.tallies(row))

    def _common_prefix(self, tokens: Sequence[Sequence[int]]) -> int:
        """How many tokens can be read once for all rows: equal in each, and before any injection."""
        if len(self._prompts) == 1:
            return 0
        low, high = min(map(tuple, tokens)), max(map(tuple, tokens))
        limit = min(len(row) for row in tokens)
        if self._first_injected is not None:
            limit = min(limit, self._first_injected)
        return next((i for i in range(limit) if low[i] != high[i]), limit)

    def _prefix(self, tokens: Sequence[int], chunk: int) -> list[Any]:
        caches: list[Any] = make_prompt_cache(self._network.model)
        for start in range(0, len(tokens), chunk):
            self._network.model(mx.array([list(tokens[start : start + chunk])]), cache=caches)
            mx.eval([cache.state for cache in caches])
        return caches

    def _fork(self, caches: list[Any]) -> list[Any]:
        """One cache per block, for all rows, from the cache of what they have in common."""
        rows = len(self._prompts)
        if not self._even:
            return [cache.merge([cache] * rows) for cache in caches]
        if rows == 1:
            return caches
        forked = []
        for cache in caches:
            many = copy.copy(cache)
            many.state = _over_rows(cache.state, lambda array: mx.repeat(array, rows, axis=0))
            forked.append(many)
        return forked


def _over_rows(state: Any, change: Callable[[mx.array], mx.array]) -> Any:
    """Apply a change to every array of a cache's state; counters in it are left alone."""
    return tree_map(lambda leaf: change(leaf) if isinstance(leaf, mx.array) and leaf.ndim > 1 else leaf, state)


@dataclass(slots=True)
class _Group:
    """A batch of the decoder, with the live row that each of its rows is."""

    batch: Batch
    logits: mx.array
    members: list[int]


class MLXDecoder:
    """``engine.Decoder`` over one batch, or several where the model cannot mix lengths."""

    def __init__(self, network: Network, prompts: Sequence[Prompt]) -> None:
        """Reads all prompts."""
        self._network = network
        self._groups: list[_Group] = []
        with network.scope():
            for members in network.plan([len(prompt.tokens) for prompt in prompts], len(prompts)):
                batch, logits = prefilled(network, [prompts[at] for at in members])
                self._groups.append(_Group(batch, logits, members))

    def sample(self, samplings: Sequence[Sampling], draws: NDArray[np.float64]) -> list[int]:
        with self._network.scope():
            drawn = [choose(g.logits, [samplings[at] for at in g.members], draws[g.members]) for g in self._groups]
            # One evaluation per step: the tokens, and what was measured on the way to them.
            mx.eval(drawn, [group.batch.interventions.pending() for group in self._groups])
            tokens = [np.array(ids) for ids in drawn]
        chosen = [0] * len(samplings)
        for group, ids in zip(self._groups, tokens, strict=True):
            for at, token in zip(group.members, ids, strict=True):
                chosen[at] = int(token)
        return chosen

    def proofs(self, row: int) -> tuple[Proof, ...]:
        group = next(group for group in self._groups if row in group.members)
        return group.batch.proofs(group.members.index(row))

    def keep(self, rows: Sequence[int]) -> None:
        renumbered = {old: new for new, old in enumerate(rows)}
        with self._network.scope():
            for group in self._groups:
                kept = [row for row, at in enumerate(group.members) if at in renumbered]
                if 0 < len(kept) < len(group.members):
                    group.batch.keep(kept)
                    group.logits = group.logits[mx.array(kept)]
                group.members = [renumbered[group.members[row]] for row in kept]
        self._groups = [group for group in self._groups if group.members]

    def step(self, tokens: Sequence[int]) -> None:
        with self._network.scope():
            for group in self._groups:
                group.logits = group.batch.step([tokens[at] for at in group.members])


class MLXScorer:
    """``scoring.Reader`` over a batch that has read its prompts."""

    def __init__(self, network: Network, prompts: Sequence[Prompt]) -> None:
        """Reads all prompts."""
        self._network = network
        with network.scope():
            self._batch, self._logits = prefilled(network, prompts)
            mx.eval(self._logits, self._batch.interventions.pending())

    def first(self, wanted: Sequence[Wanted]) -> list[float]:
        with self._network.scope():
            return _logprobs(self._logits[:, None], wanted)

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
            return values, [twin.proofs(row) for row in range(len(rows))]

    def proofs(self, row: int) -> tuple[Proof, ...]:
        return self._batch.proofs(row)


def _logprobs(logits: mx.array, wanted: Sequence[Wanted]) -> list[float]:
    """Log-probabilities of tokens, from logits (rows, columns, vocabulary)."""
    if not wanted:
        return []
    rows, columns, tokens = (mx.array(part) for part in zip(*((w.row, w.column, w.token) for w in wanted), strict=True))
    return [float(value) for value in np.array(log_softmax(logits)[rows, columns, tokens])]
