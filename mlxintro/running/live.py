"""What a run is writing at this moment, for whoever watches: a small file beside the store, one per run.

Finished trials are in the store; a reply that is still being written is not, and would be too much for it. The process
that runs puts the reply of one row into ``live/RUN.json``, ten times a second at most, and removes the file at the
end. It is replaced as a whole, so a reader never sees half of it. Nothing depends on it: a file that cannot be written
is given up with a line in the log.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from mlxintro.backends.base import OnToken
from mlxintro.protocol.hashing import field_names
from mlxintro.protocol.trials import Outcome, PromptRecord, TrialSpec
from mlxintro.running.events import RunEvent, TokenGenerated, TrialFailed, TrialFinished
from mlxintro.running.runner import Measure

EVERY_SECONDS = 0.1

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Writing:
    """Holds one reply as far as it is."""

    key: str
    condition: str
    concept: str | None
    layer: int | None
    strength: float | None
    unit: str | None
    pieces: tuple[str, ...]
    """Text of each token so far."""
    steered: tuple[tuple[int, int | None], ...]
    """Ranges of reply tokens that are injected into, from 0; an open end means all that follow."""
    rows: int
    """Replies being written together."""


def live_file(db: Path, run: str) -> Path:
    """Return where a run's process writes what it is at."""
    return db.parent / "live" / f"{run}.json"


def read_live(db: Path, run: str) -> Writing | None:
    """Return what a run is writing now; ``None`` when nothing is, or nothing can be read."""
    try:
        found = json.loads(live_file(db, run).read_text("utf-8"))
        found["pieces"] = tuple(found["pieces"])
        found["steered"] = tuple((start, stop) for start, stop in found["steered"])
        return Writing(**found)
    except (OSError, ValueError, TypeError, KeyError):
        return None


class Broadcast:
    """Follows one row of the batch at hand; when it is finished, another one."""

    def __init__(self, db: Path, run: str, prompts: Mapping[str, PromptRecord]) -> None:
        self._path = live_file(db, run)
        self._fresh = self._path.with_suffix(f".{os.getpid()}")
        self._prompts = prompts
        self._specs: dict[str, TrialSpec] = {}
        self._pieces: dict[str, list[str]] = {}
        self._followed = ""
        self._written = 0.0
        self._works = True

    def measuring(self, measure: Measure) -> Measure:
        """Return the measure, wrapped so that it takes note of the trials it is given."""

        def noted(specs: Sequence[TrialSpec], on_token: OnToken | None) -> Iterator[Outcome]:
            self._specs = {spec.key: spec for spec in specs}
            self._pieces = {}
            self._followed = ""
            return measure(specs, on_token)

        return noted

    def token(self, event: TokenGenerated) -> None:
        """Take in a token; called for every row at every step, so it does next to nothing."""
        self._pieces.setdefault(event.key, []).append(event.text)
        if not self._followed:
            self._followed = event.key
        if event.key == self._followed:
            moment = time.monotonic()
            if moment - self._written >= EVERY_SECONDS:
                self._written = moment
                self._write()

    def watching(self, events: Generator[RunEvent, None, None]) -> Generator[RunEvent, None, None]:
        """Pass events on, forget replies that are finished, and clear away at the end, however it comes."""
        try:
            with closing(events):
                for event in events:
                    if isinstance(event, TrialFinished | TrialFailed):
                        self._pieces.pop(event.key, None)
                        if event.key == self._followed:
                            self._followed = next(iter(self._pieces), "")
                    yield event
        finally:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        spec = self._specs.get(self._followed)
        if spec is None or not self._works:
            return
        prompt = self._prompts.get(spec.prompt)
        begin = len(prompt.tokens) if prompt else 0
        first = spec.injections[0] if spec.injections else None
        now = Writing(
            key=spec.key,
            condition=spec.condition,
            concept=spec.concept,
            layer=first.layer if first else None,
            strength=first.strength if first else None,
            unit=first.unit if first else None,
            pieces=tuple(self._pieces[self._followed]),
            steered=tuple(
                (max(0, one.start - begin), None if one.stop is None else one.stop - begin)
                for one in spec.injections
                if one.stop is None or one.stop > begin
            ),
            rows=len(self._pieces),
        )
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Not ``asdict``, which copies every piece: this comes ten times a second.
            self._fresh.write_text(json.dumps({name: getattr(now, name) for name in field_names(Writing)}), "utf-8")
            self._fresh.replace(self._path)
        except OSError as error:
            self._works = False
            _log.warning("replies cannot be watched while they are written: %s", error)
