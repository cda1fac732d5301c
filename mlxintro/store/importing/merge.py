"""Bringing a store home: everything another file holds is added to this one. Doing it twice changes nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlxintro.paths import vectors_beside
from mlxintro.store.records import GRADE_FIELDS, Imported
from mlxintro.store.run_names import free_name

_RUN = (
    "id, experiment, state, planned, batch_size, pid, pid_created, host, heartbeat, created, started, finished, error, "
    "study, model, environment"
)
_TRIAL = (
    "run, key, ordinal, status, condition, arm, concept, layer, strength, unit, finish, tokens, created, error, "
    "response, doses, proofs, measurements, spec"
)
_GRADE = f"run, key, grader, version, {', '.join(GRADE_FIELDS)}, abstained, created, reason, evidence, raw"
_LABEL = "run, key, labeller, fields, note, created"


@contextmanager
def attached(db: sqlite3.Connection, uri: str) -> Iterator[None]:
    """Another store's file under the name ``other``."""
    db.execute("ATTACH ? AS other", (uri,))
    try:
        yield
    finally:
        db.execute("DETACH other")


def merge(db: sqlite3.Connection) -> Imported:
    """Copy rows from the attached store, inside the caller's transaction."""
    runs = 0
    for row in db.execute(f"SELECT name, {_RUN} FROM other.runs ORDER BY created, id").fetchall():
        name, *values = tuple(row)
        there = db.execute("SELECT heartbeat FROM main.runs WHERE id = ?", (row["id"],)).fetchone()
        if there is None:
            slots = ", ".join("?" * (len(values) + 1))
            db.execute(f"INSERT INTO main.runs (name, {_RUN}) VALUES ({slots})", (free_name(db, name), *values))
            runs += 1
        elif (row["heartbeat"] or "") > (there["heartbeat"] or ""):
            db.execute(
                "UPDATE main.runs SET (state, planned, pid, pid_created, host, heartbeat, started, finished, error) = "
                "(SELECT state, planned, pid, pid_created, host, heartbeat, started, finished, error "
                "FROM other.runs WHERE id = main.runs.id) WHERE id = ?",
                (row["id"],),
            )
    db.execute("INSERT OR IGNORE INTO main.prompts (key, record) SELECT key, record FROM other.prompts")
    db.execute("INSERT OR IGNORE INTO main.run_prompts (run, prompt) SELECT run, prompt FROM other.run_prompts")
    trials = _count(
        db,
        f"INSERT INTO main.trials ({_TRIAL}) SELECT {_TRIAL} FROM other.trials o WHERE NOT EXISTS ("
        "SELECT 1 FROM main.trials t WHERE t.run = o.run AND t.key = o.key "
        "AND (t.status = 'done' OR o.status = 'error')) ORDER BY o.id "
        "ON CONFLICT (run, key) DO UPDATE SET status = excluded.status, finish = excluded.finish, "
        "tokens = excluded.tokens, created = excluded.created, error = excluded.error, response = excluded.response, "
        "doses = excluded.doses, proofs = excluded.proofs, measurements = excluded.measurements",
    )
    grades = _count(db, _new_rows("grades", _GRADE, "grader"))
    labels = _count(db, _new_rows("labels", _LABEL, "labeller"))
    db.execute(
        "INSERT INTO main.label_sets (run, name, seed, keys, created, frozen) "
        "SELECT run, name, seed, keys, created, frozen FROM other.label_sets WHERE true "
        "ON CONFLICT (run, name) DO UPDATE SET frozen = coalesce(frozen, excluded.frozen) WHERE keys = excluded.keys"
    )
    vectors = _count(
        db,
        "INSERT OR IGNORE INTO main.vectors (hash, recipe, file, content, created) "
        "SELECT hash, recipe, file, content, created FROM other.vectors",
    )
    return Imported(runs, trials, grades, labels, vectors)


def copy_vectors(source: Path, target: Path) -> None:
    """Copy vector files that are missing beside ``target``; each appears complete or not at all."""
    from_folder, to_folder = vectors_beside(source), vectors_beside(target)
    if not from_folder.is_dir() or from_folder.resolve() == to_folder.resolve():
        return
    to_folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(from_folder.iterdir()):
        place = to_folder / file.name
        if file.is_file() and not place.exists():
            part = place.with_name(f".{file.name}.{os.getpid()}")
            try:
                shutil.copyfile(file, part)
                part.replace(place)
            finally:
                part.unlink(missing_ok=True)


def _new_rows(table: str, columns: str, who: str) -> str:
    return (
        f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM other.{table} o WHERE NOT EXISTS ("
        f"SELECT 1 FROM main.{table} m WHERE m.run = o.run AND m.key = o.key AND m.{who} = o.{who} "
        "AND m.created = o.created) ORDER BY o.id"
    )


def _count(db: sqlite3.Connection, sql: str) -> int:
    return max(0, db.execute(sql).rowcount)
