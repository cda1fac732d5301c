"""Reading and changing activations of a PyTorch model, inside one forward pass.

Handles are registered right before a forward pass and removed right after, whatever happens in between; so a model is
never patched while a caller holds a half-consumed generator. What an injection does is decided by absolute positions
that the caller passes along, never by counting calls.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import lanes
from ..base import Prompt, Proof
from ..lanes import LayerSite
from .lanes import CHANGES, WHOLE, Edit, InjectionPass, TorchLane
from .model import Network


@contextlib.contextmanager
def hooked(network: Network, edits: Mapping[LayerSite, Sequence[Edit]]) -> Iterator[None]:
    """Apply edits at their places, in order, while the context lasts."""
    handles = []
    try:
        for (layer, site), edited in edits.items():
            module, hook = network.site(layer, site), _hook(tuple(edited))
            if site == "head_out":
                handles.append(
                    module.register_forward_pre_hook(lambda owner, inputs, hook=hook: hook(owner, (), inputs))
                )
            else:
                handles.append(module.register_forward_hook(hook))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook(edits: tuple[Edit, ...]) -> Callable[[Any, Any, Any], Any]:
    def hook(module: Any, inputs: Any, output: Any) -> Any:
        # Decoder layers return a tensor or a tuple that starts with it, depending on the version of transformers.
        before = output[0] if isinstance(output, tuple) else output
        after = before
        for edit in edits:
            after = edit(after)
        if after is before:
            return None
        return (after, *output[1:]) if isinstance(output, tuple) else after

    return hook


class Injector:
    """Applies the injections of a batch on the device, and measures the proof of what they did."""

    def __init__(self, network: Network, prompts: Sequence[Prompt]) -> None:
        self._prompts = list(prompts)
        self._lanes: dict[LayerSite, list[TorchLane]] = {}
        for place, laid in lanes.lay_out(prompts, network.sizes).items():
            device = next(network.site(*place).parameters()).device
            self._lanes[place] = [TorchLane(lane, device) for lane in laid]
        self._table: NDArray[np.float32] | None = None
        """Tallies of all lanes, one below the other; ``_index`` and ``_owners`` say whose they are."""
        self._index = self._owners = np.empty(0, np.int64)

    def count_on(self, other: Injector) -> None:
        """Go on counting from one row, whose injections are the first of every row here."""
        for place, members in other._lanes.items():
            for mine, lane in zip(self._lanes[place], members, strict=False):
                mine.tally = lane.tally.repeat(len(mine.rows), 1)

    def begin(self, positions: Tensor, first: NDArray[np.int64], stop: NDArray[np.int64]) -> InjectionPass:
        """Return a forward pass.

        Args:
            positions: (rows, tokens) absolute positions on the device, -1 for padding.
            first: (rows,) lowest position of every row in this pass.
            stop: (rows,) one past the highest; not above ``first`` for a row that is all padding.
        """
        self._table = None
        # Windows are known to the host too: a pass that no window of a lane meets costs nothing.
        met = {place: [lane for lane in members if lane.meets(first, stop)] for place, members in self._lanes.items()}
        return InjectionPass({place: members for place, members in met.items() if members}, positions)

    def spread(self, blanks: Mapping[LayerSite, Sequence[TorchLane]]) -> None:
        """Write all lanes, with what they counted, into lanes of fixed memory; there are at least as many of those."""
        for place, members in blanks.items():
            for blank, lane in zip_longest(members, self._lanes.get(place, [])):
                blank.fill(lane)

    def collect(self, blanks: Mapping[LayerSite, Sequence[TorchLane]]) -> None:
        """Take over what was counted there since ``spread``."""
        self._table = None
        for place, members in self._lanes.items():
            for lane, blank in zip(members, blanks[place], strict=False):
                lane.tally = blank.tally.index_select(0, lane.rows)

    def agrees(self, blanks: Mapping[LayerSite, Sequence[TorchLane]], tolerance: float) -> bool:
        """Tell whether the same was counted there, changes within a relative tolerance."""
        pairs = [
            (lane.tally, blank.tally[lane.rows])
            for place, members in self._lanes.items()
            for lane, blank in zip(members, blanks[place], strict=False)
        ]
        # Counts and positions are whole numbers; the sums of changes are nan together where a row overflowed.
        return all(
            torch.equal(mine[:, WHOLE], theirs[:, WHOLE])
            and torch.allclose(mine[:, CHANGES], theirs[:, CHANGES], rtol=tolerance, equal_nan=True)
            for mine, theirs in pairs
        )

    def copy(self) -> Injector:
        """Return a copy with counters of its own; call ``keep`` on it before use."""
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
        """Return what was done to a row so far. The tallies of all rows come to the host in one transfer per pass."""
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
                tallies[owner] = lanes.InjectionTally(int(count), -int(before_first), int(last), change, relative)
        return lanes.proofs(self._prompts[row], tallies)


class Recorder:
    """Keeps chosen activations of one forward pass at a time."""

    def __init__(self, network: Network, places: Sequence[LayerSite]) -> None:
        self._network = network
        self._places = tuple(places)
        self._kept: dict[LayerSite, Tensor] = {}

    def edits(self, rows: Sequence[int], columns: Sequence[int]) -> dict[LayerSite, list[Edit]]:
        """Return the edits that change nothing and keep the activations at (row, column) pairs of the pass."""
        index = torch.tensor([rows, columns], device=self._network.device)

        def keeper(place: LayerSite) -> Edit:
            def keep(stream: Tensor) -> Tensor:
                row, column = index.to(stream.device)
                self._kept[place] = stream[row, column]
                return stream

            return keep

        return {place: [keeper(place)] for place in self._places}

    def take(self) -> dict[LayerSite, NDArray[np.float32]]:
        """Return (pairs, size) per place, for the last pass; one transfer per device and size."""
        found: dict[LayerSite, NDArray[np.float32]] = {}
        for size in {kept.shape[-1] for kept in self._kept.values()}:
            places = [place for place in self._places if self._kept[place].shape[-1] == size]
            home = self._kept[places[0]].device
            table = torch.stack([self._kept[place].to(home) for place in places]).cpu().float().numpy()
            found |= zip(places, table, strict=True)
        self._kept.clear()
        return found
