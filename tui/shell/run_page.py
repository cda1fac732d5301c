"""What every screen does that lets a run be paused, resumed and cancelled."""

from __future__ import annotations

from functools import partial

from mlxintro.backends.errors import UsageError
from mlxintro.store.records import Run

from ..running import run_control
from .page import Page


class RunPage(Page):
    """Is a page with a run to control. Changes are made in a thread, so that a locked store freezes nothing."""

    def pause_or_go_on(self, run: Run) -> None:
        """Pause a run, or let it go on."""
        self.write("control", partial(run_control.pause_or_go_on, run.id), self._controlled)

    def cancel(self, run: Run) -> None:
        """Cancel a run after asking; one that has ended is not asked about.

        Raises:
            UsageError: there is nothing to cancel.
        """
        run_control.check_cancellable(run)
        self.confirm(
            run_control.cancelling(run),
            "Cancel it",
            lambda: self.write("control", partial(run_control.cancel, run.id), self._controlled),
        )

    def resume(self, run: Run) -> None:
        """Go on with a run: a paused one at once, another in a new process.

        Raises:
            UsageError: it is running, being started, or there is nothing left to do.
        """
        if run.state == "paused" or (run.preparing and run.control == "pause"):
            self.pause_or_go_on(run)
            return
        run_control.check_resumable(run)
        if self.home.processes.find(run.name) is not None:
            raise UsageError(f"{run.name} is being started: wait a moment")
        started = self.home.processes.start(run.name, ["run", "--resume", run.id])
        self.notify(f"{run.name} is being resumed; output goes to {started.log}", markup=False)

    def _controlled(self, said: str) -> None:
        self.notify(said, markup=False)
        self.look()
