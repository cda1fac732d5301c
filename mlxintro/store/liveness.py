"""Whether the process that works on a run is still there."""

from __future__ import annotations

import socket
import sqlite3
from datetime import UTC, datetime

STALE_SECONDS = 30.0
"""A run on another machine counts as interrupted when its heartbeat is older than this."""


def alive(row: sqlite3.Row) -> bool:
    """Whether a process works on this run now."""
    if row["state"] not in ("running", "paused") or row["pid"] is None:
        return False
    beating = (datetime.now(UTC) - datetime.fromisoformat(row["heartbeat"])).total_seconds() < STALE_SECONDS
    if row["host"] != socket.gethostname():
        return beating
    created = pid_created(row["pid"])
    # Without a heartbeat (a machine that slept) the time of creation tells the process from a later one of the same
    # number. It is not asked while the heart beats, because it moves when the machine's clock is set.
    return created is not None and (beating or abs(created - row["pid_created"]) < 2.0)


def pid_created(pid: int) -> float | None:
    """When a process was created; ``None`` when there is none of that number."""
    import psutil

    try:
        process = psutil.Process(pid)
        # A killed process whose parent has not asked after it yet still has a number, but does nothing.
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None
