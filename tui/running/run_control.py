"""What can be asked of a run, from whichever screen: pause, go on, resume, cancel."""

from __future__ import annotations

from mlxintro.backends.errors import UsageError
from mlxintro.store.records import Control, Run

from ..shell.home import Home


def pause_or_go_on(app: Home, run: Run) -> None:
    """Pause a running run, let a paused one go on.

    Raises:
        UsageError: it is neither.
    """
    if run.state not in ("running", "paused"):
        raise UsageError(f"{run.name} is {run.state}: only a running run can be paused; R resumes one")
    holding = run.state == "paused" or run.control == "pause"
    control: Control = "run" if holding else "pause"
    app.change(lambda store: store.runs.set_control(run.id, control))
    app.notify(
        f"{run.name} goes on" if holding else f"{run.name} pauses after the replies at hand; P lets it go on",
        markup=False,
    )


def cancel(app: Home, run: Run) -> None:
    """Stop a run for good."""
    app.change(lambda store: store.runs.set_control(run.id, "cancel"))
    app.notify(f"{run.name} stops; what is finished stays", markup=False)


def resume(app: Home, run: Run) -> None:
    """Go on with a run: a paused one at once, another in a new process.

    Raises:
        UsageError: it is running, or there is nothing left to do.
    """
    if run.state == "paused":
        pause_or_go_on(app, run)
        return
    if run.state == "running":
        raise UsageError(f"{run.name} is running already: Enter shows it")
    if run.state == "done" and not run.remaining:
        raise UsageError(f"{run.name} is complete: start a new study with N")
    if app.processes.find(run.name) is not None:
        raise UsageError(f"{run.name} is being started: wait a moment")
    started = app.processes.start(run.name, ["run", "--resume", run.id])
    app.notify(f"{run.name} is being resumed; output goes to {started.log}", markup=False)
