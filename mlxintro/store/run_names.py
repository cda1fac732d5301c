"""Names and ids of runs."""

from __future__ import annotations

import secrets
import sqlite3
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_EPOCH = 1_577_836_800
"""2020-01-01: six characters of seconds last until 2054."""


def free_name(db: sqlite3.Connection, wanted: str, *, always: bool = False) -> str:
    """``wanted``, or with the first number that is free; ``always`` numbers even the first."""
    taken = {
        name for (name,) in db.execute("SELECT name FROM runs WHERE name = ? OR name GLOB ?", (wanted, _glob(wanted)))
    }
    if not always and wanted not in taken:
        return wanted
    number = 1 if always else 2
    while f"{wanted}-{number}" in taken:
        number += 1
    return f"{wanted}-{number}"


def _glob(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name) + "-*"


def new_id(db: sqlite3.Connection) -> str:
    """Ten characters that no run has; sorting them sorts runs by creation."""
    seconds = int(time.time()) - _EPOCH
    first = "".join(_ALPHABET[(seconds >> shift) & 31] for shift in range(25, -5, -5))
    while True:
        identity = first + "".join(secrets.choice(_ALPHABET) for _ in range(4))
        if not db.execute("SELECT 1 FROM runs WHERE id = ?", (identity,)).fetchone():
            return identity
