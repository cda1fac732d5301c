"""Injections of a whole batch, laid out for the device.

Rows of a batch may inject at different layers, over different windows, with different operations. For every place in
the network that any row touches there is a list of lanes; a lane holds at most one injection per row, and rows without
one have an empty window. Applying a lane is then one masked tensor operation, whatever mixture the batch holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .base import OPERATIONS, Float32, Prompt, Proof, Site

LayerSite = tuple[int, Site]

NEVER = 2**31 - 1
"""Stands for "no end": larger than any position, and safe in 32-bit integers."""


@dataclass(frozen=True, slots=True, eq=False)
class Lane:
    """Lays out one injection per row at one place, as arrays over the rows of the batch."""

    vectors: Float32
    """(rows, span, size of the place); for ``ablate`` unit vectors. The last of a row's vectors goes on to the end of
    its window, so one is enough where it is the same at every position."""
    spans: NDArray[np.int32]
    """(rows,); how many vectors of its own a row has."""
    columns: NDArray[np.bool_]
    """(rows, size) which columns are touched, at places that have heads; (rows, 1) elsewhere."""
    starts: NDArray[np.int32]
    """(rows,); equal to ``stops`` where a row has no injection here."""
    stops: NDArray[np.int32]
    operations: NDArray[np.int32]
    """(rows,); index into ``OPERATIONS``."""
    owners: NDArray[np.int32]
    """(rows,); index into the row's injections, -1 for none."""


def lay_out(prompts: Sequence[Prompt], sizes: Mapping[Site, int]) -> dict[LayerSite, list[Lane]]:
    """Group the injections of a batch by place. Lanes of one place apply in order, as listed by each row.

    Args:
        sizes: columns of the activation at each site.
    """
    columns: dict[LayerSite, list[list[tuple[int, int]]]] = defaultdict(list)
    for row, prompt in enumerate(prompts):
        depth: dict[LayerSite, int] = defaultdict(int)
        for owner, injection in enumerate(prompt.injections):
            place = (injection.layer, injection.site)
            lanes = columns[place]
            if depth[place] == len(lanes):
                lanes.append([])
            lanes[depth[place]].append((row, owner))
            depth[place] += 1
    return {place: [_lane(prompts, members, place[1], sizes) for members in lanes] for place, lanes in columns.items()}


def blank(rows: int, site: Site, sizes: Mapping[Site, int], span: int = 1) -> Lane:
    """Return a lane in which no row injects anything."""
    return Lane(
        vectors=np.zeros((rows, span, sizes[site]), np.float32),
        spans=np.ones(rows, np.int32),
        columns=np.zeros((rows, sizes[site] if site == "head_out" else 1), np.bool_),
        starts=np.zeros(rows, np.int32),
        stops=np.zeros(rows, np.int32),
        operations=np.zeros(rows, np.int32),
        owners=np.full(rows, -1, np.int32),
    )


def _lane(prompts: Sequence[Prompt], members: list[tuple[int, int]], site: Site, sizes: Mapping[Site, int]) -> Lane:
    span = max(len(np.atleast_2d(prompts[row].injections[owner].vector)) for row, owner in members)
    lane = blank(len(prompts), site, sizes, span)
    for row, owner in members:
        injection = prompts[row].injections[owner]
        vectors = np.atleast_2d(injection.vector)
        if injection.operation == "ablate":
            norms = np.linalg.norm(vectors.astype(np.float64), axis=-1, keepdims=True)
            vectors = (vectors / norms).astype(np.float32)
        lane.vectors[row, : len(vectors), injection.columns] = vectors
        lane.spans[row] = len(vectors)
        lane.columns[row, injection.columns] = True
        lane.starts[row] = injection.start
        lane.stops[row] = NEVER if injection.stop is None else injection.stop
        lane.operations[row] = OPERATIONS.index(injection.operation)
        lane.owners[row] = owner
    return lane


@dataclass(slots=True)
class InjectionTally:
    """Says what one lane did to one row so far, in host numbers."""

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
