"""Reading and changing activations of a PyTorch model, inside one forward pass.

Handles are registered right before a forward pass and removed right after, whatever happens in between; so a model is
never patched while a caller holds a half-consumed generator. What an injection does is decided by absolute positions
that the caller passes along, never by counting calls.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backends import lanes
from backends.base import OPERATIONS, Prompt, Proof
from backends.lanes import Place
from backends.torch_model import Network

Edit = Callable[[Tensor], Tensor]
"""Activation (rows, tokens, width) to what takes its place; returning the same tensor leaves it alone."""

_ARRAYS = ("_vectors", "_starts", "_stops", "_operations", "_effective", "tally")
"""What a lane holds on the device, by rows."""

_SUMS, _MAXIMA = slice(0, 3), slice(3, 5)
"""Of a tally: sum of ||after - before||, the same relative to ||before||, positions; then minus the first position, and
the last. Two operations a pass keep it up: a step has as many tallies as layers, and each operation has its price."""
_CHANGES, _WHOLE = slice(0, 2), slice(2, 5)
_NOTHING = (0.0, 0.0, 0.0, -float(lanes.NEVER), -1.0)

_ADD, _ABLATE, _REPLACE = (OPERATIONS.index(name) for name in ("add", "ablate", "replace"))


@contextlib.contextmanager
def hooked(network: Network, edits: Mapping[Place, Sequence[Edit]]) -> Iterator[None]:
    """Apply edits at their places, in order, while the context lasts."""
    handles = []
    try:
        for (layer, site), chain in edits.items():
            handles.append(network.site(layer, site).register_forward_hook(_hook(tuple(chain))))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook(chain: tuple[Edit, ...]) -> Callable[[Any, Any, Any], Any]:
    def hook(module: Any, inputs: Any, output: Any) -> Any:
        # Decoder layers return a tensor or a tuple that starts with it, depending on the version of transformers.
        before = output[0] if isinstance(output, tuple) else output
        after = before
        for edit in chain:
            after = edit(after)
        if after is before:
            return None
        return (after, *output[1:]) if isinstance(output, tuple) else after

    return hook


class Injector:
    """The injections of a batch on the device, and the measured proof of what they did."""

    def __init__(self, network: Network, prompts: Sequence[Prompt]) -> None:
        self._prompts = list(prompts)
        self._lanes: dict[Place, list[DeviceLane]] = {}
        for place, laid in lanes.lay_out(prompts, network.config.hidden_size).items():
            device = next(network.site(*place).parameters()).device
            self._lanes[place] = [DeviceLane(lane, device) for lane in laid]
        self._table: NDArray[np.float32] | None = None
        """Tallies of all lanes, one below the other; ``_index`` and ``_owners`` say whose they are."""
        self._index = self._owners = np.empty(0, np.int64)

    def edits(self, positions: Tensor, first: NDArray[np.int64], stop: NDArray[np.int64]) -> dict[Place, list[Edit]]:
        """What to do in a forward pass.

        Args:
            positions: (rows, tokens) absolute positions on the device, -1 for padding.
            first: (rows,) lowest position of every row in this pass.
            stop: (rows,) one past the highest; not above ``first`` for a row that is all padding.
        """
        self._table = None
        # Windows are known to the host too: a pass that no window of a lane meets costs nothing.
        met = {place: [lane for lane in members if lane.meets(first, stop)] for place, members in self._lanes.items()}
        where = positions.float()
        return {place: [lane.edit(where) for lane in members] for place, members in met.items() if members}

    def spread(self, blanks: Mapping[Place, Sequence[DeviceLane]]) -> None:
        """Write all lanes, with what they counted, into lanes of fixed memory; there are at least as many of those."""
        for place, members in blanks.items():
            for blank, lane in zip_longest(members, self._lanes.get(place, [])):
                blank.fill(lane)

    def collect(self, blanks: Mapping[Place, Sequence[DeviceLane]]) -> None:
        """Take over what was counted there since ``spread``."""
        self._table = None
        for place, members in self._lanes.items():
            for lane, blank in zip(members, blanks[place], strict=False):
                lane.tally = blank.tally.index_select(0, lane.rows)

    def agrees(self, blanks: Mapping[Place, Sequence[DeviceLane]], tolerance: float) -> bool:
        """Whether the same was counted there, changes within a relative tolerance."""
        pairs = [
            (lane.tally, blank.tally[lane.rows])
            for place, members in self._lanes.items()
            for lane, blank in zip(members, blanks[place], strict=False)
        ]
        # Counts and positions are whole numbers; the sums of changes are nan together where a row overflowed.
        return all(
            torch.equal(mine[:, _WHOLE], theirs[:, _WHOLE])
            and torch.allclose(mine[:, _CHANGES], theirs[:, _CHANGES], rtol=tolerance, equal_nan=True)
            for mine, theirs in pairs
        )

    def copy(self) -> Injector:
        """One that counts on by itself from here, once rows were chosen with ``keep``."""
        twin = copy.copy(self)
        twin._lanes = {place: [copy.copy(lane) for lane in members] for place, members in self._lanes.items()}
        return twin

    def keep(self, rows: Sequence[int]) -> None:
        """Drop the other rows; one that is listed several times is multiplied."""
        self._table = None
        self._prompts = [self._prompts[row] for row in rows]
        for place, members in list(self._lanes.items()):
            for lane in members:
                lane.keep(rows)
            if all((lane.owners < 0).all() for lane in members):
                del self._lanes[place]

    def absorb(self, other: Injector) -> None:
        """Take the rows of another one in, after these."""
        self._table = None
        ours, theirs = len(self._prompts), len(other._prompts)
        for place in self._lanes.keys() | other._lanes.keys():
            mine, more = self._lanes.get(place, []), other._lanes.get(place, [])
            self._lanes[place] = [
                a.joined(b) if a and b else a.padded(0, theirs) if a else b.padded(ours, 0)
                for a, b in zip_longest(mine, more)
            ]
        self._prompts += other._prompts

    def proofs(self, row: int) -> tuple[Proof, ...]:
        """What was done to a row so far. The tallies of all rows come to the host in one transfer per pass."""
        members = [lane for place in self._lanes.values() for lane in place]
        if not members:
            return ()
        if self._table is None:
            home = members[0].tally.device
            self._table = torch.cat([lane.tally.to(home) for lane in members]).cpu().numpy()
            self._index = np.concatenate([lane.members for lane in members])
            self._owners = np.concatenate([lane.owners[lane.members] for lane in members])
        tallies = {}
        for at in np.flatnonzero(self._index == row):
            change, relative, count, before_first, last = self._table[at].tolist()
            if count:
                owner = int(self._owners[at])
                tallies[owner] = lanes.Tally(int(count), -int(before_first), int(last), change, relative)
        return lanes.proofs(self._prompts[row], tallies)


class DeviceLane:
    """One injection per row at one place, for the rows that have one; see ``backends.lanes.Lane``.

    Work and memory follow the rows that inject here, not the batch: a batch that goes through all layers costs no more
    than one that injects at a single layer.
    """

    def __init__(self, lane: lanes.Lane, device: torch.device) -> None:
        self.owners = lane.owners
        """(rows,) of the whole batch, -1 where a row has no injection here. Everything else is by member."""
        members = np.flatnonzero(lane.owners >= 0)
        self._window = np.stack([lane.starts, lane.stops])[:, members]
        self._present = set(lane.operations[members].tolist())
        self._vectors = torch.from_numpy(lane.vectors[members]).to(device)[:, None]
        # In the type of positions, which is that of tallies: a conversion costs as much as any other operation.
        self._starts = torch.from_numpy(lane.starts[members]).to(device).float()[:, None]
        self._stops = torch.from_numpy(lane.stops[members]).to(device).float()[:, None]
        self._operations = torch.from_numpy(lane.operations[members]).to(device)[:, None, None]
        # Adding a zero vector would still turn -0.0 into 0.0; strength 0 changes no bit.
        effective = (lane.operations != _ADD) | lane.vectors.any(axis=1)
        self._effective = torch.from_numpy(effective[members]).to(device)[:, None]
        self.tally = torch.tensor(_NOTHING, device=device).repeat(len(members), 1)
        self._nothing = torch.tensor(_NOTHING, device=device)
        self.rows = torch.from_numpy(members).to(device)

    @classmethod
    def blank(cls, rows: int, width: int, operations: Set[int], device: torch.device) -> DeviceLane:
        """One that has every row as a member and does nothing until it is filled.

        Args:
            operations: that may come.
        """
        empty = np.zeros(rows, np.int32)
        lane = cls(lanes.Lane(np.zeros((rows, width), np.float32), empty, empty, empty, empty), device)
        lane._present = set(operations)
        return lane

    def fill(self, other: DeviceLane | None) -> None:
        """Become another lane, in place; rows that it does not have do nothing."""
        self._starts.zero_()
        self._stops.zero_()
        if other is not None:
            for name in _ARRAYS:
                getattr(self, name).index_copy_(0, other.rows, getattr(other, name))

    @property
    def members(self) -> NDArray[np.int64]:
        """Rows that inject here, ascending."""
        return np.flatnonzero(self.owners >= 0)

    def meets(self, first: NDArray[np.int64], stop: NDArray[np.int64]) -> bool:
        starts, stops = self._window
        members = self.members
        return bool(np.any(np.maximum(starts, first[members]) < np.minimum(stops, stop[members])))

    def edit(self, positions: Tensor) -> Edit:
        """
        Args:
            positions: of the pass, float32 (rows of the batch, tokens), -1 for padding; exact up to 2**24.
        """

        def apply(stream: Tensor) -> Tensor:
            where = positions.to(stream.device)[self.rows]
            inside = (where >= self._starts) & (where < self._stops)
            part = stream[self.rows]
            before = part.float()
            after = torch.where((inside & self._effective)[..., None], self._change(before).to(stream.dtype), part)
            self._count(before, after.float(), where, inside)
            return stream.index_copy(0, self.rows, after)

        return apply

    def keep(self, rows: Sequence[int]) -> None:
        number = np.cumsum(self.owners >= 0) - 1
        chosen = [int(number[row]) for row in rows if self.owners[row] >= 0]
        self.owners = self.owners[list(rows)]
        self._window = self._window[:, chosen]
        index = torch.tensor(chosen, dtype=torch.long, device=self.tally.device)
        for name in _ARRAYS:
            setattr(self, name, getattr(self, name).index_select(0, index))
        self.rows = torch.from_numpy(self.members).to(index.device)

    def joined(self, other: DeviceLane) -> DeviceLane:
        """These rows and then those."""
        twin = copy.copy(self)
        twin.owners = np.concatenate([self.owners, other.owners])
        twin._window = np.concatenate([self._window, other._window], axis=1)
        twin._present = self._present | other._present
        for name in _ARRAYS:
            setattr(twin, name, torch.cat([getattr(self, name), getattr(other, name)]))
        twin.rows = torch.from_numpy(twin.members).to(self.tally.device)
        return twin

    def padded(self, before: int, after: int) -> DeviceLane:
        """With rows before and after that inject nothing here."""
        twin = copy.copy(self)
        twin.owners = np.pad(self.owners, (before, after), constant_values=-1)
        twin.rows = self.rows + before
        return twin

    def _change(self, before: Tensor) -> Tensor:
        vector = self._vectors
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

    def _count(self, before: Tensor, after: Tensor, positions: Tensor, inside: Tensor) -> None:
        norm = torch.linalg.vector_norm
        change = norm(after - before, dim=-1)
        relative = change / norm(before, dim=-1).clamp_min(torch.finfo(torch.float32).tiny)
        seen = torch.stack([change, relative, torch.ones_like(change), -positions, positions], -1)
        seen = torch.where(inside[..., None], seen, self._nothing)
        self.tally[:, _SUMS].add_(seen[..., _SUMS].sum(1))
        maxima = self.tally[:, _MAXIMA]
        torch.maximum(maxima, seen[..., _MAXIMA].amax(1), out=maxima)


class Recorder:
    """Keeps chosen activations of one forward pass at a time."""

    def __init__(self, network: Network, places: Sequence[Place]) -> None:
        self._network = network
        self._places = tuple(places)
        self._kept: dict[Place, Tensor] = {}

    def edits(self, rows: Sequence[int], columns: Sequence[int]) -> dict[Place, list[Edit]]:
        """Edits that change nothing and keep the activations at (row, column) pairs of the pass."""
        index = torch.tensor([rows, columns], device=self._network.device)

        def keeper(place: Place) -> Edit:
            def keep(stream: Tensor) -> Tensor:
                row, column = index.to(stream.device)
                self._kept[place] = stream[row, column]
                return stream

            return keep

        return {place: [keeper(place)] for place in self._places}

    def take(self) -> dict[Place, NDArray[np.float32]]:
        """(pairs, width) per place, for the last pass; one transfer per device."""
        if not self._kept:
            return {}
        home = next(iter(self._kept.values())).device
        table = torch.stack([self._kept[place].to(home) for place in self._places]).cpu().float().numpy()
        self._kept.clear()
        return dict(zip(self._places, table, strict=True))
