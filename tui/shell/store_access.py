"""How the app reads and changes the store: opened for each question, waited for while another program holds it."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

from textual.app import App

from mlxintro.backends.errors import KnownError, UsageError
from mlxintro.paths import DataHome
from mlxintro.store.database import OlderFormat, is_locked
from mlxintro.store.store import Store

from .app_state import Memory

T = TypeVar("T")

_PATIENCE = 1800.0
"""Seconds for which a change waits for a store that another program holds locked."""


class StoreApp(App[int]):
    """Reads and writes the store for the app. All of it may be called in any thread."""

    data: DataHome
    remembered: Memory

    @property
    def run_id(self) -> str:
        """Return the open run's id, or empty text."""
        return self.remembered.run

    def ask(self, query: Callable[[Store], T]) -> T:
        """Ask the store, in whatever thread this is called."""
        try:
            store = Store(self.data.db, read_only=True)
        except (OlderFormat, UsageError):
            # Not there yet, or from an earlier version: opening it for writing makes it, or brings it up to date.
            store = Store(self.data.db)
        with store:
            return query(store)

    def change(self, step: Callable[[Store], T]) -> T:
        """Write to the store, from a thread: it waits while another program holds the store locked."""
        end = monotonic() + _PATIENCE
        while True:
            try:
                with Store(self.data.db) as store:
                    return step(store)
            except KnownError as error:
                if not is_locked(error) or monotonic() > end or not self.is_running:
                    raise
            sleep(0.2)

    def run_is_lost(self) -> bool:
        """Tell whether the open run is not in the store any more. Asks the store, so call it in a thread."""
        run = self.run_id
        try:
            return bool(run) and all(run != one for one, _, _ in self.ask(lambda store: store.runs.states()))
        except KnownError:
            return False
