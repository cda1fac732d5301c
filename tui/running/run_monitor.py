"""What the live screen knows of a run: read in a thread, shown by ``tui.screens.live``."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psutil

from mlxintro.analysis.rates import RunRates, run_rates
from mlxintro.backends.base import ModelInfo
from mlxintro.backends.errors import KnownError
from mlxintro.protocol import concepts
from mlxintro.running.live import Writing, read_live
from mlxintro.store.records import Run, Trial
from mlxintro.store.store import Store
from mlxintro.store.trials import Failure

from ..widgets.heatmap import RateGrid

GRADER = "rules"
_FAILURES = 20


@dataclass(frozen=True, slots=True)
class RunSight:
    """One look at a run."""

    run: Run
    writing: Writing | None
    rates: RunRates
    failures: list[Failure]
    last: Trial | None
    """The latest in the plan that is there; looked up only while no reply is being written."""
    memory: int | None
    """Bytes that its process holds in main memory."""
    free: int


class Watcher:
    """Looks at one run again and again; counts rates no more often than that they take a twentieth of the time."""

    def __init__(self, run: str) -> None:
        self.run = run
        self._rates = run_rates(())
        self._counted = (-1, -1, "")
        self._due = 0.0
        self._samples: list[tuple[float, int]] = []

    def look(self, store: Store) -> RunSight:
        run = store.runs.get(self.run)
        self._count(store, run)
        self._samples = [*self._samples[-600:], (time.monotonic(), run.done)]
        active = run.state in ("running", "paused")
        writing = read_live(store.path, run.id) if active else None
        return RunSight(
            run,
            writing,
            self._rates,
            store.trials.failures(run, limit=_FAILURES),
            store.trials.last(run.id) if writing is None else None,
            _resident(run.pid) if active else None,
            int(psutil.virtual_memory().available),
        )

    def _count(self, store: Store, run: Run) -> None:
        newest, _ = store.grades.graded_since(0) if run.done else (0, set())
        now = time.monotonic()
        key = (run.done, newest, run.state)
        if key == self._counted or (now < self._due and run.state == "running"):
            return
        self._rates = run_rates(store.grades.counts(run.id, GRADER))
        # Intervals take long the first time: here, not where keys are waited for.
        for tally in (self._rates.controls, self._rates.injected):
            _ = tally.detection
        self._counted = key
        self._due = time.monotonic() + 20 * (time.monotonic() - now)

    def pace(self) -> float | None:
        """Trials per second since this was first looked at, or over the last minutes; ``None`` until it is known."""
        if len(self._samples) < 2:
            return None
        (first, before), (last, after) = self._samples[0], self._samples[-1]
        return (after - before) / (last - first) if after > before and last - first > 1 else None


def grid_of(run: Run, rates: RunRates) -> RateGrid:
    """The cells that are planned, as far as the stored study tells, and those that are there."""
    study = run.study
    layers = {layer for layer, _ in rates.cells if layer is not None}
    strengths = {strength for _, strength in rates.cells if strength is not None}
    planned = 0
    try:
        info = ModelInfo(**run.model)
        layers |= {info.layer(layer) for layer in study.get("layers") or ()}
        strengths |= {float(strength) for strength in study.get("strengths") or ()}
        words = concepts.library().resolve(study.get("concepts") or (), allow_unknown=True)
        planned = len(words) * int(study.get("trials") or 0)
    except (KnownError, TypeError, ValueError):
        # A study of a later version, or an experiment of another shape: what is there is shown.
        pass
    return RateGrid(sorted(layers), sorted(strengths), rates.cells, planned, str(study.get("unit") or ""))


def _resident(pid: int | None) -> int | None:
    try:
        return int(psutil.Process(pid).memory_info().rss) if pid else None
    except psutil.Error:
        return None
