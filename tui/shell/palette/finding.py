"""What the command palette finds in the store: runs by name, concepts, and trials by what was replied."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider

from mlxintro.backends.errors import KnownError
from mlxintro.protocol.words.own_concepts import library_with
from mlxintro.rendering.cleaning import visible
from mlxintro.store.records import Run, TrialFilter
from mlxintro.store.searching.browse import Seen
from mlxintro.store.store import Store

from ...reading import wording
from ...trials.trial_scan import ScannedTrials
from ..home import Home, home_of

_TRIALS, _CONCEPTS = 6, 8
_EXACT = 1_000.0
"""Score of what was typed in full: more than any fuzzy match has."""
_SECONDS = 0.4
"""How long replies are searched for a palette's query."""
_LEAST = 3
"""Letters from which on replies are searched."""


class _InStore(Provider):
    @property
    def home(self) -> Home:
        return home_of(self.screen)


class FoundRuns(_InStore):
    """Finds runs by name, model and experiment."""

    async def startup(self) -> None:
        self._runs: Sequence[Run] = ()
        try:
            self._runs = await asyncio.to_thread(self.home.ask, lambda store: store.runs.all())
        except KnownError:
            # The screens tell what is wrong with the store.
            return

    async def discover(self) -> Hits:
        for run in self._runs[:5]:
            yield DiscoveryHit(f"Open {visible(run.name)}", partial(self._open, run), help=_line(run))

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        words = query.casefold().split()
        for run in self._runs:
            title = f"Open {visible(run.name)}"
            # By its line only where every word is in it: a fuzzy match finds nearly any word in a long text.
            in_line = all(word in f"{title} {_line(run)}".casefold() for word in words)
            exact = run.name.casefold() == query.strip().casefold()
            score = _EXACT if exact else max(matcher.match(title), 0.8 if in_line else 0.0)
            if score > 0:
                yield Hit(score, matcher.highlight(title), partial(self._open, run), help=_line(run))

    def _open(self, run: Run) -> None:
        self.home.open_run(run.id, run.name)


class FoundConcepts(_InStore):
    """Finds concepts: their replies in the open run, or a new study of one when none is open."""

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        found = []
        for concept in library_with(self.home.own_concepts).concepts:
            score = _EXACT if concept.word == query.strip().casefold() else matcher.match(concept.word)
            if score > 0:
                found.append((score, concept.word))
        for score, word in sorted(found, reverse=True)[:_CONCEPTS]:
            where = f"its replies in {self.home.run_name}" if self.home.run_id else "a new study of it"
            yield Hit(score, matcher.highlight(f"Concept {word}"), partial(self._show, word), help=visible(where))

    def _show(self, word: str) -> None:
        home = self.home
        if home.run_id:
            home.filter_wanted = f'concept:"{word}"' if " " in word else f"concept:{word}"
            home.open_run(home.run_id, home.run_name, "review")
        else:
            home.set_up_study({"concepts": [word]}, f"a study of {word}")


class FoundTrials(_InStore):
    """Finds trials of the open run by words of their replies."""

    async def search(self, query: str) -> Hits:
        run = self.home.run_id
        words = tuple(query.split())
        if not run or len(query.strip()) < _LEAST:
            return
        try:
            found = await asyncio.to_thread(self.home.ask, partial(_seek, run, words))
        except KnownError:
            return
        for seen in found:
            trial = seen.trial
            where = "control" if trial.condition == "control" else f"{trial.concept}, layer {trial.layer}"
            said = wording.fit(trial.response, 60).strip()
            yield Hit(
                0.5,
                f"Trial {trial.ordinal + 1}: {visible(said)}".replace("[", "\\["),
                partial(self._show, query, seen.row),
                help=visible(f"{where}, in {self.home.run_name}"),
            )

    def _show(self, query: str, row: int) -> None:
        home = self.home
        home.filter_wanted, home.row_wanted = " ".join(f'"{word}"' for word in query.replace('"', "").split()), row
        home.open_run(home.run_id, home.run_name, "review")


def _seek(run: str, words: tuple[str, ...], store: Store) -> list[Seen]:
    scan = ScannedTrials(run, TrialFilter(words=words))
    end = time.monotonic() + _SECONDS
    rows: list[int] = []
    while not scan.over and len(rows) < _TRIALS and time.monotonic() < end:
        rows += scan.step(store)
    return store.browse.seen(run, rows[:_TRIALS])


def _line(run: Run) -> str:
    return visible(f"{wording.state(run)}  {wording.model(run)}  {run.experiment}  {run.done}/{run.planned}")
