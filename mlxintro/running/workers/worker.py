"""One model in a process of its own, which measures blocks of trials for a run that is led elsewhere.

It never sees the store: prompts and vectors come with its setup, and what it measures goes back as plain records. The
process that leads the run is the only one that writes.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from mlxintro.backends.errors import KnownError
from mlxintro.protocol.study import Study
from mlxintro.protocol.trials import Outcome, PromptRecord, TrialSpec
from mlxintro.vectors.vector import ConceptVector

SEND_SECONDS = 0.5
"""How long outcomes are gathered before they are sent: one by one, a network takes longer than a small model."""

WorkerMessage = tuple[Literal["ready", "outcomes", "failed", "done"], Any]
"""What a worker says: its facts, outcomes, the exception that ended a block, or that a block is done."""


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """Holds everything a worker needs to measure trials of one run."""

    study: Study
    """Resolved; its device is the worker's."""
    batch_size: int
    date: str | None
    """The day that the chat template writes into prompts, ISO 8601."""
    prompts: Mapping[str, PromptRecord]
    vectors: Mapping[str, ConceptVector]
    """Vectors by recipe hash."""


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """Says what a worker runs on, by which texts can differ."""

    model: Mapping[str, str]
    """The identity of the model that is loaded."""
    kind: Mapping[str, str]
    """See ``backends.machine.kind``."""


class TrialWorker:
    """Measures what it is given with a loaded model. It lives as long as its process."""

    def __init__(self, setup: WorkerSetup) -> None:
        """Load the model.

        Raises:
            KnownError: it cannot be loaded here.
        """
        import datetime

        from mlxintro import experiments
        from mlxintro.backends.machine.kind import device_kind
        from mlxintro.backends.registry import open_backend
        from mlxintro.running.session import MODEL_IDENTITY, Session

        study = setup.study
        names = ("backend", "device", "dtype", "quantize", "kv_bits", "adapter", "dialogue")
        backend = open_backend(
            study.model, batch_size=setup.batch_size, **{name: getattr(study, name) for name in names}
        )
        if setup.date is not None:
            backend.set_date(datetime.date.fromisoformat(setup.date))
        self._session = Session(backend, setup.prompts, setup.vectors)
        self._experiment = experiments.find(study.experiment)
        identity = {name: str(getattr(backend.info, name)) for name in MODEL_IDENTITY}
        self.facts = WorkerFacts(identity, device_kind(backend.info))

    def measure(self, specs: Sequence[TrialSpec], batch_size: int) -> Iterator[WorkerMessage]:
        """Measure a block; says outcomes as they come and ends with ``done``, or with ``failed`` and the exception.

        Args:
            specs: trials of one block.
            batch_size: rows that run together.
        """
        self._session.backend.batch_size = batch_size
        waiting: list[Outcome] = []
        sent = time.monotonic()
        try:
            for outcome in self._experiment.measure(self._session, specs, None):
                waiting.append(outcome)
                if time.monotonic() - sent > SEND_SECONDS:
                    yield "outcomes", waiting
                    waiting, sent = [], time.monotonic()
        except Exception as error:
            yield "outcomes", waiting
            yield "failed", portable(error)
            return
        yield "outcomes", waiting
        yield "done", None


def portable(error: Exception) -> Exception:
    """Return an exception that survives the way to another process: itself, or one that says the same."""
    # An exception class is free to pickle badly in any way there is; then its words go instead.
    with suppress(Exception):
        if type(pickle.loads(pickle.dumps(error))) is type(error):
            return error
    text = f"{type(error).__name__}: {error}"
    return KnownError(text) if isinstance(error, KnownError) else RuntimeError(text)
