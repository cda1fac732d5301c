"""Whether the tables of a store are tables as the migrations made them.

SQLite runs whatever a file's schema says: a view that never ends in a table's place, a column that is computed, a
trigger that acts on every row. None of it is mlxintro's, so a store that has it is refused before a row is read.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import cache

from mlxintro.backends.errors import KnownError

MADE_LATER = {"replies": "create virtual table replies using fts5("}
"""Tables that no migration makes, and how the statement that makes them begins."""


def check_plain(db: sqlite3.Connection, statements: Sequence[str]) -> None:
    """Check every table and trigger that bears on a store's own rows. Tables of others beside them do no harm.

    Args:
        db: opened, nothing read yet.
        statements: what the migrations that the store has been through have run.

    Raises:
        KnownError: names what is not as it was made.
    """
    expected, triggers = _columns(tuple(statements)), _triggers(tuple(statements))
    there: dict[str, str] = {}
    for kind, name, table, sql in db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall():
        if kind in ("table", "view"):
            there[str(name).lower()] = _normal(sql)
        ours = str(table).lower() in expected or str(table).lower().startswith(tuple(MADE_LATER))
        if kind == "trigger" and ours and _normal(sql) not in triggers:
            raise _refusal(f"the trigger {name} is not mlxintro's")
    for name, columns in expected.items():
        sql = there.get(name)
        if sql is None:
            raise _refusal(f"there is no table {name}")
        found = db.execute(f"PRAGMA table_xinfo({name})").fetchall()
        if not sql.startswith("create table") or any(column[6] for column in found):
            raise _refusal(f"{name} is no plain table")
        if missing := columns - {column[1] for column in found}:
            raise _refusal(f"table {name} has no column {min(missing)}")
    for name, begins in MADE_LATER.items():
        if not there.get(name, begins).startswith(begins):
            raise _refusal(f"{name} is not the table that mlxintro makes")


def _refusal(problem: str) -> KnownError:
    return KnownError(f"{problem}: restore a copy of the store, or name another with --db".replace("\n", " "))


def _normal(sql: object) -> str:
    text = " ".join(str(sql).lower().split()).replace("if not exists ", "")
    return re.sub(r'^(create (?:virtual )?table )["\'`\[]?(\w+)["\'`\]]?', r"\1\2", text)


@cache
def _triggers(statements: tuple[str, ...]) -> frozenset[str]:
    return frozenset(_normal(one) for one in statements if _normal(one).startswith("create trigger"))


@cache
def _columns(statements: tuple[str, ...]) -> Mapping[str, frozenset[str]]:
    """Columns by table, as the statements make them."""
    with closing(sqlite3.connect(":memory:")) as db:
        for statement in statements:
            db.execute(statement)
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: frozenset(column[1] for column in db.execute(f"PRAGMA table_info({name})"))
            for name in names
            if not name.startswith("sqlite_")
        }
