"""What can be asked of a run, from whichever screen: pause, go on, cancel. Each is a step for a thread.

A run is looked up again when the step is done: it may have ended while a question stood open.
"""

from __future__ import annotations

from mlxintro.backends.errors import UsageError
from mlxintro.store.records import Control, Run
from mlxintro.store.store import Store

CANCELLABLE = ("planned", "running", "paused", "interrupted")
"""States in which a run has something left to cancel."""


def pause_or_go_on(run: str, store: Store) -> str:
    """Pause a running run, let a paused one go on; returns what to say.

    Raises:
        UsageError: it is neither.
    """
    found = store.runs.get(run)
    if found.state not in ("running", "paused") and not found.preparing:
        raise UsageError(f"{found.name} is {found.state}: only a run that goes on can be paused")
    holding = found.state == "paused" or found.control == "pause"
    control: Control = "run" if holding else "pause"
    store.runs.set_control(found.id, control)
    at_hand = "words" if found.preparing else "replies"
    return f"{found.name} goes on" if holding else f"{found.name} pauses after the {at_hand} at hand"


def check_cancellable(run: Run) -> None:
    """Refuse to cancel what has ended.

    Raises:
        UsageError: there is nothing to cancel.
    """
    if run.state not in CANCELLABLE:
        raise UsageError(f"{run.name} is {run.state}: there is nothing to cancel")


def cancel(run: str, store: Store) -> str:
    """Stop a run; returns what to say.

    Raises:
        UsageError: it has ended meanwhile.
    """
    found = store.runs.get(run)
    check_cancellable(found)
    store.runs.set_control(run, "cancel")
    return f"{found.name} stops; its finished trials stay"


def check_resumable(run: Run) -> None:
    """Refuse to resume what goes on already, or has nothing left.

    Raises:
        UsageError: it is running, or complete.
    """
    if run.state == "running" or run.preparing:
        raise UsageError(f"{run.name} is running already")
    if run.state == "done" and not run.remaining:
        raise UsageError(f"{run.name} is complete: there is nothing left to resume")


def cancelling(run: Run) -> str:
    """Return the question that is asked before a run is cancelled."""
    return f"Cancel {run.name}? Its {run.done} finished trials stay, and it can be resumed later."
