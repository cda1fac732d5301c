"""Injections of a whole batch, laid out for the device.

Rows of a batch may inject at different layers, over different windows, with different operations. For every place in
the network that any row touches there is a list of lanes; a lane holds at most one injection per row, and rows without
one have an empty window. Applying a lane is then one masked tensor operation, whatever mixture the batch holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .base import OPERATIONS, Float32, Prompt, Proof, Site

Place = tuple[int, Site]

NEVER = 2**31 - 1
"""Stands for "no end": larger than any position, and safe in 32-bit integers."""


@dataclass(frozen=True, slots=True, eq=False)
class Lane:
    """One injection per row at one place, as arrays over the rows of the batch."""

    vectors: Float32
    """(rows, width); for ``ablate`` a unit vector."""
    starts: NDArray[np.int32]
    """(rows,); equal to ``stops`` where a row has no injection here."""
    stops: NDArray[np.int32]
    operations: NDArray[np.int32]
    """(rows,); index into ``OPERATIONS``."""
    owners: NDArray[np.int32]
    """(rows,); index into the row's injections, -1 for none."""


def lay_out(prompts: Sequence[Prompt], width: int) -> dict[Place, list[Lane]]:
    """Group the injections of a batch by place. Lanes of one place apply in order, as listed by each row."""
    columns: dict[Place, list[list[tuple[int, int]]]] = defaultdict(list)
    for row, prompt in enumerate(prompts):
        depth: dict[Place, int] = defaultdict(int)
        for owner, injection in enumerate(prompt.injections):
            place = (injection.layer, injection.site)
            lanes = columns[place]
            if depth[place] == len(lanes):
                lanes.append([])
            lanes[depth[place]].append((row, owner))
            depth[place] += 1
    return {place: [_lane(prompts, members, width) for members in lanes] for place, lanes in columns.items()}


def _lane(prompts: Sequence[Prompt], members: list[tuple[int, int]], width: int) -> Lane:
    rows = len(prompts)
    lane = Lane(
        vectors=np.zeros((rows, width), np.float32),
        starts=np.zeros(rows, np.int32),
        stops=np.zeros(rows, np.int32),
        operations=np.zeros(rows, np.int32),
        owners=np.full(rows, -1, np.int32),
    )
    for row, owner in members:
        injection = prompts[row].injections[owner]
        vector = injection.vector
        if injection.operation == "ablate":
            vector = (vector / np.linalg.norm(vector.astype(np.float64))).astype(np.float32)
        lane.vectors[row] = vector
        lane.starts[row] = injection.start
        lane.stops[row] = NEVER if injection.stop is None else injection.stop
        lane.operations[row] = OPERATIONS.index(injection.operation)
        lane.owners[row] = owner
    return lane


@dataclass(slots=True)
class InjectionTally:
    """What one lane did to one row so far, in host numbers."""

    positions: int
    first: int
    last: int
    change: float
    """Sum over positions of ||after - before||."""
    relative_change: float
    """Sum over positions of ||after - before|| / ||before||."""


def proofs(prompt: Prompt, tallies: dict[int, InjectionTally]) -> tuple[Proof, ...]:
    """Turn one row's tallies, keyed by injection index, into its proofs."""
    result = []
    for owner, injection in enumerate(prompt.injections):
        tally = tallies.get(owner, InjectionTally(0, 0, 0, 0.0, 0.0))
        count = tally.positions
        result.append(
            Proof(
                layer=injection.layer,
                site=injection.site,
                operation=injection.operation,
                positions=count,
                first=tally.first if count else None,
                last=tally.last if count else None,
                change=tally.change / count if count else 0.0,
                relative_change=tally.relative_change / count if count else 0.0,
            )
        )
    return tuple(result)
