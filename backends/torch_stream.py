"""One batch in flight through a PyTorch model: padding, positions, cache, sampling.

Rows are padded on the left, so that every row's newest token is in the last column. A row's tokens keep their absolute
positions whatever column they are in. A prefix that all rows share is processed once, as far as no row injects in it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from backends.base import Prompt, Proof, Sampling
from backends.lanes import Place
from backends.torch_hooks import Edit, Injector, hooked
from backends.torch_model import Network

_SHARED_MINIMUM = 8
"""Prefixes shorter than this are not worth a forward pass of their own."""
_ROOM = 64
"""Columns of cache allocated ahead."""


class Stream:
    """A batch of prompts, read chunk by chunk and continued token by token."""

    def __init__(self, network: Network, prompts: Sequence[Prompt], *, chunk: int, share: bool = False) -> None:
        self._network = network
        self._prompts = tuple(prompts)
        self._chunk = chunk
        self._share = share
        self._lengths = np.array([len(prompt.tokens) for prompt in prompts])
        """Tokens per row, those still to be read included."""
        self._pads: NDArray[np.int64] = self._lengths.max() - self._lengths
        self._injector = Injector(network, prompts)
        self._cache: Any = Cache(layers=[_RoomyLayer() for _ in network.blocks])
        self._logits: Tensor | None = None

    @property
    def pads(self) -> NDArray[np.int64]:
        """Per row, the column of its position 0."""
        return self._pads

    def chunks(self) -> Iterator[tuple[int, int]]:
        """Column ranges ``[start, stop)`` to ``read`` in this order; a shared prefix is dealt with on the way."""
        start, width = self._prefix(), int(self._lengths.max())
        for first in range(start, width, self._chunk):
            yield first, min(first + self._chunk, width)

    @torch.inference_mode()
    def read(self, start: int, stop: int, edits: Mapping[Place, Sequence[Edit]] | None = None) -> Tensor:
        """Process columns of the prompts.

        Args:
            edits: done after the injections at the same place.

        Returns:
            (rows, stop - start, width): hidden states after the final norm.
        """
        tokens = np.zeros((len(self._prompts), stop - start), np.int64)
        for row, (prompt, pad) in enumerate(zip(self._prompts, self._pads, strict=True)):
            part = prompt.tokens[max(0, start - pad) : max(0, stop - pad)]
            tokens[row, stop - start - len(part) :] = part
        positions = np.maximum(np.arange(start, stop) - self._pads[:, None], -1)
        return self._forward(tokens, positions, edits or {})

    @torch.inference_mode()
    def prefill(self) -> Stream:
        """Read the prompts to the end, ready to sample."""
        for start, stop in self.chunks():
            hidden = self.read(start, stop)
        self._logits = self._network.logits(hidden[:, -1])
        return self

    @property
    def logits(self) -> Tensor:
        """Of the next token, float32 (rows, vocabulary)."""
        assert self._logits is not None, "prefill first"
        return self._logits

    def proofs(self, row: int) -> tuple[Proof, ...]:
        return self._injector.proofs(row)

    @torch.inference_mode()
    def keep(self, rows: Sequence[int]) -> None:
        self._lengths, self._pads = self._lengths[list(rows)], self._pads[list(rows)]
        # Columns that are padding in every row left go too.
        spare = int(self._pads.min())
        self._pads = self._pads - spare
        for layer in self._cache.layers:
            layer.keep(rows, spare)
        self._injector.keep(rows)

    def fork(self, rows: Sequence[int]) -> Stream:
        """A stream of its own that goes on from these rows; one may be listed several times."""
        twin = copy.copy(self)
        twin._cache = Cache(layers=[copy.copy(layer) for layer in self._cache.layers])
        twin._injector = self._injector.copy()
        twin.keep(rows)
        return twin

    @torch.inference_mode()
    def extend(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """Read further known tokens, equally many per row.

        Returns:
            (rows, tokens, width): hidden states after the final norm.
        """
        table = np.array(tokens, np.int64)
        parts = []
        for start in range(0, table.shape[1], self._chunk):
            part = table[:, start : start + self._chunk]
            parts.append(self._forward(part, self._lengths[:, None] + np.arange(part.shape[1]), {}))
            self._lengths = self._lengths + part.shape[1]
        return torch.cat(parts, dim=1)

    @torch.inference_mode()
    def step(self, tokens: Sequence[int]) -> None:
        hidden = self.extend([[token] for token in tokens])
        self._logits = self._network.logits(hidden[:, -1])

    def _forward(
        self, tokens: NDArray[np.int64], positions: NDArray[np.int64], extra: Mapping[Place, Sequence[Edit]]
    ) -> Tensor:
        device = self._network.device
        ids, where = torch.from_numpy(np.stack([tokens, positions])).to(device)
        edits: dict[Place, list[Edit]] = self._injector.edits(
            where, np.maximum(positions[:, 0], 0), positions[:, -1] + 1
        )
        for place, chain in extra.items():
            edits.setdefault(place, []).extend(chain)
        mask = None
        if self._pads.any():
            columns = torch.arange(self._cache.get_seq_length() + tokens.shape[1], device=device)
            mask = columns >= torch.from_numpy(self._pads).to(device)[:, None]
        with hooked(self._network, edits):
            output: Tensor = self._network.trunk(
                input_ids=ids,
                attention_mask=mask,
                position_ids=where.clamp_min(0),
                past_key_values=self._cache,
                use_cache=True,
            ).last_hidden_state
        return output

    @torch.inference_mode()
    def _prefix(self) -> int:
        """Read what all rows share once, and give it to all of them.

        Returns:
            The first column left to read. Rows that are padded by n columns get all but the last n shared tokens, so
            that what is left starts in the same column for all.
        """
        if not self._share or len(self._prompts) == 1:
            return 0
        shared = shared_prefix(self._prompts)
        if shared < _SHARED_MINIMUM:
            return 0
        single = Stream(self._network, [Prompt(self._prompts[0].tokens[:shared])], chunk=self._chunk)
        for start, stop in single.chunks():
            single.read(start, stop)
        columns = np.maximum(np.arange(shared) - self._pads[:, None], 0)
        for layer, source in zip(self._cache.layers, single._cache.layers, strict=True):
            layer.fork(source, columns)
        return shared


class TorchDecoder:
    """``engine.Decoder``: the rows that entered together stay together."""

    def __init__(self, network: Network, *, chunk: int) -> None:
        self._network = network
        self._chunk = chunk
        self._streams: list[Stream] = []
        self._rows: list[tuple[Stream, int]] = []

    def admit(self, prompts: Sequence[Prompt]) -> None:
        stream = Stream(self._network, prompts, chunk=self._chunk, share=True).prefill()
        self._rows += [(stream, row) for row in range(len(prompts))]
        self._streams.append(stream)

    @torch.inference_mode()
    def sample(self, samplings: Sequence[Sampling], draws: NDArray[np.float64]) -> list[int | None]:
        chosen: list[int | None] = [None] * len(samplings)
        for stream in self._streams:
            members = [at for at, (owner, _) in enumerate(self._rows) if owner is stream]
            members.sort(key=lambda at: self._rows[at][1])
            found = choose(stream.logits, [samplings[at] for at in members], draws[members])
            for at, token in zip(members, found, strict=True):
                chosen[at] = token
        return chosen

    def proofs(self, row: int) -> tuple[Proof, ...]:
        stream, at = self._rows[row]
        return stream.proofs(at)

    def keep(self, rows: Sequence[int]) -> None:
        left = [self._rows[row] for row in rows]
        for stream in self._streams:
            kept = sorted(at for owner, at in left if owner is stream)
            if kept:
                stream.keep(kept)
                left = [(owner, kept.index(at) if owner is stream else at) for owner, at in left]
        self._rows = left
        self._streams = [stream for stream in self._streams if any(owner is stream for owner, _ in left)]

    def step(self, tokens: Sequence[int]) -> None:
        for stream in self._streams:
            members = [at for at, (owner, _) in enumerate(self._rows) if owner is stream]
            stream.step([tokens[at] for at in sorted(members, key=lambda at: self._rows[at][1])])


def shared_prefix(prompts: Sequence[Prompt]) -> int:
    """How many leading tokens all rows have in common, up to the first that any row injects at.

    At least one token per row is left, because sampling needs its hidden state.
    """
    limit = min(len(prompt.tokens) - 1 for prompt in prompts)
    limit = min([limit, *(injection.start for prompt in prompts for injection in prompt.injections)])
    reference = prompts[0].tokens
    for prompt in prompts[1:]:
        pairs = zip(reference[:limit], prompt.tokens, strict=False)
        limit = next((at for at, (ours, theirs) in enumerate(pairs) if ours != theirs), limit)
    return limit


class _RoomyLayer(DynamicLayer):  # type: ignore[misc]  # the library is untyped
    """Keys and values of one layer, with room: appending a token writes one column instead of copying the cache."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: Any
        self.values: Any
        self._buffers: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        past = self.get_seq_length()
        end = past + key_states.shape[-2]
        if self._buffers is None or self._buffers[0].shape[-2] < end:
            self._buffers = self._grown(key_states, self.keys, end), self._grown(value_states, self.values, end)
        for buffer, new in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, past:end] = new
        self.keys, self.values = (buffer[:, :, :end] for buffer in self._buffers)
        return self.keys, self.values

    def keep(self, rows: Sequence[int], spare: int) -> None:
        """Drop the other rows and the first ``spare`` columns."""
        index = torch.tensor(list(rows), device=self.keys.device)
        self.keys, self.values = (part[:, :, spare:].index_select(0, index) for part in (self.keys, self.values))
        self._buffers = None

    def fork(self, source: _RoomyLayer, columns: NDArray[np.int64]) -> None:
        """Take over a one-row cache: row r, column c gets its column ``columns[r, c]``."""
        self.lazy_initialization(source.keys, source.values)
        index = torch.from_numpy(columns).to(source.keys.device)
        self.keys, self.values = (part[0][:, index].transpose(0, 1) for part in (source.keys, source.values))

    @staticmethod
    def _grown(like: Tensor, past: Tensor, columns: int) -> Tensor:
        rows, heads, _, width = like.shape
        buffer = like.new_empty(rows, heads, columns + _ROOM, width)
        if past.numel():
            buffer[:, :, : past.shape[-2]] = past
        return buffer


