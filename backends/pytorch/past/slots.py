"""Keys and values of a batch, in place: a row keeps its slot, and the token at position p lies in column p.

So a prefix that rows share lies in the same columns for all, a row that enters is a copy into a free slot, and a
decoding step writes one column per row. Slots reach beyond their row's last token; what lies there is never attended.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from ..attention import mark_shared
from .states import LayerStates

ROOM = 64
"""Columns allocated ahead."""


@dataclass(frozen=True, slots=True)
class Write:
    """Says where one forward pass writes."""

    columns: slice | Tensor
    """Columns to write: a slice when all rows write to the same ones, else int64 (rows, tokens)."""
    width: int
    """Columns attended."""
    rows: int
    """Rows that take part, the first slots."""
    shared: int = 0
    """Columns, from the first, in which all rows hold the same and which all tokens of the pass see."""

    @property
    def first(self) -> int:
        """Return the first column that is written to, by the longest row."""
        return self.columns.start if isinstance(self.columns, slice) else self.width - self.columns.shape[1]

    def into(self, store: Tensor, new: Tensor) -> None:
        rows, heads, _, size = new.shape
        if isinstance(self.columns, slice):
            store[:rows, :, self.columns] = new
            return
        columns = self.columns.to(store.device)
        heights = torch.arange(rows * heads, device=store.device).view(rows, heads, 1) * store.shape[2]
        store.view(-1, size).index_copy_(0, (heights + columns[:, None]).flatten(), new.reshape(-1, size))


class SlotLayer(DynamicLayer):  # type: ignore[misc]  # the library is untyped
    """Holds one layer. ``keys`` and ``values`` are (slots, heads, columns, head width)."""

    def __init__(self, owner: SlotCache) -> None:
        super().__init__()
        # A cache and its layers that held one another would keep their memory until garbage is searched for.
        self._owner = weakref.ref(owner)
        self.keys: Any = None
        self.values: Any = None
        self.states = LayerStates()

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        write, rows = self._write, key_states.shape[0]
        assert write is not None, "say first where to write"
        found = []
        for name, new in (("keys", key_states), ("values", value_states)):
            store = _roomy(getattr(self, name), new, rows, write.width)
            setattr(self, name, store)
            write.into(store, new)
            found.append(store[:rows, :, : write.width])
        if write.shared:
            mark_shared(found[0], write.shared)
        return found[0], found[1]

    def get_seq_length(self) -> int:
        return 0 if self._write is None else self._write.first

    @property
    def _write(self) -> Write | None:
        owner = self._owner()
        assert owner is not None, "a layer is read while its cache is held"
        return owner.write

    def copied(self, owner: SlotCache, rows: Sequence[int], columns: int | None, room: int) -> SlotLayer:
        twin = copy.copy(self)
        twin._owner = weakref.ref(owner)
        twin.states = self.states.chosen(rows)
        if self.keys is not None:
            index = torch.tensor(list(rows), device=self.keys.device)
            twin.keys, twin.values = (_chosen(part[:, :, :columns], index, room) for part in (self.keys, self.values))
        return twin

    def move(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        self.states.move(sources, targets)
        if self.keys is None:
            return
        index, places = torch.tensor([sources, targets], device=self.keys.device)
        for part in (self.keys, self.values):
            part[places] = part[index]

    def absorb(self, other: SlotLayer, first: int, rows: int) -> None:
        self.states.absorb(other.states, first, rows)
        for name in ("keys", "values") if other.keys is not None else ():
            new = getattr(other, name)[:rows]
            store = _roomy(getattr(self, name), new, first + rows, new.shape[2])
            setattr(self, name, store)
            store[first : first + rows, :, : new.shape[2]] = new
            # Whoever had the slot before may have left numbers that are none; nothing times those is not nothing.
            store[first : first + rows, :, new.shape[2] :] = 0


class SlotCache(Cache):  # type: ignore[misc]
    """Holds all layers. ``write`` says where the next pass writes."""

    def __init__(self, layers: int) -> None:
        super().__init__(layers=[])
        self.write: Write | None = None
        self.layers = [SlotLayer(self) for _ in range(layers)]
        self._origin = object()
        self._beginning: tuple[object, int] | None = None
        """Whose one row all rows here were copied from, and how many columns of it."""

    @property
    def shared(self) -> int:
        """Return in how many columns, from the first, all rows hold the same."""
        return 0 if self._beginning is None else self._beginning[1]

    def get_conv_state(self, layer_idx: int, state_idx: int = 0) -> Tensor | None:
        return self._states(layer_idx).get(("conv", state_idx), self._rows)

    def get_recurrent_state(self, layer_idx: int, state_idx: int = 0) -> Tensor | None:
        return self._states(layer_idx).get(("recurrent", state_idx), self._rows)

    def update_conv_state(
        self,
        conv_states: Tensor,
        layer_idx: int,
        state_idx: int = 0,
        conv_kernel_size: int | None = None,
        **unused: Any,
    ) -> Tensor:
        return self._states(layer_idx).convolved(("conv", state_idx), conv_states, conv_kernel_size)

    def update_recurrent_state(
        self, recurrent_states: Tensor, layer_idx: int, state_idx: int = 0, **unused: Any
    ) -> Tensor:
        return self._states(layer_idx).put(("recurrent", state_idx), recurrent_states)

    def has_previous_state(self, layer_idx: int | None = None, state_idx: int | None = None) -> bool:
        some = self.layers if layer_idx is None else [self.layers[layer_idx]]
        return any(layer.states for layer in some)

    def spoil(self) -> bool:
        """Turn what layers carry into numbers that are none, inputs of convolutions aside; whether there was any."""
        spoilt = [layer.states.spoil("recurrent") for layer in self.layers]
        return any(spoilt)

    def _states(self, layer: int) -> LayerStates:
        found: LayerStates = self.layers[layer].states
        return found

    @property
    def _rows(self) -> int:
        assert self.write is not None, "say first where to write"
        return self.write.rows

    def fork(self, rows: Sequence[int], columns: int | None = None, *, room: int = 0) -> SlotCache:
        """Return a cache of its own that goes on from these rows; one may be listed several times.

        Args:
            columns: what is taken over; all when ``None``.
            room: columns that will be needed soon. Allocated later they would be a second copy beside the first.
        """
        twin = SlotCache(0)
        twin.write = self.write
        twin.layers = [layer.copied(twin, rows, columns, room) for layer in self.layers]
        twin._beginning = (self._origin, columns) if columns and len(set(rows)) == 1 else self._beginning
        return twin

    def stores(self) -> list[Tensor]:
        """Return the keys and values of all layers, (slots, heads, columns, size) each.

        The memory that passes write to.
        """
        return [part for layer in self.layers for part in (layer.keys, layer.values) if part is not None]

    @property
    def bytes(self) -> int:
        """Return the bytes of keys and values."""
        return sum(store.nbytes for store in self.stores())

    def holds_all_of(self, other: SlotCache, rows: int) -> bool:
        """Tell whether so many rows of another cache go in as memory lies."""
        return all(
            mine.shape[0] >= rows and mine.shape[2] >= theirs.shape[2]
            for mine, theirs in zip(self.stores(), other.stores(), strict=True)
        )

    def holds(self, slots: int, columns: int) -> bool:
        return all(store.shape[0] >= slots and store.shape[2] >= columns for store in self.stores())

    def reserve(self, slots: int, columns: int) -> None:
        """Grow where there is less; something must have been read."""
        for layer in self.layers:
            layer.keys, layer.values = (_roomy(part, part, slots, columns) for part in (layer.keys, layer.values))

    def keep(self, rows: Sequence[int]) -> None:
        """Make row ``rows[i]`` row i; rows that keep their number are not touched."""
        moved = [(source, target) for target, source in enumerate(rows) if source != target]
        if moved:
            for layer in self.layers:
                layer.move(*zip(*moved, strict=True))

    def absorb(self, other: SlotCache, first: int, rows: int) -> None:
        """Take the first rows of another cache in, from slot ``first`` on."""
        if first == 0:
            self._beginning = other._beginning
        elif self._beginning is not None and other._beginning is not None and self._beginning[0] is other._beginning[0]:
            self._beginning = min(self._beginning, other._beginning, key=lambda one: one[1])
        else:
            self._beginning = None
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            mine.absorb(theirs, first, rows)


def _chosen(part: Tensor, index: Tensor, room: int) -> Tensor:
    """Rows of a store, with columns of zeros after theirs where there is to be more room."""
    held = part.shape[2]
    if held >= room:
        return part.index_select(0, index)
    store = part.new_zeros(len(index), part.shape[1], room, part.shape[3])
    # One row is spread without a copy in between: freed, it would leave a gap that no next one fits into.
    store[:, :, :held] = part if len(part) == 1 else part.index_select(0, index)
    return store


def _roomy(store: Tensor | None, like: Tensor, rows: int, columns: int) -> Tensor:
    """The store, or a larger copy of it where it has too few slots or columns."""
    held = (0, 0) if store is None else (store.shape[0], store.shape[2])
    if store is not None and held[0] >= rows and held[1] >= columns:
        return store
    _, heads, _, size = like.shape
    room = columns + ROOM if columns > held[1] else held[1]
    # Not empty memory: columns that are not attended are still multiplied, by nothing.
    grown = like.new_zeros(max(rows, held[0]), heads, room, size)
    if store is not None:
        grown[: held[0], :, : held[1]] = store
    return grown
