"""Vectors: which recipes have been extracted, into which file, with which content."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from mlxintro.backends.errors import KnownError
from mlxintro.store.database import Database, now
from mlxintro.store.records import VectorRecord, plain_json, reading


class VectorTable:
    """Keeps records of vector files, by the hash of their recipe. The files lie in a folder beside the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, vector: VectorRecord) -> None:
        """Record a vector whose file is in place; the same recipe extracted anew replaces the record."""
        with self._database.write() as db:
            db.execute(
                "INSERT INTO vectors (hash, recipe, file, content, created) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (hash) DO UPDATE SET file = excluded.file, content = excluded.content, "
                "created = excluded.created",
                (vector.hash, plain_json(vector.recipe), vector.file, vector.content, now()),
            )

    def get(self, hash: str) -> VectorRecord | None:
        """Return the record of a vector by its recipe's hash; ``None`` when it has not been extracted."""
        row = self._database.row("SELECT hash, recipe, file, content, created FROM vectors WHERE hash = ?", hash)
        return None if row is None else _vector(row)

    def all(self) -> list[VectorRecord]:
        """Return all vectors, newest first."""
        rows = self._database.rows(
            "SELECT hash, recipe, file, content, created FROM vectors ORDER BY created DESC, hash"
        )
        return [_vector(row) for row in rows]


def _vector(row: sqlite3.Row) -> VectorRecord:
    with reading(f"vector {row['hash']}", "recipe"):
        return VectorRecord(**{**dict(row), "recipe": json.loads(row["recipe"])})


def recorded_content(db: Path) -> Callable[[str], str | None]:
    """Make a function that gives the content hash a store recorded for a vector's key, for a vector cache beside it.

    It gives ``None`` where there is no such store yet, or none that can be read.
    """

    def content(key: str) -> str | None:
        try:
            with closing(Database(db, read_only=True)) as database:
                record = VectorTable(database).get(key)
        except KnownError:
            return None
        return None if record is None else record.content

    return content
