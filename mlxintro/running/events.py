"""What a run tells whoever watches it: the plain command line, the progress display, the TUI, a test.

Events are facts about what has already been stored. A ``TrialFinished`` is sent after its row is committed, so a
watcher that reads the store on seeing it finds the trial there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mlxintro.replies.thoughts import StoredThought

FinalState = Literal["done", "cancelled", "failed"]


@dataclass(frozen=True, slots=True)
class RunStarted:
    run: str
    name: str
    planned: int
    done: int
    """Trials that were finished before, when a run is resumed."""
    batch_size: int
    """Rows that run together."""


@dataclass(frozen=True, slots=True)
class BatchStarted:
    """A block of trials is handed to the backend, which keeps as many of its rows running as a batch holds."""

    first: int
    """Ordinal of the first trial of the block."""
    trials: int
    missing: int
    """How many of them are new; the others are measured again to keep the block as it was (see the runner)."""


@dataclass(frozen=True, slots=True)
class TokenGenerated:
    key: str
    text: str


@dataclass(frozen=True, slots=True)
class TrialFinished:
    key: str
    ordinal: int
    condition: str
    concept: str | None
    layer: int | None
    strength: float | None
    response: str
    finish: str
    tokens: int
    thought: StoredThought | None = None
    """Thought that was written before the reply."""


@dataclass(frozen=True, slots=True)
class TrialFailed:
    key: str
    ordinal: int
    error: str


@dataclass(frozen=True, slots=True)
class RunPaused:
    run: str


@dataclass(frozen=True, slots=True)
class RunResumed:
    run: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Tells something a person should read, in one line."""

    text: str


@dataclass(frozen=True, slots=True)
class RunFinished:
    run: str
    state: FinalState
    done: int
    errors: int
    seconds: float
    error: str | None = None


RunEvent = (
    RunStarted
    | BatchStarted
    | TokenGenerated
    | TrialFinished
    | TrialFailed
    | RunPaused
    | RunResumed
    | Notice
    | RunFinished
)
