"""Names and ids of runs and of studies."""

from __future__ import annotations

import secrets
import sqlite3
import time
from typing import Literal

NamedTable = Literal["runs", "studies"]
"""Tables whose rows have a name and an id."""
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_EPOCH = 1_577_836_800
"""2020-01-01: six characters of seconds last until 2054."""


def free_name(db: sqlite3.Connection, wanted: str, *, always: bool = False, table: NamedTable = "runs") -> str:
    """Return ``wanted``, or with the first number that is free; ``always`` numbers even the first."""
    query = f"SELECT name FROM {table} WHERE name = ? OR name GLOB ?"
    taken = {name for (name,) in db.execute(query, (wanted, _glob(wanted)))}
    if not always and wanted not in taken:
        return wanted
    number = 1 if always else 2
    while f"{wanted}-{number}" in taken:
        number += 1
    return f"{wanted}-{number}"


def _glob(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name) + "-*"


def new_id(db: sqlite3.Connection, table: NamedTable = "runs") -> str:
    """Return ten characters that no other row of the table has; sorting them sorts by creation."""
    seconds = int(time.time()) - _EPOCH
    first = "".join(_ALPHABET[(seconds >> shift) & 31] for shift in range(25, -5, -5))
    while True:
        identity = first + "".join(secrets.choice(_ALPHABET) for _ in range(4))
        if not db.execute(f"SELECT 1 FROM {table} WHERE id = ?", (identity,)).fetchone():
            return identity
