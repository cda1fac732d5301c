"""The decoding step with fixed shapes, so that CUDA can record it once and replay it.

A small model's eager step on a GPU is bound by the host, which launches its kernels one by one. A CUDA graph launches
them all at once, but repeats the very same kernels on the very same memory: rows and columns come in buckets, rows
without a reply idle in slots nobody holds, every lane takes part whether its window is met or not, and nothing branches
on a value. Keys, values and injections are computed by the code of the eager step, into the same cache.

A graph is not believed before it has agreed with the eager step; see ``GraphDecoder``.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..base import OPERATIONS, Prompt, Proof
from ..lanes import LayerSite
from .batch import PromptReader, TorchBatch, TorchDecoder
from .hooks import hooked
from .lanes import InjectionPass, TorchLane
from .model import Network
from .past.slots import Write

_log = logging.getLogger(__name__)

_COLUMNS = 256
"""Columns come in multiples of this."""
_EAGER_STEPS = 8
"""Steps before the first capture, which takes about as long as that many: short replies do without."""
_CHECKS = 2
"""Steps that run both ways. The first replay repeats what was recorded; only a second shows what was recorded as a
constant that is none."""
_KEPT = 4
"""Graphs held at a time."""
_WARM_UP = 2

Body = Callable[[], Tensor]
"""One step on fixed memory; its logits, float32 (rows, vocabulary), which the next call may overwrite."""


@dataclass(slots=True)
class CudaRecorder:
    """Records steps on a CUDA device. All graphs take their working memory from one pool: they run one at a time."""

    device: torch.device
    _pool: Any = field(default=None, init=False)

    def __call__(self, body: Body) -> Body:
        """Record a step.

        Raises:
            RuntimeError: it does something that cannot be recorded, such as waiting for the device. The device can be
                used as before.
        """
        with torch.cuda.device(self.device):
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(_WARM_UP):
                    body()
            torch.cuda.current_stream().wait_stream(side)
            if self._pool is None:
                self._pool = torch.cuda.graph_pool_handle()
            graph = torch.cuda.CUDAGraph()
            try:
                with torch.cuda.graph(graph, pool=self._pool):
                    output = body()
            except RuntimeError:
                self._recover(graph)
                raise

        def replay() -> Tensor:
            with torch.cuda.device(self.device):
                graph.replay()
            return output

        return replay

    def _recover(self, graph: Any) -> None:
        """End what a failed capture has left behind, so that eager steps run."""
        # A pool whose capture failed may be half taken: the next one starts afresh.
        self._pool = None
        with contextlib.suppress(RuntimeError):
            graph.reset()
        torch.cuda.synchronize(self.device)


def _nothing_to_spare() -> int:
    return 0


@dataclass(slots=True)
class Graphs:
    """Says how the steps of a backend are recorded, and whether that still goes."""

    capture: Callable[[Body], Body]
    """May call what it is given any number of times."""
    spare: Callable[[], int] = _nothing_to_spare
    """Bytes of memory that are free at the moment."""
    trusted: bool = field(default=True, init=False)
    _kept: list[StaticStep] = field(default_factory=list, init=False)
    """Steps of the last call, all over one cache."""

    @classmethod
    def on(cls, network: Network) -> Graphs | None:
        """Return graphs for a model that lies on one CUDA device as a whole; ``None`` for any other.

        Recording a step runs it several times, and what layers carry from token to token would go on each time.
        """
        devices = {parameter.device for parameter in network.model.parameters()}
        if len(devices) > 1 or network.device.type != "cuda" or network.carries:
            return None
        return cls(CudaRecorder(network.device), partial(_free_on, network.device))

    def keep(self, steps: Sequence[StaticStep]) -> None:
        """Take steps over when a call is done, for the next call: recording takes as long as many steps.

        Their cache stays with them. That costs the next call nothing only where there is room for another one.
        """
        self._kept = list(steps)
        if self._kept and 2 * self._kept[0].cache.bytes > self.spare():
            self.forget()

    def forget(self) -> None:
        """Give up what is kept, and its memory."""
        self._kept = []

    def claim(self, structure: Structure, batch: TorchBatch) -> list[StaticStep]:
        """Hand out what is kept if it suits a batch, which then moves into its cache; nothing otherwise."""
        kept = self._kept
        if not any(static.suits(batch) and static.structure.covers(structure) for static in kept):
            return []
        cache = kept[0].cache
        if not cache.holds_all_of(batch.cache, len(batch)):
            return []
        self.forget()
        cache.absorb(batch.cache, 0, len(batch))
        batch.move_to(cache)
        for static in kept:
            static.checks = max(static.checks, 1)
        return kept

    def distrust(self, why: str) -> None:
        self.trusted = False
        self.forget()
        _log.warning("CUDA graphs are off for this model, replies are as correct but slower: %s", why)


@dataclass(frozen=True, slots=True)
class Structure:
    """Says what injections of a call may do; fixed in its graphs."""

    depths: dict[LayerSite, int]
    """Lanes per place."""
    operations: frozenset[int]
    """Indices into ``OPERATIONS``."""

    @classmethod
    def of(cls, prompts: Sequence[Prompt]) -> Structure:
        depths: Counter[LayerSite] = Counter()
        for prompt in prompts:
            depths |= Counter((injection.layer, injection.site) for injection in prompt.injections)
        used = {OPERATIONS.index(injection.operation) for prompt in prompts for injection in prompt.injections}
        return cls(dict(depths), frozenset(used))

    def covers(self, other: Structure) -> bool:
        """Tell whether a graph of this structure can do all that another asks for."""
        deep = all(self.depths.get(place, 0) >= depth for place, depth in other.depths.items())
        return deep and other.operations <= self.operations


class StaticStep:
    """Does a decoding step for at most so many rows and columns, over the slots of a batch's cache."""

    def __init__(self, network: Network, batch: TorchBatch, structure: Structure, rows: int, columns: int) -> None:
        """
        Args:
            batch: its cache must have that many slots and columns already.
        """
        self.rows = rows
        self.columns = columns
        self.structure = structure
        self.cache = batch.cache
        self._network = network
        self._stores = batch.cache.stores()
        self._inputs = torch.zeros(2, rows, 1, dtype=torch.long, device=network.device)
        """Token ids, positions."""
        self._lanes = {
            place: [
                TorchLane.blank(rows, place[1], network.sizes, structure.operations, network.device)
                for _ in range(depth)
            ]
            for place, depth in structure.depths.items()
        }
        self._replay: Body | None = None
        self.checks = _CHECKS
        """Steps still to be compared with the eager one."""

    def suits(self, batch: TorchBatch) -> bool:
        """Tell whether a batch as it is can take this step, if its cache is this one."""
        # Rows that idle cost little, recording costs much: a graph serves until a quarter of it is left.
        return self.rows // 4 < len(batch) <= self.rows and int(batch.lengths.max()) < self.columns

    def fits(self, batch: TorchBatch) -> bool:
        """Tell whether the cache still lies where it lay."""
        return batch.cache is self.cache and all(
            a is b for a, b in zip(batch.cache.stores(), self._stores, strict=True)
        )

    def load(self, batch: TorchBatch) -> None:
        """Take over what is injected into the rows and what was counted so far."""
        batch.injector.spread(self._lanes)

    def settle(self, batch: TorchBatch) -> None:
        """Hand back what was counted."""
        batch.injector.collect(self._lanes)

    def counted_as(self, batch: TorchBatch, tolerance: float) -> bool:
        """Tell whether the counts are those of the batch, which took the same steps."""
        return batch.injector.agrees(self._lanes, tolerance)

    def capture(self, batch: TorchBatch, tokens: Sequence[int], capture: Callable[[Body], Body]) -> None:
        """Record the step; counts and the column that the tokens go to are as before or as after the step."""
        self._feed(batch, tokens)
        self._replay = capture(self._body)
        self.load(batch)

    def run(self, batch: TorchBatch, tokens: Sequence[int]) -> Tensor:
        """Return one step of a batch that was loaded; its logits, until the next step."""
        assert self._replay is not None, "capture first"
        self._feed(batch, tokens)
        return self._replay()[: len(tokens)]

    def _feed(self, batch: TorchBatch, tokens: Sequence[int]) -> None:
        # A row that idles reads token 0 at position 0, in a slot that is filled anew when a row enters.
        table = np.zeros((2, self.rows, 1), np.int64)
        table[:, : len(tokens), 0] = tokens, batch.lengths
        self._inputs.copy_(torch.from_numpy(table))

    def _body(self) -> Tensor:
        ids, positions = self._inputs[0], self._inputs[1]
        injected = InjectionPass(self._lanes, positions)
        self.cache.write = Write(positions, self.columns, self.rows)
        with hooked(self._network, injected.edits):
            hidden = self._network.read(ids, positions, self.columns, self.cache)
        injected.settle()
        return self._network.logits(hidden[:, -1])


