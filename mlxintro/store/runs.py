"""Runs: what was asked for, how far it is, and who is working on it."""

from __future__ import annotations

import difflib
import os
import socket
import sqlite3
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from mlxintro.backends.errors import KnownError, UsageError
from mlxintro.protocol.plain_data import parse_json
from mlxintro.protocol.spelling import composed
from mlxintro.store.database import Database, now
from mlxintro.store.liveness import alive, pid_created
from mlxintro.store.records import Control, Run, RunState, StoredState, plain_json
from mlxintro.store.run_names import free_name, new_id

_COLUMNS = (
    "id, name, experiment, state, control, planned, done, errors, batch_size, pid, pid_created, host, heartbeat, "
    "created, started, finished, error, study, model, environment"
)


class RunTable:
    """Runs in the store: what each was asked to do, how far it is, and which process works on it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        experiment: str,
        *,
        planned: int,
        name: str | None = None,
        study: Mapping[str, Any] | Any = (),
        model: Any = (),
        environment: Mapping[str, Any] | None = None,
        part: tuple[str, int] | None = None,
    ) -> Run:
        """Record a run that is about to start.

        Args:
            experiment: registered name.
            planned: number of trials.
            name: what people will call it; ``EXPERIMENT-N`` when ``None``.
            study: the resolved study, as plain data or a dataclass.
            model: the ``ModelInfo``, likewise.
            environment: see ``mlxintro.running.environment``.
            part: id of the study that it belongs to, and the place of its part in it.

        Raises:
            UsageError: the name is taken.
        """
        if name is not None and not name.strip():
            raise UsageError("a run's name cannot be empty: leave --name out to get one")
        name = None if name is None else composed(name)
        values = (planned, now(), plain_json(study or {}), plain_json(model or {}), plain_json(environment or {}))
        with self._database.write() as db:
            if name is None:
                name = free_name(db, experiment, always=True)
            elif db.execute("SELECT 1 FROM runs WHERE name = ?", (name,)).fetchone():
                raise UsageError(f"there is already a run called {name!r}: resume it with --resume, or choose another")
            identity = new_id(db)
            db.execute(
                "INSERT INTO runs (id, name, experiment, planned, created, study, model, environment) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (identity, name, experiment, *values),
            )
            if part is not None:
                # With the run, or not at all: a kill in between must not leave a run that its study does not know.
                db.execute(
                    "UPDATE study_parts SET run = ?, error = NULL WHERE study = ? AND ordinal = ?", (identity, *part)
                )
        return self.get(identity)

    def get(self, run: str) -> Run:
        """Return a run by its full id.

        Raises:
            UsageError: there is none.
        """
        row = self._database.row(f"SELECT {_COLUMNS} FROM runs WHERE id = ?", run)
        if row is None:
            raise UsageError(f"there is no run {run}: `mlxintro runs list` shows what there is")
        return _record(row)

    def all(self) -> list[Run]:
        """Return all runs, newest first."""
        return [
            _record(row) for row in self._database.rows(f"SELECT {_COLUMNS} FROM runs ORDER BY created DESC, id DESC")
        ]

    def states(self) -> list[tuple[str, str, RunState]]:
        """Return the id, name and state of all runs."""
        rows = self._database.rows("SELECT id, name, state, pid, pid_created, host, heartbeat FROM runs")
        return [(row["id"], row["name"], _state(row)) for row in rows]

    def find(self, text: str, *, damaged: bool = False) -> Run:
        """Return a run by its name, its id, or the start of one.

        Args:
            text: what the user typed.
            damaged: also find a run whose row cannot be read, which can only be deleted.

        Raises:
            UsageError: none or several match; the message lists them.
            KnownError: its row is damaged.
        """
        found = self._find(text)
        if found.damage and not damaged:
            raise KnownError(
                f"{found.name}: {found.damage}: import it anew, or delete it with `mlxintro runs rm {found.id}`"
            )
        return found

    def _find(self, text: str) -> Run:
        names = {
            str(row["id"]): str(row["name"])
            for row in self._database.rows("SELECT id, name FROM runs ORDER BY created DESC")
        }
        text = composed(text)
        exact = [i for i, name in names.items() if text in (i, composed(name))]
        found = exact or [
            i for i, name in names.items() if text and (i.startswith(text) or composed(name).startswith(text))
        ]
        if len(found) == 1:
            return self.get(found[0])
        if found:
            listed = ", ".join(f"{names[i]} ({i})" for i in found[:5]) + (", ..." if len(found) > 5 else "")
            raise UsageError(f"{text!r} could be {len(found)} runs: {listed}: give more of it")
        if not names:
            raise UsageError(f"no run called {text!r}: the store is empty, `mlxintro run` starts one")
        close = difflib.get_close_matches(text, [*names.values(), *names], n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else "`mlxintro runs list` shows what there is"
        raise UsageError(f"no run called {text!r}: {hint}")

    def prepare(self, run: str) -> None:
        """Say that this process gets a run ready, e.g. extracts its vectors: it can be paused and cancelled meanwhile.

        Raises:
            UsageError: there is no such run.
            KnownError: another process, or another part of this one, is working on it.
        """
        with self._database.write() as db:
            self._check_free(db, run)
            me = (os.getpid(), pid_created(os.getpid()), socket.gethostname(), now())
            db.execute(
                "UPDATE runs SET state = 'planned', control = 'run', pid = ?, pid_created = ?, host = ?, heartbeat = ?,"
                " finished = NULL, error = NULL WHERE id = ?",
                (*me, run),
            )

    def _check_free(self, db: sqlite3.Connection, run: str) -> bool:
        """Refuse a run that somebody works on; returns whether this process has prepared it."""
        row = db.execute(f"SELECT {_COLUMNS} FROM runs WHERE id = ?", (run,)).fetchone()
        if row is None:
            raise UsageError(f"there is no run {run}: `mlxintro runs list` shows what there is")
        me = ("planned", os.getpid(), socket.gethostname())
        mine = (row["state"], row["pid"], row["host"]) == me
        if alive(row) and not mine:
            raise KnownError(
                f"{row['name']} is being run by process {row['pid']} on {row['host']}: "
                "wait for it, or cancel it in the TUI first"
            )
        return mine

    def claim(self, run: str, *, batch_size: int) -> Run:
        """Take a run for this process, so that no second one works on it; what was asked of another one is forgotten.

        Args:
            run: id.
            batch_size: recorded when the run starts for the first time; later the recorded one stays.

        Raises:
            KnownError: another process, or another part of this one, is working on it.
        """
        with self._database.write() as db:
            # What was asked of this process while it prepared the run still holds.
            control = "control" if self._check_free(db, run) else "'run'"
            moment = now()
            db.execute(
                f"UPDATE runs SET state = 'running', control = {control}, pid = ?, pid_created = ?, host = ?,"
                " heartbeat = ?, started = coalesce(started, ?), finished = NULL, error = NULL,"
                " batch_size = coalesce(batch_size, ?) WHERE id = ?",
                (os.getpid(), pid_created(os.getpid()), socket.gethostname(), moment, moment, batch_size, run),
            )
        return self.get(run)

    def set_state(self, run: str, state: StoredState, error: str | None = None) -> None:
        """Record how a run stands. A state other than running or paused lets go of the claim."""
        working = state in ("running", "paused")
        with self._database.write() as db:
            db.execute("UPDATE runs SET state = ?, error = ?, heartbeat = ? WHERE id = ?", (state, error, now(), run))
            if not working:
                finished = now() if state in ("done", "cancelled", "failed") else None
                db.execute(
                    "UPDATE runs SET pid = NULL, pid_created = NULL, control = 'run', finished = ? WHERE id = ?",
                    (finished, run),
                )

    def was_killed(self, run: str) -> bool:
        """Tell whether the process that worked on a run ended without a word.

        Killed, out of memory, or without power.
        """
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM runs WHERE id = ?", run)
        return any(row["state"] == "running" and not alive(row) for row in rows)

    def set_planned(self, run: str, planned: int) -> None:
        with self._database.write() as db:
            db.execute("UPDATE runs SET planned = ? WHERE id = ?", (planned, run))

    def set_batch_size(self, run: str, batch_size: int) -> None:
        """Keep what was found to fit after memory ran out, for a later session to start with."""
        with self._database.write() as db:
            db.execute("UPDATE runs SET batch_size = ? WHERE id = ?", (batch_size, run))

    def control(self, run: str) -> Control:
        """Return what is asked of the process that runs it. A run that was deleted is one to cancel."""
        row = self._database.row("SELECT control FROM runs WHERE id = ?", run)
        return "cancel" if row is None else row["control"]

    def set_control(self, run: str, control: Control) -> Run:
        """Ask a running process to pause, go on, or stop for good. Cancelling a run nobody works on marks it cancelled.

        Raises:
            UsageError: nobody is working on it, so there is nothing to pause or to let go on.
        """
        before = self.get(run)
        if before.state in ("running", "paused") or before.preparing:
            with self._database.write() as db:
                db.execute("UPDATE runs SET control = ? WHERE id = ?", (control, run))
        elif control == "cancel" and before.state in ("planned", "interrupted"):
            self.set_state(run, "cancelled")
        elif control == "run":
            raise UsageError(f"{before.name} is {before.state}: go on with `mlxintro run --resume {before.name}`")
        else:
            raise UsageError(f"{before.name} is {before.state}: there is nothing to {control}")
        return self.get(run)

    def beat(self, run: str) -> None:
        """Say that the process is still there."""
        with self._database.write() as db:
            db.execute("UPDATE runs SET heartbeat = ? WHERE id = ?", (now(), run))

    def rename(self, run: str, name: str) -> None:
        """Give a run another name.

        Raises:
            UsageError: the name is taken.
        """
        name = composed(name)
        with self._database.write() as db:
            if db.execute("SELECT 1 FROM runs WHERE name = ? AND id <> ?", (name, run)).fetchone():
                raise UsageError(f"there is already a run called {name!r}: choose another name")
            db.execute("UPDATE runs SET name = ? WHERE id = ?", (name, run))

    def note(self, run: str, text: str) -> None:
        """Keep a line that a person has noted of a run, in place of the last one; empty text takes it away."""
        with self._database.write() as db:
            sql = "json_set(environment, '$.note', ?)" if text else "json_remove(environment, '$.note')"
            db.execute(f"UPDATE runs SET environment = {sql} WHERE id = ?", (text, run) if text else (run,))

    def set_fact(self, run: str, name: str, value: int) -> None:
        """Keep a number with the circumstances of a run (``Run.environment``)."""
        with self._database.write() as db:
            sql = "UPDATE runs SET environment = json_set(environment, ?, ?) WHERE id = ?"
            db.execute(sql, (f"$.{name}", value, run))

    def delete(self, run: str) -> None:
        """Delete a run with its trials, grades and labels, and the prompts no other run uses.

        Raises:
            KnownError: it is being run.
        """
        found = self.get(run)
        if found.state in ("running", "paused") or found.preparing:
            raise KnownError(f"{found.name} is being run by process {found.pid}: cancel it first")
        with self._database.write() as db:
            prompts = db.execute("SELECT prompt FROM run_prompts WHERE run = ?", (run,)).fetchall()
            db.execute("DELETE FROM runs WHERE id = ?", (run,))
            db.executemany(
                "DELETE FROM prompts WHERE key = ? AND NOT EXISTS (SELECT 1 FROM run_prompts WHERE prompt = key)",
                [(row["prompt"],) for row in prompts],
            )


def _state(row: sqlite3.Row) -> RunState:
    state: RunState = row["state"]
    worked_on = state in ("running", "paused") or (state == "planned" and row["pid"] is not None)
    return "interrupted" if worked_on and not alive(row) else state


def _record(row: sqlite3.Row) -> Run:
    """Read a row, whatever is in it: one damaged row must not take the list of all runs with it."""
    values: dict[str, Any] = dict(row)
    damage = None
    for name, (kind, instead) in _KINDS.items():
        if not isinstance(values[name], kind):
            damage = f"the column {name} of its row is damaged"
            values[name] = instead
    for name in ("study", "model", "environment"):
        try:
            values[name] = dict(_parsed(values[name]))
        except (ValueError, TypeError) as error:
            damage = f"the column {name} of its row is damaged ({error})"
            values[name] = {}
    values["state"] = _state(row)
    del values["pid_created"]
    return Run(**values, damage=damage)


_KINDS: dict[str, tuple[Any, Any]] = {
    **dict.fromkeys(("id", "name", "experiment", "created"), (str, "?")),
    **dict.fromkeys(("planned", "done", "errors"), (int, 0)),
    **dict.fromkeys(("batch_size", "pid"), (int | None, None)),
    **dict.fromkeys(("host", "heartbeat", "started", "finished", "error"), (str | None, None)),
}
"""Columns: their type, and what is shown where something else is in them."""


@lru_cache(maxsize=2_000)
def _parsed(text: str) -> dict[str, Any]:
    """What does not change while a run goes on is read once: lists of runs are asked for every second."""
    found = parse_json(text)
    if not isinstance(found, dict):
        raise TypeError("it is no JSON object")
    return found
