"""Blocks of a run, shared out over workers. The run itself stays one process that stores what comes back.

The runner asks for one block after the other, as it does with a single model, and says ahead which blocks come next
(``expect``). Workers take blocks in that order; what they measure waits here until the runner asks for it. So whatever
the runner does with a block (storing, comparing, halving it after a failure) is the same code with one worker or many,
and since a block is always measured as a whole by one worker, its texts are those that a single process gives.

At most two blocks per worker are under way or waiting, so memory does not grow with the run. A worker that dies is
started anew, and its block is measured again from its beginning; outcomes that had arrived are not asked for twice.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from mlxintro.backends.base import OnToken
from mlxintro.backends.errors import KnownError, OutOfMemory
from mlxintro.protocol.trials import Outcome, TrialSpec
from mlxintro.running.blocks import NothingMeasures
from mlxintro.running.workers.worker import WorkerFacts

BLOCKS_EACH = 2
"""Blocks per worker that are measured ahead of what is stored."""
DEATHS = 3
"""Workers that a block may end before it is taken for too large."""


class WorkerDied(Exception):
    """A worker, its machine or the way to it is gone."""


class Link(Protocol):
    """Is the near end of the way to one worker."""

    name: str

    def start(self) -> WorkerFacts:
        """Start the worker, or start it again, and load its model."""
        ...

    def measure(self, specs: Sequence[TrialSpec], batch_size: int) -> Iterator[list[Outcome]]:
        """Have a block measured; raises what ended it, or ``WorkerDied``."""
        ...

    def stop(self) -> None:
        """End the worker. It may be called from another thread while a block is measured."""
        ...


@dataclass(eq=False, slots=True)
class _HandedOutBlock:
    """Holds a block that was handed out."""

    specs: Sequence[TrialSpec]
    batch_size: int
    found: queue.SimpleQueue[list[Outcome] | Exception | None] = field(default_factory=queue.SimpleQueue)
    """Outcomes; then ``None``, or what went wrong."""
    given: set[str] = field(default_factory=set)
    """Keys of the trials whose outcomes were handed on."""
    deaths: int = 0


class WorkerPool:
    """Measures blocks with several workers. Use as a context manager: leaving it ends them.

    Calling it is a ``runner.Measure``; tokens are not passed on.
    """

    def __init__(self, links: Sequence[Link], batch_size: int, told: Callable[[str], None], *, mixed: bool) -> None:
        """Start the workers and wait until their models are loaded.

        Args:
            links: one for each worker.
            batch_size: rows that run together in each.
            told: called with a line about what a person should know; from any thread.
            mixed: accept devices of different kinds.

        Raises:
            KnownError: a worker cannot start, or their devices are of different kinds.
        """
        self.batch_size = batch_size
        self._links = links
        self._told = told
        self._changed = threading.Condition()
        self._waiting: deque[_HandedOutBlock] = deque()
        self._known: dict[tuple[str, ...], _HandedOutBlock] = {}
        self._closed = False
        self._lost: NothingMeasures | None = None
        """Why no worker is left."""
        self._facts: WorkerFacts | None = None
        self._mixed = mixed
        self._threads = [
            threading.Thread(target=self._work, args=(link,), name=link.name, daemon=True) for link in links
        ]
        self._alive = len(links)
        try:
            self._start_all()
        except BaseException:
            self.close()
            raise
        for thread in self._threads:
            thread.start()

    @property
    def ahead(self) -> int:
        """Return how many blocks the runner should announce before it asks for them."""
        return BLOCKS_EACH * len(self._links)

    def expect(self, specs: Sequence[TrialSpec]) -> None:
        """Announce a block that will be asked for."""
        self._hand_out(specs, urgent=False)

    def forget(self) -> None:
        """Drop all blocks that were announced: the plan is cut differently from here on."""
        with self._changed:
            self._waiting.clear()
            self._known.clear()

    def shrink(self, batch_size: int) -> None:
        """Run fewer rows together from now on."""
        self.forget()
        self.batch_size = batch_size

    def __call__(self, specs: Sequence[TrialSpec], on_token: OnToken | None = None) -> Iterator[Outcome]:
        """Yield the outcomes of a block, as its worker sends them.

        Raises:
            OutOfMemory: its rows did not fit, or it ended ``DEATHS`` workers.
            NothingMeasures: no worker is left.
            Exception: what else ended it.
        """
        keys = _keys(specs)
        block = self._known.get(keys) or self._hand_out(specs, urgent=True)
        try:
            while (found := block.found.get()) is not None:
                if isinstance(found, Exception):
                    raise found
                yield from found
        finally:
            with self._changed:
                self._known.pop(keys, None)

    def close(self) -> None:
        """End all workers. Blocks that were not asked for are lost, and measured again by whoever resumes the run."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
        for link in self._links:
            link.stop()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _hand_out(self, specs: Sequence[TrialSpec], *, urgent: bool) -> _HandedOutBlock:
        block = _HandedOutBlock(specs, self.batch_size)
        with self._changed:
            if self._lost is not None:
                raise self._lost
            self._known[_keys(specs)] = block
            if urgent:
                self._waiting.appendleft(block)
            else:
                self._waiting.append(block)
            self._changed.notify()
        return block

    def _start_all(self) -> None:
        """Load all models at once, and compare what they run on."""
        found: list[Exception | WorkerFacts] = [KnownError("not started")] * len(self._links)

        def start(at: int) -> None:
            try:
                found[at] = self._links[at].start()
            except Exception as error:
                found[at] = error

        threads = [threading.Thread(target=start, args=(at,), daemon=True) for at in range(len(self._links))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for link, one in zip(self._links, found, strict=True):
            if isinstance(one, WorkerDied):
                raise KnownError(f"{link.name} ended while it loaded the model, for memory perhaps: use fewer workers")
            if isinstance(one, Exception):
                raise one
            self._check_alike(link, one)

    def _check_alike(self, link: Link, facts: WorkerFacts) -> None:
        """Refuse a worker whose texts could differ from the others'.

        Raises:
            KnownError: it runs another model than the first, or the same on another kind of device.
        """
        first = self._facts = self._facts or facts
        if differing := _differing(first.model, facts.model):
            raise KnownError(f"{link.name} runs another model than the first worker: {differing}: give --dtype")
        if (differing := _differing(first.kind, facts.kind)) and not self._mixed:
            raise KnownError(
                f"{link.name} is of another kind than the first worker, and one run's texts should come from one kind: "
                f"{differing}: choose devices of one kind, or accept it with --mixed-devices"
            )

    def _work(self, link: Link) -> None:
        """Measure blocks with one worker until there is nothing more to do."""
        self._measure_all(link)
        if self._closed:
            # It may have been started again at the moment when all were ended.
            link.stop()

    def _measure_all(self, link: Link) -> None:
        while (block := self._next()) is not None:
            try:
                for outcomes in link.measure(block.specs, block.batch_size):
                    block.found.put([one for one in outcomes if one.key not in block.given])
                    block.given.update(one.key for one in outcomes)
                block.found.put(None)
            except WorkerDied:
                self._return(block)
                if not self._revived(link):
                    return
            except Exception as error:
                if self._closed:
                    return
                block.found.put(error)

    def _next(self) -> _HandedOutBlock | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting)
            return None if self._closed else self._waiting.popleft()

    def _return(self, block: _HandedOutBlock) -> None:
        """Let another worker measure a block whose worker has died, before all others."""
        block.deaths += 1
        if block.deaths >= DEATHS:
            block.found.put(OutOfMemory(f"{block.deaths} workers ended in the middle of one block, for memory perhaps"))
            return
        with self._changed:
            self._waiting.appendleft(block)
            self._changed.notify()

    def _revived(self, link: Link) -> bool:
        """Start a worker that has died; ``False`` where that fails, or all is over."""
        if self._closed:
            return False
        self._told(f"{link.name} has died: it is started again, and its block is measured anew")
        try:
            self._check_alike(link, link.start())
        except Exception as error:
            reason = "it died again" if isinstance(error, WorkerDied) else str(error)
            with self._changed:
                self._alive -= 1
                closed, alive = self._closed, self._alive
                if not alive:
                    self._lost = NothingMeasures(f"no worker is left ({link.name}: {reason}): go on with --resume")
                    lost, self._waiting = list(self._waiting), deque()
                    for block in lost:
                        block.found.put(self._lost)
            if not closed:
                self._told(f"{link.name} cannot be started again ({reason}): {alive} workers go on")
            return False
        return not self._closed


def _keys(specs: Sequence[TrialSpec]) -> tuple[str, ...]:
    return tuple(spec.key for spec in specs)


def _differing(first: Mapping[str, str], second: Mapping[str, str]) -> str:
    names = sorted(first.keys() | second.keys())
    parts = [
        f"{name} {first.get(name)} and {second.get(name)}" for name in names if first.get(name) != second.get(name)
    ]
    return ", ".join(parts)
