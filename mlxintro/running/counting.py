"""How far a process is with what it counts before its first trial, as a small file for the program that started it.

That program names the file in the environment (``FILE_VARIABLE``). What is said on stderr is for people and may be
worded in any way.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

FILE_VARIABLE = "MLXINTRO_PROGRESS"


@dataclass(frozen=True, slots=True)
class ProgressCount:
    """Says how far something is."""

    what: str
    """What is done, e.g. ``downloading``."""
    done: int
    total: int
    unit: str
    """Unit of both, with a space before it; empty where things are counted."""
    seconds_left: float | None
    """Estimated time to the end; ``None`` while it cannot be told."""


def counting_file() -> Path | None:
    """Return the file in which this process is asked to say how far it is."""
    named = os.environ.get(FILE_VARIABLE)
    return Path(named) if named else None


def write_counting(file: Path, counting: ProgressCount) -> None:
    """Replace the file as a whole, so that a reader never sees half of it; one that cannot be written is left out."""
    fresh = file.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        fresh.write_text(json.dumps(asdict(counting)), "utf-8")
        fresh.replace(file)


def read_counting(file: Path) -> ProgressCount | None:
    """Return how far a process is; ``None`` when it counts nothing now."""
    try:
        return ProgressCount(**json.loads(file.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None
