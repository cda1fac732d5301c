"""Runs and measurements for tests of the runner."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import TypeVar

from mlxintro.backends.base import OnToken
from mlxintro.backends.errors import KnownError
from mlxintro.protocol.trials import Outcome, TrialSpec
from mlxintro.running.events import RunEvent
from mlxintro.running.runner import Measure, run_trials
from mlxintro.store import Store
from tests.plans import outcome, plan

AnEvent = TypeVar("AnEvent")


def planned_run(store: Store, count: int, name: str | None = None) -> str:
    return store.runs.create("injected-thoughts", planned=count, name=name).id


def neighbourly(specs: Sequence[TrialSpec], on_token: OnToken | None) -> Iterator[Outcome]:
    """Every reply depends on the whole batch, as float rounding can make it; rows finish in an order of their own."""
    batch = hashlib.sha256("".join(s.key for s in specs).encode()).hexdigest()[:12]
    for s in sorted(specs, key=lambda s: s.key):
        yield outcome(s, f"{s.trial} beside {batch}")


def failing(*bad: int, error: Exception | None = None) -> Measure:
    """A measurement that raises when it comes to one of these trials."""

    def measure(specs: Sequence[TrialSpec], on_token: OnToken | None) -> Iterator[Outcome]:
        for s in specs:
            if s.trial in bad:
                raise error or KnownError(f"trial {s.trial} does not fit: shorten it")
            yield outcome(s, f"reply {s.trial}")

    return measure


def texts(store: Store, run: str) -> dict[str, str]:
    return {trial.key: trial.response for trial in store.trials.of_run(run)}


def run_all(store: Store, run: str, count: int, measure: Measure, size: int = 4) -> list[RunEvent]:
    return list(run_trials(store, run, plan(count), measure, batch_size=size))


def of(kind: type[AnEvent], seen: list[RunEvent]) -> list[AnEvent]:
    return [event for event in seen if isinstance(event, kind)]
