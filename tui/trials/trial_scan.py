"""Looking for the trials that a filter lets through, in short steps, so that the first ones can be shown at once."""

from __future__ import annotations

import time
from array import array

from mlxintro.store.records import TrialFilter
from mlxintro.store.searching.filter_plan import Route
from mlxintro.store.store import Store

STEP = 0.05
"""Seconds after which a step ends."""
_FIRST, _LEAST, _MOST = 1_000, 200, 100_000
"""Places of the plan that are looked at in one query."""


class ScannedTrials:
    """Goes through a run's plan once. ``step`` runs in a thread; what it returns is added to ``rows`` by the screen."""

    def __init__(self, run: str, where: TrialFilter) -> None:
        self.run = run
        self.where = where
        self.rows = array("q")
        """Rows of the store, in the order of the plan: eight bytes a trial."""
        self._route: Route | None = None
        self.at = 0
        """How far in the plan."""
        self.begun = time.monotonic()
        self._size = _FIRST

    @property
    def over(self) -> bool:
        return self._route is not None and self.at >= self._route.stop

    @property
    def share(self) -> float:
        """Return how much of the stretch in question has been gone through."""
        if self._route is None or self.over:
            return float(self.over)
        return (self.at - self._route.start) / (self._route.stop - self._route.start)

    def step(self, store: Store) -> list[int]:
        """Look at a further stretch; returns rows that match."""
        if self._route is None:
            self._route = store.browse.route(self.run, self.where)
            self.at = self._route.start
        route = self._route
        if route.rows is not None:
            self.at = route.stop
            return store.browse.matching(self.run, self.where, route)
        found: list[int] = []
        started = time.monotonic()
        while not self.over and time.monotonic() - started < STEP:
            before = time.monotonic()
            found += store.browse.matching(self.run, self.where, Route(self.at, min(route.stop, self.at + self._size)))
            self.at += self._size
            # A query should take a fifth of a step: what one place costs differs a thousandfold between filters.
            pace = STEP / 5 / max(time.monotonic() - before, 1e-4)
            self._size = int(min(_MOST, max(_LEAST, self._size * min(4.0, max(0.25, pace)))))
        return found
