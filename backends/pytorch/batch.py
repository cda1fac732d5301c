"""Rows in flight through a PyTorch model: prompts, positions, masks, cache.

A token's column in the cache is its position, whatever row it is in, so rows of different lengths need no padding on
the left, and rows that enter later fit in beside those that are under way. Prompts that are read together are padded on
the right; nothing attends to that padding, and replies overwrite it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..base import Prompt, Proof, Sampling
from ..lanes import LayerSite
from ..prefix import PADDING, common_injections, groups, shared_prefix, usable
from .hooks import Injector, hooked
from .lanes import Edit
from .linear import few_tokens
from .model import Network
from .past import masks
from .past.slots import ROOM, SlotCache, Write
from .sampling import choose


class TorchBatch:
    """Holds rows that are read and continued together."""

    def __init__(
        self,
        network: Network,
        prompts: Sequence[Prompt],
        *,
        chunk: int,
        cache: SlotCache | None = None,
        counted: Injector | None = None,
    ) -> None:
        """
        Args:
            chunk: prompt columns processed at a time.
            cache: holds what was read of the prompts already, equally much of each.
            counted: of the one row that this was read in; its injections are the first of every prompt.
        """
        self._network = network
        self._prompts = list(prompts)
        self._chunk = chunk
        self._onward = chunk if network.resumes else 1
        """Columns processed at a time once there is something in the cache."""
        self._cache = cache or SlotCache(len(network.blocks))
        self._injector = Injector(network, prompts)
        if counted is not None:
            self._injector.count_on(counted)
        self._lengths = np.array([len(prompt.tokens) for prompt in prompts])
        """Tokens per row, those of the prompt still to be read included."""
        self._logits: Tensor | None = None

    def __len__(self) -> int:
        return len(self._prompts)

    @property
    def cache(self) -> SlotCache:
        return self._cache

    @property
    def injector(self) -> Injector:
        return self._injector

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Return (rows,): tokens of each, those of the prompt still to be read included."""
        return self._lengths

    @property
    def logits(self) -> Tensor:
        """Return the next token's logits, float32 (rows, vocabulary)."""
        assert self._logits is not None, "prefill first"
        return self._logits

    def chunks(self, first: int = 0) -> Iterator[tuple[int, int]]:
        """Return the column ranges ``[start, stop)`` to ``read`` in this order."""
        width = int(self._lengths.max())
        start = first
        while start < width:
            stop = min(start + (self._chunk if start == 0 else self._onward), width)
            yield start, stop
            start = stop

    @torch.inference_mode()
    def read(self, start: int, stop: int, edits: Mapping[LayerSite, Sequence[Edit]] | None = None) -> Tensor:
        """Process columns of the prompts.

        Args:
            edits: done after the injections at the same place.

        Returns:
            (rows, stop - start, width): hidden states after the final norm.
        """
        tokens = np.zeros((len(self), stop - start), np.int64)
        for row, prompt in enumerate(self._prompts):
            part = prompt.tokens[start:stop]
            tokens[row, : len(part)] = part
        columns = np.arange(start, stop)
        positions = np.where(columns < self._lengths[:, None], columns, -1)
        where = torch.from_numpy(columns).to(self._network.device)
        return self._forward(tokens, positions, where[None], Write(slice(start, stop), stop, len(self)), edits or {})

    @torch.inference_mode()
    def prefill(self, first: int = 0) -> TorchBatch:
        """Read the prompts from a column to their ends, ready to sample."""
        ends = torch.empty(0)
        for start, stop in self.chunks(first):
            hidden = self.read(start, stop)
            if start == first:
                ends = hidden.new_empty(len(self), hidden.shape[-1])
            here = [row for row, length in enumerate(self._lengths) if start < length <= stop]
            ends[here] = hidden[here, [int(self._lengths[row]) - 1 - start for row in here]]
        self._logits = self._network.logits(ends)
        return self

    @property
    def _shared(self) -> int:
        """Columns that all rows share and that attention may take together: where reading memory is what takes time."""
        apart = self._network.device.type == "cpu" and self._network.dtype == torch.float32
        return self._cache.shared if apart and masks.sees_all(self._network.config) else 0

    def proofs(self, row: int) -> tuple[Proof, ...]:
        return self._injector.proofs(row)

    @torch.inference_mode()
    def keep(self, rows: Sequence[int]) -> None:
        """Drop the rows not listed; row ``rows[i]`` becomes row i. Logits are not kept."""
        self._cache.keep(rows)
        self._choose(rows)

    @torch.inference_mode()
    def fork(self, rows: Sequence[int]) -> TorchBatch:
        """Return a batch of its own that goes on from these rows; one may be listed several times."""
        twin = copy.copy(self)
        twin._cache = self._cache.fork(rows)
        twin._injector = self._injector.copy()
        twin._choose(rows)
        return twin

    @torch.inference_mode()
    def absorb(self, other: TorchBatch) -> None:
        """Take the rows of another batch in, after these."""
        self._cache.absorb(other._cache, len(self), len(other))
        self._injector.absorb(other._injector)
        self._prompts += other._prompts
        self._lengths = np.concatenate([self._lengths, other._lengths])
        self._logits = torch.cat([self.logits, other.logits])

    @torch.inference_mode()
    def reorder(self, rows: Sequence[int]) -> None:
        """Do as ``keep`` does, with the logits too."""
        if list(rows) != list(range(len(self))):
            logits = self.logits[list(rows)]
            self.keep(rows)
            self._logits = logits

    @torch.inference_mode()
    def extend(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """Read further known tokens, equally many per row.

        Returns:
            (rows, tokens, width): hidden states after the final norm.
        """
        table = np.array(tokens, np.int64)
        parts = []
        for start in range(0, table.shape[1], self._onward):
            part = table[:, start : start + self._onward]
            positions = self._lengths[:, None] + np.arange(part.shape[1])
            self._lengths = self._lengths + part.shape[1]
            where = torch.from_numpy(positions).to(self._network.device)
            write = Write(where, int(self._lengths.max()), len(self), self._shared)
            parts.append(self._forward(part, positions, where, write, {}))
        return torch.cat(parts, dim=1)

    @torch.inference_mode()
    def step(self, tokens: Sequence[int]) -> None:
        hidden = self.extend([[token] for token in tokens])
        self._logits = self._network.logits(hidden[:, -1])

    def move_to(self, cache: SlotCache) -> None:
        """Go on in another cache, which has taken over what this one's holds."""
        self._cache = cache

    def stepped(self, logits: Tensor) -> None:
        """Take note of a ``step`` that was done elsewhere, in this cache.

        Args:
            logits: as of ``logits``; kept without a copy.
        """
        self._lengths = self._lengths + 1
        self._logits = logits

    def _choose(self, rows: Sequence[int]) -> None:
        self._prompts = [self._prompts[row] for row in rows]
        self._lengths = self._lengths[list(rows)]
        self._injector.keep(rows)
        self._logits = None

    def _forward(
        self,
        tokens: NDArray[np.int64],
        positions: NDArray[np.int64],
        where: Tensor,
        write: Write,
        extra: Mapping[LayerSite, Sequence[Edit]],
    ) -> Tensor:
        """
        Args:
            positions: (rows, tokens), -1 for padding; what injections go by.
            where: positions on the device with padding counted on, (rows or 1, tokens); what attention goes by.
        """
        device = self._network.device
        ids, touched = torch.from_numpy(np.stack([tokens, positions])).to(device)
        injected = self._injector.begin(touched, np.maximum(positions[:, 0], 0), positions.max(axis=1) + 1)
        edits = injected.edits
        for place, more in extra.items():
            edits.setdefault(place, []).extend(more)
        self._cache.write = write
        with hooked(self._network, edits), few_tokens(self._network.linears, ids.numel()):
            output = self._network.read(ids, where, write.width, self._cache)
        injected.settle()
        return output


class PromptReader:
    """Reads the prompts of one call. What most of them begin with is read once, and its cache given to each."""

    def __init__(self, network: Network, prompts: Sequence[Prompt], *, chunk: int) -> None:
        """
        Args:
            prompts: all of the call, as far as they are known; nothing is read yet.
        """
        self._network = network
        self._chunk = chunk
        self._injected = common_injections(prompts)
        self._shared = shared_prefix(prompts, len(self._injected)) if network.resumes else ()
        self._sources: dict[int, TorchBatch] = {}
        """Rows that hold a beginning, by its length."""

    def read(self, prompts: Sequence[Prompt]) -> TorchBatch:
        """Return the prompts in this order, ready to sample."""
        begun = [usable(prompt, self._shared, len(self._injected)) for prompt in prompts]
        whole: TorchBatch | None = None
        order: list[int] = []
        # Padding would change what layers carry from token to token.
        waste = 1.0 if self._network.carries else PADDING
        for first, members in groups([len(prompt.tokens) for prompt in prompts], begun, waste):
            room = max(len(prompts[at].tokens) for at in members) + ROOM
            source = self._beginning(first) if first else None
            batch = TorchBatch(
                self._network,
                [prompts[at] for at in members],
                chunk=self._chunk,
                cache=source.cache.fork([0] * len(members), first, room=room) if source else None,
                counted=source.injector if source else None,
            )
            batch.prefill(first)
            order += members
            if whole is None:
                whole = batch
            else:
                whole.absorb(batch)
        assert whole is not None, "no prompts"
        whole.reorder(np.argsort(order).tolist())
        return whole

    def _beginning(self, tokens: int) -> TorchBatch:
        """A row that holds at least so many tokens of what is shared; exactly as many where something is injected, or
        layers carry a state, which cannot be cut back."""
        held = tokens if self._injected or self._network.carries else len(self._shared)
        if held not in self._sources:
            # What is injected from there on is left to the rows that go on.
            single = TorchBatch(self._network, [Prompt(self._shared[:held], self._injected)], chunk=self._chunk)
            for start, stop in single.chunks():
                single.read(start, stop)
            self._sources[held] = single
        return self._sources[held]


class TorchDecoder:
    """Decodes rows with a transformers model; implements ``engine.Decoder``."""

    def __init__(self, reader: PromptReader) -> None:
        self._reader = reader
        self._batch: TorchBatch | None = None

    @property
    def _live(self) -> TorchBatch:
        assert self._batch is not None, "no rows"
        return self._batch

    def admit(self, prompts: Sequence[Prompt]) -> None:
        entering = self._reader.read(prompts)
        if self._batch is None:
            self._batch = entering
        else:
            self._batch.absorb(entering)

    @torch.inference_mode()
    def sample(self, samplings: Sequence[Sampling], draws: NDArray[np.float64]) -> list[int | None]:
        return choose(self._live.logits, samplings, draws)

    def proofs(self, row: int) -> tuple[Proof, ...]:
        return self._live.proofs(row)

    def keep(self, rows: Sequence[int]) -> None:
        if rows:
            self._live.keep(rows)
        else:
            self._batch = None

    def step(self, tokens: Sequence[int]) -> None:
        self._live.step(tokens)
