"""What the live screen knows of a run: read in a thread, shown by ``tui.screens.live``."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

import psutil

from mlxintro.analysis.head_figures import Display
from mlxintro.analysis.run import tally_of
from mlxintro.analysis.tally import RunTally
from mlxintro.backends.base import ModelInfo
from mlxintro.backends.errors import KnownError
from mlxintro.protocol.words.own_concepts import library_of
from mlxintro.running.live import Writing, read_live
from mlxintro.store.records import Run, TrialFilter
from mlxintro.store.searching.browse import Seen
from mlxintro.store.searching.filter_plan import Route
from mlxintro.store.store import Store
from mlxintro.store.trials import Failure

from ..widgets.heatmap import RateGrid

GRADER = "rules"
_FAILURES = 20
_FEED = 40
"""Latest replies that are shown."""
_LATEST = 400
"""Places of the plan, counted back from the last one that is done, in which the latest replies are looked for."""
_HISTORY = 60
"""Values of pace and of memory that are kept for their sparklines."""


@dataclass(frozen=True, slots=True)
class RunSight:
    """Holds one look at a run."""

    run: Run
    display: Display
    writing: Writing | None
    tally: RunTally
    failures: list[Failure]
    feed: tuple[Seen, ...]
    """The latest trials in the plan that are there, the last one first."""
    memory: int | None
    """Bytes that its process holds in main memory."""
    free: int


class Watcher:
    """Looks at one run again and again; counts rates no more often than that they take a twentieth of the time."""

    def __init__(self, run: str) -> None:
        self.run = run
        self._tally: RunTally | None = None
        self._counted = (-1, -1, "")
        self._due = 0.0
        self._samples: list[tuple[float, int]] = []
        self._together = 1
        self.paces: deque[float] = deque(maxlen=_HISTORY)
        """Trials per second between two looks, the newest last."""
        self.memories: deque[float] = deque(maxlen=_HISTORY)
        self._fed: tuple[object, tuple[Seen, ...]] = (None, ())

    def look(self, store: Store) -> RunSight:
        run = store.runs.get(self.run)
        tally = self._count(store, run)
        self._sample(run)
        active = run.state in ("running", "paused")
        memory = _resident(run.pid) if active else None
        if memory is not None:
            self.memories.append(memory)
        return RunSight(
            run,
            tally.display,
            read_live(store.path, run.id) if active else None,
            tally,
            store.trials.failures(run, limit=_FAILURES),
            self._feed(store, run),
            memory,
            int(psutil.virtual_memory().available),
        )

    def _sample(self, run: Run) -> None:
        now = time.monotonic()
        if self._samples and run.state == "running":
            then, before = self._samples[-1]
            self.paces.append(max(0, run.done - before) / max(1e-3, now - then))
        self._samples = [*self._samples[-600:], (now, run.done)]
        # Half of what is planned where that is less than a batch.
        self._together = max(1, min(run.batch_size or 1, (run.planned - self._samples[0][1]) // 2))

    def _feed(self, store: Store, run: Run) -> tuple[Seen, ...]:
        key = (run.done, run.errors, self._counted)
        if self._fed[0] != key:
            last = store.trials.last(run.id)
            rows: list[int] = []
            if last is not None:
                stretch = Route(max(0, last.ordinal - _LATEST), last.ordinal + 1)
                rows = store.browse.matching(run.id, TrialFilter(), stretch)[-_FEED:]
            self._fed = key, tuple(reversed(store.browse.seen(run.id, rows)))
        return self._fed[1]

    def _count(self, store: Store, run: Run) -> RunTally:
        newest, _ = store.grades.graded_since(0) if run.done else (0, set())
        now = time.monotonic()
        key = (run.done, newest, run.state)
        if self._tally is not None and (key == self._counted or (now < self._due and run.state == "running")):
            return self._tally
        self._tally = tally_of(store, run, GRADER)
        # Intervals take long the first time: here, not where keys are waited for.
        for cell in (self._tally.case, self._tally.baseline, *self._tally.cells.values()):
            for figure in cell.figures:
                _ = figure.value
        self._counted = key
        self._due = time.monotonic() + 20 * (time.monotonic() - now)
        return self._tally

    def pace(self) -> float | None:
        """Return the trials per second since this was first looked at, or over the last minutes.

        ``None`` until as many are done as run together: the first of a batch ends long before its last.
        """
        if len(self._samples) < 2:
            return None
        (first, before), (last, after) = self._samples[0], self._samples[-1]
        return (after - before) / (last - first) if after - before >= self._together and last - first > 1 else None


def grid_of(run: Run, tally: RunTally) -> RateGrid:
    """Return the cells that are planned, as far as the stored study tells, and those that are there."""
    study = run.study
    layers = {layer for layer, _ in tally.cells}
    strengths = {strength for _, strength in tally.cells}
    planned = 0
    try:
        info = ModelInfo(**run.model)
        layers |= {info.layer(layer) for layer in study.get("layers") or ()}
        strengths |= {float(strength) for strength in study.get("strengths") or ()}
        words = library_of(study).resolve(study.get("concepts") or (), allow_unknown=True)
        planned = len(words) * int(study.get("trials") or 0)
    except (KnownError, TypeError, ValueError):
        # A study of a later version, or an experiment of another shape: what is there is shown.
        pass
    if not tally.cells and not any(figure.case.condition == "injected" for figure in tally.display.figures):
        # An experiment without a map, whatever its study says of layers.
        return RateGrid()
    return RateGrid(sorted(layers), sorted(strengths), tally.cells, planned, str(study.get("unit") or ""))


def _resident(pid: int | None) -> int | None:
    try:
        return int(psutil.Process(pid).memory_info().rss) if pid else None
    except psutil.Error:
        return None
