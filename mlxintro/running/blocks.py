"""Cuts a plan into blocks, the same ones whatever is finished; where several workers run, they hear of those ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Protocol

from mlxintro.backends.base import OnToken
from mlxintro.backends.errors import KnownError
from mlxintro.protocol.trials import Outcome, TrialSpec
from mlxintro.store.store import Store

BATCHES = 4
"""Batches in a block. A batch runs half empty while the last replies of its block end, so longer blocks are faster; and
what an interruption costs grows with them."""


class BlockWorkers(Protocol):
    """Stands for several workers that measure blocks at once. They are told ahead which ones come next."""

    @property
    def ahead(self) -> int:
        """Return how many blocks they want to know of ahead."""
        ...

    def expect(self, specs: Sequence[TrialSpec]) -> None:
        """Take note of trials that will be asked for in one call, exactly as they stand here."""
        ...

    def forget(self) -> None:
        """Drop all that was announced."""
        ...

    def shrink(self, batch_size: int) -> None:
        """Run fewer rows together from now on; what was announced is dropped."""
        ...

    def __call__(self, specs: Sequence[TrialSpec], on_token: OnToken | None) -> Iterator[Outcome]:
        """See ``Measure``."""
        ...


class NothingMeasures(KnownError):
    """There is nobody left to measure trials, so the run ends; none of them counts as failed."""


@dataclass(frozen=True, slots=True)
class Block:
    """Is a stretch of the plan that is measured as a whole."""

    first: int
    """Ordinal of its first trial."""
    planned: Sequence[TrialSpec]
    ordinals: Mapping[str, int]
    """Numbers of the trials in the plan, by key."""
    specs: dict[str, TrialSpec]
    """Trials that are measured together, by key."""
    missing: int
    """How many of them had no result when it was cut."""


def blocks(
    store: Store, run: str, plan: Iterator[TrialSpec], size: Callable[[], int], workers: BlockWorkers | None
) -> Iterator[Block]:
    """Cut a plan into blocks with missing trials; workers are told of those ahead, so that none of them waits.

    Args:
        store: that holds what is finished.
        run: id.
        plan: in its order.
        size: gives the rows that run together, which may fall on the way.
        workers: whom to tell.
    """
    first, rows = 0, size()
    ahead: deque[Block] = deque()
    while True:
        if size() != rows:
            # Memory has run out: what was cut into larger blocks is cut anew.
            first = ahead[0].first if ahead else first
            plan, rows = chain(*(block.planned for block in ahead), plan), size()
            ahead.clear()
        while len(ahead) <= (workers.ahead if workers else 0):
            planned = list(islice(plan, BATCHES * rows))
            if not planned:
                break
            block = cut(store, run, first, planned)
            first += len(planned)
            # Finished ones are kept in line, too: the plan may have to be cut anew from there.
            ahead.append(block)
            if workers is not None and block.missing:
                workers.expect(list(block.specs.values()))
        if not ahead:
            return
        yield ahead.popleft()


def cut(store: Store, run: str, first: int, planned: Sequence[TrialSpec]) -> Block:
    """Find what of a stretch of the plan is to be measured: all of it, where anything is missing.

    Args:
        store: that holds what is finished.
        run: id.
        first: ordinal of its first trial.
        planned: the stretch.
    """
    ordinals: dict[str, int] = {}
    specs: dict[str, TrialSpec] = {}
    for ordinal, spec in enumerate(planned, first):
        key = spec.key
        ordinals.setdefault(key, ordinal)
        specs.setdefault(key, spec)
    finished = store.trials.finished_keys(run, specs)
    missing = [key for key in specs if key not in finished]
    # Trials that are measured another way are no neighbours: what is complete of them stays as it is.
    open_readouts = {specs[key].readout for key in missing}
    specs = {key: spec for key, spec in specs.items() if spec.readout in open_readouts}
    return Block(first, planned, ordinals, specs, len(missing))
