"""What the app looks after on every screen: processes it has started, states of runs, replies without an index."""

from __future__ import annotations

import logging
from typing import Any

from mlxintro.backends.errors import KnownError

from .run_news import RunNews

INDEX = "the index of replies"
"""Name of the process that fills it."""
_UNINDEXED = 5_000
"""Replies that a search may have to read because the index lacks them."""
_INDEX_AFTER, _INDEX_SECONDS = 3.0, 60.0
"""When to look whether it lacks more, first and then again and again."""
_PROCESS_SECONDS, _STATE_SECONDS = 0.5, 1.0

_log = logging.getLogger(__name__)


class Background:
    """Watches in threads, so that a slow store holds no key up, and tells through the app."""

    def __init__(self, app: Any, news: RunNews) -> None:
        self._app = app
        self._news = news
        self._indexing_failed = False
        """Told once; searches then read every reply."""

    def begin(self) -> None:
        """Look again and again from now on."""
        self._app.set_interval(_PROCESS_SECONDS, self._watch_processes)
        self._app.set_interval(_STATE_SECONDS, self._watch_runs)
        self._app.set_interval(_INDEX_SECONDS, self._watch_index)
        self._app.set_timer(_INDEX_AFTER, self._watch_index)

    def _watch_runs(self) -> None:
        self._app.run_worker(self._compare_states, thread=True, group="states", exclusive=True, exit_on_error=False)

    def _compare_states(self) -> None:
        """Say what has happened to runs, whichever screen is shown."""
        try:
            states = self._app.ask(lambda store: store.runs.states())
        except KnownError as error:
            _log.info("states: %s", error)
            return
        self._app.call_from_thread(self._news.take, states)

    def _watch_index(self) -> None:
        self._app.run_worker(self._index, thread=True, group="index", exclusive=True, exit_on_error=False)

    def _index(self) -> None:
        """Have replies indexed that no run has: those of a store from an earlier version, or from elsewhere."""
        try:
            waiting = self._app.ask(lambda store: store.trials.unindexed())
        except KnownError as error:
            _log.info("index: %s", error)
            return
        if waiting > _UNINDEXED and not self._indexing_failed:
            self._app.call_from_thread(self._start_index)

    def _start_index(self) -> None:
        if self._app.processes.find(INDEX) is None:
            self._app.processes.start(INDEX, ["runs", "index"])

    def _watch_processes(self) -> None:
        for ended in self._app.processes.ended():
            if not ended.failed:
                if ended.said_at_end and ended.process.returncode == 0:
                    self._app.notify(ended.said_at_end, timeout=12, markup=False)
                continue
            self._indexing_failed |= ended.name == INDEX
            self._app.notify(
                f"{ended.last_line()}\nOutput: {ended.log}",
                title=f"{ended.name} ended with an error",
                severity="error",
                timeout=20,
                markup=False,
            )
