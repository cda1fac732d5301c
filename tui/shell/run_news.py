"""News of runs, told on whichever screen is shown: one has ended, its process is gone, it was deleted elsewhere."""

from __future__ import annotations

from collections.abc import Iterable

from mlxintro.backends.errors import UsageError

from ..running.run_watch import RunChange, RunLine, RunWatch
from .home import Home
from .notices import Notices


class RunNews:
    def __init__(self, home: Home, notices: Notices) -> None:
        self._home = home
        self._notices = notices
        self._watch = RunWatch()
        self._finished: RunChange | None = None
        """The run that has ended last, unless it was the open one."""

    def take(self, lines: list[RunLine]) -> None:
        """Take in the runs as they are, and tell what has happened to them."""
        for change in self._watch.compare(lines):
            if change.what == "deleted":
                self._tell_deleted(change)
            else:
                self._tell_ended(change)
        self._leave_missing(lines)
        active = self._watch.active
        what = active[0] if len(active) == 1 else f"{len(active)} runs"
        self._notices.title(f"mlxintro: {what}" if active else "mlxintro")

    def _leave_missing(self, lines: Iterable[RunLine]) -> None:
        """Close a run that was deleted while the app was not there."""
        if self._home.run_id and all(run != self._home.run_id for run, _, _ in lines):
            self._home.close_run()

    def _tell_deleted(self, change: RunChange) -> None:
        if change.run == self._home.run_id or change.run in (self._home.compared or ()):
            self._home.notify(
                f"{change.name} was deleted by another program", severity="warning", timeout=15, markup=False
            )
            self._home.close_run()

    def _tell_ended(self, change: RunChange) -> None:
        opened = change.run == self._home.run_id
        if not opened:
            self._finished = change
        if change.what == "interrupted":
            text = f"The process of {change.name} is gone; everything finished is stored. "
            hint = "{live.resume} resumes it." if opened else "{app.open_finished} opens it."
        else:
            text = f"{change.name} is {change.what}: "
            hint = (
                "{go.review} shows its replies, {go.results} its results" if opened else "{app.open_finished} opens it"
            )
        self._home.notify(
            text + self._home.keyed(hint),
            severity="information" if change.what == "done" else "error",
            timeout=15,
            markup=False,
        )
        self._notices.ended(
            change.name, "has lost its process" if change.what == "interrupted" else f"is {change.what}"
        )

    def forget(self, run: str) -> None:
        """Forget a run that was deleted from here: that it is gone is no news."""
        self._watch.forget(run)
        if run == self._home.run_id or run in (self._home.compared or ()):
            self._home.close_run()

    def open_finished(self) -> None:
        """Open the run that was last said to have ended.

        Raises:
            UsageError: none has.
        """
        if self._finished is None:
            raise UsageError("no other run has ended since the app was started")
        run, self._finished = self._finished, None
        self._home.open_run(run.run, run.name)
