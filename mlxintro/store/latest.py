"""SQL and error handling that grades and labels share: both are only added to, and each person's latest counts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from mlxintro.backends.errors import UsageError
from mlxintro.store.liveness import moment_of
from mlxintro.store.records import plain_json

_LAST = datetime.max.replace(year=9998, tzinfo=UTC)
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
    """Return the SQL that begins with `` AND``, and the values of its marks.

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


def moments(db: sqlite3.Connection, table: str, who: str, run: str, said: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Return the times for verdicts that are about to be added.

    Now, or just after the latest one of the same person and trial.

    The latest verdict is the one with the latest time. A clock that was set back must not let an older one win, and two
    in one call must not share a moment.

    Args:
        db: inside the transaction that adds them.
        table: ``grades`` or ``labels``.
        who: its column of the person or grader.
        run: id.
        said: key of the trial and name of the person, in the order of adding.
    """
    moment = datetime.now(UTC)
    keys = plain_json(sorted({key for key, _ in said}))
    rows = db.execute(
        f"SELECT key, {who}, max(created) FROM {table} WHERE run = ? AND key IN (SELECT value FROM json_each(?)) "
        f"GROUP BY key, {who}",
        (run, keys),
    )
    latest = {(key, name): moment_of(created) for key, name, created in rows}
    for one in said:
        before = latest.get(one)
        latest[one] = at = (
            moment if before is None or before < moment else min(before, _LAST) + timedelta(microseconds=1)
        )
        yield at.astimezone(UTC).isoformat(timespec="microseconds")
