"""The injections of a batch on the device, a lane at a time, and the tallies that prove what they did.

Works on positions that the caller passes along, never on counts of calls; see ``backends.lanes`` for how rows are laid
out.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence, Set
from functools import partial
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from .. import lanes
from ..base import OPERATIONS, Site
from ..lanes import LayerSite

Edit = Callable[[Tensor], Tensor]
"""Activation (rows, tokens, width) to what takes its place; returning the same tensor leaves it alone."""

_WINDOW = ("starts", "stops", "effective")
_ARRAYS = ("_vectors", "_spans", "_columns", *_WINDOW, "_operations", "tally")
"""What a lane holds on the device, by rows."""

_SUMS, _MAXIMA = slice(0, 3), slice(3, 5)
"""Parts of a tally: sums of ||after - before||, of ||after - before|| / ||before|| and of positions; then the maxima of
minus the position and of the position. Sums and maxima, so that one operation each keeps up all of them."""
CHANGES, WHOLE = slice(0, 2), slice(2, 5)
_NOTHING = (0.0, 0.0, 0.0, -float(lanes.NEVER), -1.0)

_ADD, _ABLATE, _REPLACE = (OPERATIONS.index(name) for name in ("add", "ablate", "replace"))


class TorchLane:
    """Applies one injection per row at one place, for the rows that have one; see ``backends.lanes.Lane``.

    Work and memory follow the rows that inject here, not the batch: a batch that goes through all layers costs no more
    than one that injects at a single layer.
    """

    def __init__(self, lane: lanes.Lane, device: torch.device) -> None:
        self.owners = lane.owners
        """(rows,) of the whole batch, -1 where a row has no injection here. Everything else is by member."""
        members = np.flatnonzero(lane.owners >= 0)
        self._window = np.stack([lane.starts, lane.stops])[:, members]
        self._present = set(lane.operations[members].tolist())
        self._vectors = torch.from_numpy(lane.vectors[members]).to(device)
        self._spans = torch.from_numpy(lane.spans[members]).to(device)[:, None]
        self._columns = torch.from_numpy(lane.columns[members]).to(device)[:, None]
        # In the type of positions, which is that of tallies: a conversion costs as much as any other operation.
        self.starts = torch.from_numpy(lane.starts[members]).to(device).float()[:, None]
        self.stops = torch.from_numpy(lane.stops[members]).to(device).float()[:, None]
        self._operations = torch.from_numpy(lane.operations[members]).to(device)[:, None, None]
        # Adding a zero vector would still turn -0.0 into 0.0; strength 0 changes no bit.
        effective = (lane.operations != _ADD) | lane.vectors.any(axis=(1, 2))
        self.effective = torch.from_numpy(effective[members]).to(device)[:, None]
        self.tally = torch.tensor(_NOTHING, device=device).repeat(len(members), 1)
        self.nothing = torch.tensor(_NOTHING, device=device)
        self.rows = torch.from_numpy(members).to(device)

    @classmethod
    def blank(
        cls, rows: int, site: Site, sizes: Mapping[Site, int], operations: Set[int], device: torch.device
    ) -> TorchLane:
        """Return a lane that has every row as a member and does nothing until it is filled.

        Args:
            sizes: columns of the activation at each site.
            operations: that may come.
        """
        lane = cls(dataclasses.replace(lanes.blank(rows, site, sizes), owners=np.zeros(rows, np.int32)), device)
        lane._present = set(operations)
        return lane

    def fill(self, other: TorchLane | None) -> None:
        """Become another lane, in place; rows that it does not have do nothing."""
        self.starts.zero_()
        self.stops.zero_()
        if other is not None:
            for name in _ARRAYS:
                # Vectors by position belong to prompts, which have been read: of those any one does.
                held = other._vectors[:, :1] if name == "_vectors" else getattr(other, name)
                getattr(self, name).index_copy_(0, other.rows, held)

    @property
    def members(self) -> NDArray[np.int64]:
        """Return the rows that inject here, ascending."""
        return np.flatnonzero(self.owners >= 0)

    def meets(self, first: NDArray[np.int64], stop: NDArray[np.int64]) -> bool:
        starts, stops = self._window
        members = self.members
        return bool(np.any(np.maximum(starts, first[members]) < np.minimum(stops, stop[members])))

    def apply(self, stream: Tensor, acts: Tensor, where: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Inject into the stream, and measure what that changes.

        Args:
            stream: (rows of the batch, tokens, width).
            acts: where it is changed, bool (members, tokens, 1).
            where: positions, float (members, tokens).

        Returns:
            The stream with the injections; ||after - before|| and ||before||, float32 (members, tokens) each, over the
            columns of the head where one head is touched.
        """
        part = stream[self.rows]
        before = part.float()
        by_head = self._columns.shape[-1] > 1
        touched = acts & self._columns if by_head else acts
        after = torch.where(touched, self._change(before, self._vectors_at(where)).to(stream.dtype), part)
        # What is measured is no part of what is trained.
        with torch.no_grad():
            change = torch.linalg.vector_norm(after.float() - before, dim=-1)
            size = torch.linalg.vector_norm(before * self._columns if by_head else before, dim=-1)
        return stream.index_copy(0, self.rows, after), change, size

    def keep(self, rows: Sequence[int]) -> None:
        number = np.cumsum(self.owners >= 0) - 1
        chosen = [int(number[row]) for row in rows if self.owners[row] >= 0]
        self.owners = self.owners[list(rows)]
        self._window = self._window[:, chosen]
        index = torch.tensor(chosen, dtype=torch.long, device=self.tally.device)
        for name in _ARRAYS:
            setattr(self, name, getattr(self, name).index_select(0, index))
        self.rows = torch.from_numpy(self.members).to(index.device)

    def joined(self, other: TorchLane) -> TorchLane:
        """Return these rows and then those."""
        twin = copy.copy(self)
        twin.owners = np.concatenate([self.owners, other.owners])
        twin._window = np.concatenate([self._window, other._window], axis=1)
        twin._present = self._present | other._present
        span = max(self._vectors.shape[1], other._vectors.shape[1])
        for name in _ARRAYS:
            mine, theirs = getattr(self, name), getattr(other, name)
            if name == "_vectors":
                mine, theirs = (pad(part, (0, 0, 0, span - part.shape[1])) for part in (mine, theirs))
            setattr(twin, name, torch.cat([mine, theirs]))
        twin.rows = torch.from_numpy(twin.members).to(self.tally.device)
        return twin

    def padded(self, before: int, after: int) -> TorchLane:
        """Return the lane with rows before and after that inject nothing here."""
        twin = copy.copy(self)
        twin.owners = np.pad(self.owners, (before, after), constant_values=-1)
        twin.rows = self.rows + before
        return twin

    def _vectors_at(self, where: Tensor) -> Tensor:
        """The vectors at positions, (members, tokens or 1, size)."""
        if self._vectors.shape[1] == 1:
            return self._vectors
        at = torch.minimum((where - self.starts).clamp_min(0).long(), self._spans - 1)
        return self._vectors[torch.arange(len(at), device=at.device)[:, None], at]

    def _change(self, before: Tensor, vector: Tensor) -> Tensor:
        results = {}
        if _ADD in self._present:
            results[_ADD] = before + vector
        if _ABLATE in self._present:
            results[_ABLATE] = before - (before * vector).sum(-1, keepdim=True) * vector
        if _REPLACE in self._present:
            results[_REPLACE] = vector.expand_as(before)
        (_, after), *others = results.items()
        for operation, result in others:
            after = torch.where(self._operations == operation, result, after)
        return after


