"""Which trials of a run the review shows: the filter at work, and the same filter once more when there is news.

It knows neither widgets nor the store's thread: whoever drives it asks for ``next`` steps and hands over what they
found. ``tui.screens.review`` does.
"""

from __future__ import annotations

import time
from array import array

from mlxintro.store.records import Run, TrialFilter

from .trial_scan import ScannedTrials

_AGAIN = 20.0
"""A run that goes on is gone through again when this many times the time of the last search have passed."""

NewestVerdicts = tuple[int, int]
"""Numbers of the newest grade and the newest label."""


class Searching:
    def __init__(self) -> None:
        self.run: Run | None = None
        self.where = TrialFilter()
        self.shown: ScannedTrials | None = None
        """What the list shows."""
        self._fresh: ScannedTrials | None = None
        """The filter's second pass, because there are more trials or verdicts."""
        self._due = 0.0
        self._trials = -1
        self._verdicts: NewestVerdicts = (-1, -1)

    @property
    def settled(self) -> bool:
        """Tell whether the filter at work has been through the run."""
        return self.shown is not None and self.shown.over

    @property
    def rows(self) -> array[int]:
        return self.shown.rows if self.shown is not None else array("q")

    def update(self, run: Run, verdicts: NewestVerdicts) -> ScannedTrials | None:
        """Take in how a run stands; returns a search that has to be begun because of it.

        ``shown`` is a new one when it is another run.
        """
        other = self.run is None or self.run.id != run.id
        self.run = run
        trials = run.done + run.errors
        changed = (trials, verdicts) != (self._trials, self._verdicts)
        self._trials, self._verdicts = trials, verdicts
        if other:
            self._due = 0.0
            return self.begin(self.where)
        if changed:
            self._due = max(self._due, time.monotonic())
        if self._due and time.monotonic() >= self._due and self._fresh is None and self.settled:
            self._due = 0.0
            self._fresh = ScannedTrials(run.id, self.where)
            return self._fresh
        return None

    def begin(self, where: TrialFilter) -> ScannedTrials | None:
        """Go through the run with a filter; ``None`` when there is no run yet."""
        self.where = where
        self._fresh = None
        self.shown = ScannedTrials(self.run.id, where) if self.run is not None else None
        return self.shown

    def concerns(self, finding: ScannedTrials) -> bool:
        """Tell whether a search is still wanted."""
        return finding is self.shown or finding is self._fresh

    def replaced(self, finding: ScannedTrials) -> bool:
        """Let a repeated search that is over take the place of the first; whether it shows anything else."""
        if finding is not self._fresh:
            return False
        changed = self.shown is None or finding.rows != self.shown.rows
        self.shown, self._fresh = finding, None
        return changed

    def ended(self, finding: ScannedTrials) -> None:
        """Note that a search is over: a run that goes on will be gone through again."""
        if self.run is not None and self.run.state == "running":
            self._due = max(self._due, time.monotonic() + max(1.0, _AGAIN * (time.monotonic() - finding.begun)))
