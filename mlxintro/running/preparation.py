"""The time between a run's record and its first trial: what it needs is made, and it can be paused and cancelled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from mlxintro.backends.errors import KnownError
from mlxintro.running.runner import BEAT_SECONDS, POLL_SECONDS, describe
from mlxintro.store.store import Store


class PreparationCancelled(KnownError):
    """Somebody has cancelled a run that was being prepared."""


@contextmanager
def preparing(
    store: Store, run: str, progress: Callable[[int, int], None] | None = None
) -> Iterator[Callable[[int, int], None]]:
    """Hold a run while it is prepared; whatever ends the preparation is recorded with the run.

    Yields:
        A callback for progress (done, total), in which the run waits while it is paused.

    Raises:
        PreparationCancelled: from the callback.
        KnownError: another process is working on the run.
    """
    store.runs.prepare(run)
    beaten = time.monotonic()

    def steered(done: int, total: int) -> None:
        nonlocal beaten
        if progress is not None:
            progress(done, total)
        while (control := store.runs.control(run)) == "pause":
            time.sleep(POLL_SECONDS)
            beaten = _beat(store, run, beaten)
        if control == "cancel":
            raise PreparationCancelled(f"{store.runs.get(run).name} was cancelled before its first trial")
        beaten = _beat(store, run, beaten)

    try:
        yield steered
    except PreparationCancelled:
        store.runs.set_state(run, "cancelled")
        raise
    except Exception as error:
        with suppress(KnownError):
            store.runs.set_state(run, "failed", describe(error))
        raise
    except BaseException:
        with suppress(KnownError):
            store.runs.set_state(run, "interrupted")
        raise


def _beat(store: Store, run: str, last: float) -> float:
    if time.monotonic() - last < BEAT_SECONDS:
        return last
    store.runs.beat(run)
    return time.monotonic()
