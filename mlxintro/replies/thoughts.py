"""The thought before a reply, as a finished trial holds it among its measurements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

THOUGHT = "thought"
"""Name of the measurement."""

_ENDINGS = {
    "itself": "ended by the model",
    "budget": "cut off at its budget",
    "turn": "cut off: the model ended its turn without an answer",
}


@dataclass(frozen=True, slots=True)
class StoredThought:
    """Says what was thought before a reply or a readout."""

    text: str
    tokens: int
    closed: str
    """``itself``, ``budget`` or ``turn``; see ``backends.base.Thought``."""

    @property
    def truncated(self) -> bool:
        """Tell whether the answer was asked for before the thought had come to its end."""
        return self.closed != "itself"

    @property
    def in_words(self) -> str:
        """Return how long it is and what ended it, for people."""
        return f"{self.tokens} tokens, {_ENDINGS.get(self.closed, self.closed)}"


def thought_of(measurements: Mapping[str, Any]) -> StoredThought | None:
    """Return the thought of a finished trial; ``None`` where nothing was thought."""
    found = measurements.get(THOUGHT)
    if not isinstance(found, Mapping):
        return None
    return StoredThought(str(found.get("text", "")), int(found.get("tokens", 0)), str(found.get("closed", "")))
