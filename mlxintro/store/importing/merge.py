"""Bringing a store home: everything another file holds is added to this one. Doing it twice changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlxintro.backends.errors import KnownError, UsageError
from mlxintro.store.database import Database, now
from mlxintro.store.importing.source import TABLES, Source, SourceTable, opened
from mlxintro.store.importing.vector_files import take_vector_files
from mlxintro.store.liveness import alive, moment_of
from mlxintro.store.records import Imported
from mlxintro.store.run_names import free_name

_INSERT = "INSERT INTO {table} ({columns}) VALUES ({marks})"
_INSERT_ONCE = "INSERT OR IGNORE INTO {table} ({columns}) VALUES ({marks})"
_INSERT_TRIAL = (
    _INSERT + " ON CONFLICT (run, key) DO UPDATE SET status = excluded.status, finish = excluded.finish, "
    "tokens = excluded.tokens, created = excluded.created, error = excluded.error, response = excluded.response, "
    "doses = excluded.doses, proofs = excluded.proofs, measurements = excluded.measurements "
    "WHERE trials.status = 'error' AND excluded.status = 'done'"
)
_INSERT_SAID = (
    "INSERT INTO {table} ({columns}) SELECT {marks} WHERE NOT EXISTS (SELECT 1 FROM {table} m WHERE m.run = :run "
    "AND m.key = :key AND m.{who} = :{who} AND m.created = :created AND m.{what} = :{what})"
)
_INSERT_SET = (
    _INSERT + " ON CONFLICT (run, name) DO UPDATE SET frozen = coalesce(frozen, excluded.frozen) "
    "WHERE keys = excluded.keys"
)
_INSERT_PART = (
    _INSERT + " ON CONFLICT (study, ordinal) DO UPDATE SET run = excluded.run, error = excluded.error "
    "WHERE study_parts.run IS NULL AND key = excluded.key"
)
_SQL = {
    "prompts": _INSERT_ONCE,
    "run_prompts": _INSERT_ONCE,
    "trials": _INSERT_TRIAL,
    "grades": _INSERT_SAID,
    "labels": _INSERT_SAID,
    "label_sets": _INSERT_SET,
    "vectors": _INSERT_ONCE,
    "study_parts": _INSERT_PART,
}
_SAID = {"grades": {"who": "grader", "what": "version"}, "labels": {"who": "labeller", "what": "fields"}}
"""Columns that tell two verdicts of one moment on one trial apart."""


def import_store(database: Database, path: str | Path) -> Imported:
    """Add everything another store holds, vector files included; what is here already stays as it is.

    Every row is checked before the first is written, and all are written in one transaction. A run keeps its id; when
    its name is taken by another run it gets a number. A failed trial is replaced by the other store's result. Runs
    that come in are never taken to be running, and one that runs here is left as it is.

    Raises:
        UsageError: no such file, or this very store.
        KnownError: the other file cannot be read as a store, or a row of it is not as it should be.
    """
    source = Path(path).expanduser().absolute()
    if source.exists() and database.path.exists() and source.samefile(database.path):
        raise UsageError(f"{source} is this store itself: name the one to bring in")
    with opened(source) as other:
        other.check()
        try:
            with database.write() as db:
                added = {table.name: _add(db, other, table) for table in TABLES}
        except sqlite3.IntegrityError as error:
            raise KnownError(f"{source}: its rows contradict each other ({error}): nothing was imported") from error
    files = take_vector_files(database, source)
    return Imported(
        runs=added["runs"],
        trials=added["trials"],
        grades=added["grades"],
        labels=added["labels"],
        vectors=added["vectors"],
        vector_problems=files,
    )


def _add(db: sqlite3.Connection, other: Source, table: SourceTable) -> int:
    """Add what is new in a table; returns how many rows."""
    if table.name == "runs":
        runs = (dict(zip(table.columns, values, strict=True)) for values in other.values(table))
        return sum(_add_run(db, other, row) for row in runs)
    if table.name == "studies":
        studies = (dict(zip(table.columns, values, strict=True)) for values in other.values(table))
        return sum(_add_study(db, row) for row in studies)
    sql = _SQL[table.name].format(
        table=table.name,
        columns=", ".join(table.columns),
        marks=", ".join(f":{name}" for name in table.columns),
        **_SAID.get(table.name, {}),
    )
    count = 0
    for page in other.pages(table):
        count += max(
            0, db.executemany(sql, [dict(zip(table.columns, values, strict=True)) for values in page]).rowcount
        )
    return count


def _add_run(db: sqlite3.Connection, other: Source, row: dict[str, Any]) -> bool:
    """Add a run, or what is newer about one that is here; returns whether it is new."""
    row = _at_rest(row)
    here = db.execute("SELECT * FROM runs WHERE id = ?", (row["id"],)).fetchone()
    if here is None:
        row["name"] = free_name(db, row["name"])
        db.execute(
            f"INSERT INTO runs ({', '.join(row)}) VALUES ({', '.join(f':{name}' for name in row)})",
            row,
        )
        return True
    if any(here[name] != row[name] for name in ("experiment", "created", "study")):
        raise KnownError(
            f"{other.path}: its run {row['id']} is not the run that has this id here: delete one of the two; "
            "nothing was imported"
        )
    if not alive(here) and _is_newer(row, here):
        db.execute(
            "UPDATE runs SET state = :state, planned = :planned, host = :host, heartbeat = :heartbeat, "
            "started = :started, finished = :finished, error = :error, pid = NULL, pid_created = NULL WHERE id = :id",
            row,
        )
    return False


def _add_study(db: sqlite3.Connection, row: dict[str, Any]) -> bool:
    """Add a study under its name or, where another study has that, with a number; returns whether it is new."""
    if db.execute("SELECT 1 FROM studies WHERE id = ?", (row["id"],)).fetchone():
        return False
    row["name"] = free_name(db, row["name"], table="studies")
    db.execute(
        f"INSERT INTO studies ({', '.join(row)}) VALUES ({', '.join(f':{name}' for name in row)})",
        row,
    )
    return True


def _at_rest(row: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a run that no process works on, whatever the other store says, with no heartbeat from the future."""
    state = "interrupted" if row["state"] in ("running", "paused") else row["state"]
    beat = moment_of(row["heartbeat"])
    late = beat is not None and beat > datetime.now(UTC)
    return {**row, "state": state, "heartbeat": now() if late else row["heartbeat"]}


def _is_newer(row: Mapping[str, Any], here: sqlite3.Row) -> bool:
    """Tell whether the other store knows more of how a run ended. What is done here stays done."""
    if here["state"] == "done" and row["state"] != "done" and row["planned"] <= here["planned"]:
        return False
    then, before = moment_of(row["heartbeat"]), moment_of(here["heartbeat"])
    return then is not None and (before is None or then > before)
