"""What has become of the runs since they were last looked at: which have ended, lost their process, or were deleted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mlxintro.store.records import RunState

ACTIVE = ("running", "paused")
RunLine = tuple[str, str, RunState]
"""Id, name and state of a run."""


@dataclass(frozen=True, slots=True)
class RunChange:
    """Tells something that has happened to a run."""

    run: str
    name: str
    what: str
    """``done``, ``failed``, ``interrupted`` or ``deleted``."""


class RunWatch:
    """Compares the runs with what they were."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, RunState]] | None = None

    def compare(self, lines: Iterable[RunLine]) -> list[RunChange]:
        """Take in the runs as they are; returns what has happened since the last time, nothing the first time."""
        now = {run: (name, state) for run, name, state in lines}
        before, self._known = self._known, now
        if before is None:
            return []
        ended = [
            RunChange(run, name, state)
            for run, (name, state) in now.items()
            if state in ("done", "failed", "interrupted") and run in before and before[run][1] in ACTIVE
        ]
        return ended + [RunChange(run, name, "deleted") for run, (name, _) in before.items() if run not in now]

    def forget(self, run: str) -> None:
        """Forget a run that was deleted from here: that it is gone is no news."""
        if self._known is not None:
            self._known.pop(run, None)

    @property
    def active(self) -> list[str]:
        """Return the names of the runs that go on."""
        return [name for name, state in (self._known or {}).values() if state in ACTIVE]