class GraphDecoder(TorchDecoder):
    """Replays the steps of ``TorchDecoder`` once they are recorded.

    The first steps of every graph are done both ways. The eager one stands: it comes last and overwrites what the graph
    wrote. If the two differ by more than rounding, or recording fails, all further steps are eager.
    """

    def __init__(self, network: Network, reader: PromptReader, prompts: Sequence[Prompt], graphs: Graphs) -> None:
        """
        Args:
            prompts: all that will be admitted.
        """
        super().__init__(reader)
        self._network = network
        self._structure = Structure.of(prompts)
        self._graphs = graphs
        self._steps: list[StaticStep] = []
        self._loaded: StaticStep | None = None
        """Holds the current counts."""
        self._eager_left = _EAGER_STEPS

    def admit(self, prompts: Sequence[Prompt]) -> None:
        self._settle()
        super().admit(prompts)

    def proofs(self, row: int) -> tuple[Proof, ...]:
        self._settle()
        return super().proofs(row)

    def keep(self, rows: Sequence[int]) -> None:
        self._settle()
        super().keep(rows)
        if not rows:
            if self._graphs.trusted:
                self._graphs.keep(self._steps)
            self._steps = []

    @torch.inference_mode()
    def step(self, tokens: Sequence[int]) -> None:
        if not self._steps and self._graphs.trusted:
            self._steps = self._graphs.claim(self._structure, self._live)
        if (self._eager_left and not self._steps) or not self._graphs.trusted:
            self._eager_left = max(0, self._eager_left - 1)
            self._settle()
            super().step(tokens)
            return
        batch = self._live
        static = self._static(batch)
        if static is None or static.checks:
            self._settle()
            self._checked(batch, static, tokens)
            return
        if self._loaded is not static:
            self._settle()
            static.load(batch)
            self._loaded = static
        batch.stepped(static.run(batch, tokens))

    @torch.inference_mode()
    def _settle(self) -> None:
        if self._loaded is not None:
            self._loaded.settle(self._live)
            self._loaded = None

    def _static(self, batch: TorchBatch) -> StaticStep | None:
        """The recorded step for the batch as it is, if there is one."""
        return next((static for static in self._steps if static.suits(batch) and static.fits(batch)), None)

    def _checked(self, batch: TorchBatch, static: StaticStep | None, tokens: Sequence[int]) -> None:
        """A step done both ways."""
        found = None
        try:
            static = static or self._recorded(batch, tokens)
            static.load(batch)
            found = static.run(batch, tokens).clone()
        except RuntimeError as error:
            self._graphs.distrust((str(error).strip() or type(error).__name__).splitlines()[0])
        super().step(tokens)
        if static is None or found is None:
            self._steps.clear()
            return
        static.checks -= 1
        difference = _difference(found, batch.logits)
        limit = 1e-3 if self._network.dtype == torch.float32 else 5e-2
        if not difference <= limit:
            self._graphs.distrust(f"its logits differ from the eager step's by {difference:.2g} of the largest")
        elif not static.counted_as(batch, limit):
            self._graphs.distrust("it counts other injections than the eager step")

    def _recorded(self, batch: TorchBatch, tokens: Sequence[int]) -> StaticStep:
        self._graphs.forget()
        rows = 1 << (len(batch) - 1).bit_length()
        # With room for some steps at least.
        columns = -(-(int(batch.lengths.max()) + _COLUMNS // 2) // _COLUMNS) * _COLUMNS
        # What holds the memory of a smaller cache goes first.
        if not batch.cache.holds(rows, columns):
            self._steps.clear()
            batch.cache.reserve(rows, columns)
        self._steps = [static for static in self._steps if static.fits(batch)][-(_KEPT - 1) :]
        static = StaticStep(self._network, batch, self._structure, rows, columns)
        static.capture(batch, tokens, self._graphs.capture)
        self._steps.append(static)
        return static


def _free_on(device: torch.device) -> int:
    """Bytes that this process can still take on a card: what the allocator holds in reserve is free to it."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def _difference(found: Tensor, expected: Tensor) -> float:
    """Largest difference in units of the largest logit, of rows that are numbers; infinite if others are."""
    sound = expected.isfinite().all(-1)
    if not bool((found.isfinite().all(-1) == sound).all()):
        return float("inf")
    if not bool(sound.any()):
        return 0.0
    largest = expected[sound].abs().amax()
    return float((found[sound] - expected[sound]).abs().amax() / largest)