class InjectionPass:
    """Applies the injections of one forward pass, and reports what they did.

    A step of a small batch has as many lanes as the model has layers, and every operation has its price: what does
    not need the stream is done for all lanes of a device at once: before the pass, or after it with what was measured.
    """

    def __init__(self, members: Mapping[LayerSite, Sequence[TorchLane]], positions: Tensor) -> None:
        """
        Args:
            members: the lanes that take part.
            positions: (rows of the batch, tokens), -1 for padding.
        """
        lanes_of: dict[torch.device, list[TorchLane]] = {}
        for lane in chain.from_iterable(members.values()):
            lanes_of.setdefault(lane.tally.device, []).append(lane)
        self._groups = [_DevicePass(found, positions.to(device)) for device, found in lanes_of.items()]
        edits = {lane: edit for group in self._groups for lane, edit in group.edits.items()}
        self.edits: dict[LayerSite, list[Edit]] = {
            place: [edits[lane] for lane in found] for place, found in members.items()
        }

    def settle(self) -> None:
        """Add what was measured to the tallies; once, when the pass is over."""
        for group in self._groups:
            group.settle()


class _DevicePass:
    """Applies the lanes of a pass on one device."""

    def __init__(self, found: Sequence[TorchLane], positions: Tensor) -> None:
        starts, stops, effective = (torch.cat([getattr(lane, name) for lane in found]) for name in _WINDOW)
        # Exact up to 2**24, in the type of tallies: a conversion costs as much as any other operation.
        where = positions.float()[torch.cat([lane.rows for lane in found])]
        inside = (where >= starts) & (where < stops)
        sizes = [len(lane.rows) for lane in found]
        self._windows = dict(
            zip(found, zip(torch.split(where, sizes), torch.split(inside, sizes), strict=True), strict=True)
        )
        acts = torch.split((inside & effective)[..., None], sizes)
        self._measured: dict[TorchLane, tuple[Tensor, Tensor]] = {}
        self.edits = {lane: partial(self._edit, lane, part) for lane, part in zip(found, acts, strict=True)}

    def _edit(self, lane: TorchLane, acts: Tensor, stream: Tensor) -> Tensor:
        after, change, size = lane.apply(stream, acts, self._windows[lane][0])
        self._measured[lane] = change, size
        return after

    def settle(self) -> None:
        # Only what was measured counts: a module that was never called leaves no proof.
        if not self._measured:
            return
        change, size = (torch.cat(parts) for parts in zip(*self._measured.values(), strict=True))
        where, inside = (torch.cat(p) for p in zip(*(self._windows[lane] for lane in self._measured), strict=True))
        relative = change / size.clamp_min(torch.finfo(torch.float32).tiny)
        lanes_here = list(self._measured)
        seen = torch.stack([change, relative, torch.ones_like(change), -where, where], -1)
        seen = torch.where(inside[..., None], seen, lanes_here[0].nothing)
        before = torch.cat([lane.tally for lane in lanes_here])
        sums = before[:, _SUMS] + seen[..., _SUMS].sum(1)
        tallies = torch.cat([sums, torch.maximum(before[:, _MAXIMA], seen[..., _MAXIMA].amax(1))], 1)
        for lane, tally in zip(lanes_here, torch.split(tallies, [len(lane.rows) for lane in lanes_here]), strict=True):
            lane.tally.copy_(tally)