def choose(logits: Tensor, samplings: Sequence[Sampling], draws: NDArray[np.float64]) -> list[int | None]:
    """``backends.sampling.choose`` for all rows at once, on the device, with one transfer to the host.

    Args:
        logits: float32 (rows, vocabulary).
        draws: one uniform number per row.

    Returns:
        Token ids; ``None`` for a row whose logits are not numbers.
    """
    vocabulary = logits.shape[-1]
    ids = torch.arange(vocabulary, device=logits.device)
    # Not argmax: which of several maxima it returns differs between devices.
    tokens = torch.where(logits == logits.amax(-1, keepdim=True), ids, vocabulary).amin(-1)
    warm = [row for row, sampling in enumerate(samplings) if sampling.temperature > 0]
    if warm:
        index = torch.tensor(warm, device=logits.device)
        drawn = _draw(logits[index], [samplings[row] for row in warm], draws[warm])
        tokens[index] = torch.where(tokens[index] < vocabulary, drawn, vocabulary)
    return [None if token == vocabulary else token for token in tokens.tolist()]


def _draw(logits: Tensor, samplings: Sequence[Sampling], draws: NDArray[np.float64]) -> Tensor:
    # float64 as in the reference, but for Apple GPUs, which have none.
    precision = torch.float32 if logits.device.type == "mps" else torch.float64
    settings = np.stack([[s.temperature for s in samplings], [s.top_p for s in samplings], draws])
    temperature, top_p, uniform = torch.from_numpy(settings).to(precision).to(logits.device)[..., None]
    weights = torch.softmax(logits.to(precision) / temperature, dim=-1)
    if any(sampling.top_p < 1 for sampling in samplings):
        ordered, order = weights.sort(dim=-1, descending=True, stable=True)
        beyond = (ordered.cumsum(-1) - ordered >= top_p) & (top_p < 1)
        weights = weights.scatter(-1, order, ordered.masked_fill(beyond, 0.0))
    cumulative = weights.cumsum(-1)
    found = torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True)[:, 0]
    last = weights.shape[-1] - 1 - (weights > 0).flip(-1).to(torch.int8).argmax(-1)
    return torch.minimum(found, last)
