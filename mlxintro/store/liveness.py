"""Whether the process that works on a run is still there. What a row says of it is not trusted."""

from __future__ import annotations

import socket
import sqlite3
from datetime import UTC, datetime
from typing import Any

STALE_SECONDS = 30.0
"""A run on another machine counts as interrupted when its heartbeat is older than this."""


def alive(row: sqlite3.Row) -> bool:
    """Tell whether a process works on this run now."""
    pid = row["pid"]
    # A planned run has a process while that prepares it.
    if row["state"] not in ("planned", "running", "paused") or not isinstance(pid, int):
        return False
    beat = moment_of(row["heartbeat"])
    # Clocks of two machines differ by seconds; a heartbeat from further in the future than that is none.
    beating = beat is not None and abs((datetime.now(UTC) - beat).total_seconds()) < STALE_SECONDS
    if row["host"] != socket.gethostname():
        return beating
    created, recorded = pid_created(pid), row["pid_created"]
    # Without a heartbeat (a machine that slept) the time of creation tells the process from a later one of the same
    # number. It is not asked while the heart beats, because it moves when the machine's clock is set.
    return created is not None and (beating or (isinstance(recorded, float) and abs(created - recorded) < 2.0))


def moment_of(text: Any) -> datetime | None:
    """Read a time as the store writes it; ``None`` where it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo is not None else None


def pid_created(pid: int) -> float | None:
    """Return when a process was created; ``None`` when there is none of that number."""
    import psutil

    try:
        process = psutil.Process(pid)
        # A killed process whose parent has not asked after it yet still has a number, but does nothing.
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except (psutil.Error, ValueError, OverflowError):
        return None
