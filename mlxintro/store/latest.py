"""SQL and error handling that grades and labels share: both are only added to, and each person's latest counts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mlxintro.backends.errors import UsageError
from mlxintro.store.records import plain_json

LATEST = """
    SELECT {columns} FROM {table} g WHERE run = ?{more} AND NOT EXISTS (
        SELECT 1 FROM {table} h WHERE h.run = g.run AND h.key = g.key AND h.{who} = g.{who}
        AND (h.created, h.id) > (g.created, g.id))
    ORDER BY key, {who}
"""


@contextmanager
def known_trials() -> Iterator[None]:
    """Turn a reference to a missing trial into a line for the user.

    Raises:
        UsageError: a verdict names a trial that is not in its run.
    """
    try:
        yield
    except sqlite3.IntegrityError as error:
        if getattr(error, "sqlite_errorname", "") != "SQLITE_CONSTRAINT_FOREIGNKEY":
            raise
        raise UsageError("a verdict names a trial that is not in this run: nothing was stored") from error


def restrict(keys: Sequence[str] | None = None, **wanted: str | None) -> tuple[str, list[object]]:
    """SQL that begins with `` AND``, and the values of its marks.

    Args:
        keys: of the trials; all when ``None``.
        wanted: column and value; any value when ``None``.
    """
    given = {name: value for name, value in wanted.items() if value is not None}
    sql = "".join(f" AND {name} = ?" for name in given)
    values: list[object] = list(given.values())
    if keys is not None:
        sql += " AND key IN (SELECT value FROM json_each(?))"
        values.append(plain_json(list(keys)))
    return sql, values
