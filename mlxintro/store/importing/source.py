"""Another store, opened so that nothing in it can act: it is read table by table, and no query may run for long."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlxintro.backends.errors import KnownError
from mlxintro.store.database import open_to_read, translated
from mlxintro.store.importing import rows
from mlxintro.store.schema.migrations import applied, outstanding

PAGE = 500
SECONDS = 10.0
"""How long the next few hundred rows may take. From a table they take milliseconds."""
_STEPS = 20_000
"""Steps of SQLite's machine between two looks at the clock."""
_LONGEST = 64 * 2**20
"""Bytes of a row."""


@dataclass(frozen=True, slots=True)
class SourceTable:
    """Describes a table that is brought in."""

    name: str
    row: type[rows.ImportedRow]
    order: str = ""
    """Columns to read it by."""
    later: dict[str, str] = field(default_factory=dict)
    """Columns that older stores lack or fill otherwise, and the SQL that stands for them there."""
    since: str = "m001_initial"
    """Migration that made it."""

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(info.alias or name for name, info in self.row.model_fields.items())


_GRADES_BEFORE_STATES = {
    "naming": "NULL",
    "state": (
        "CASE WHEN substr(reason, 1, 12) = 'not graded: ' THEN 'unscored' "
        "WHEN abstained = 1 THEN 'abstained' WHEN abstained = 0 THEN 'scored' END"
    ),
    "reason": "CASE WHEN substr(reason, 1, 12) = 'not graded: ' THEN substr(reason, 13) ELSE reason END",
}
"""What a grade says of itself since ``m009_grade_states``, from what it said before."""

TABLES = (
    SourceTable("runs", rows.RunRow, "created, id"),
    SourceTable("prompts", rows.PromptRow),
    SourceTable("run_prompts", rows.RunPromptRow),
    SourceTable("trials", rows.TrialRow, "id", {"arm": "''"}),
    SourceTable("grades", rows.GradeRow, "id", _GRADES_BEFORE_STATES),
    SourceTable("labels", rows.LabelRow, "id"),
    SourceTable("label_sets", rows.LabelSetRow, since="m005_label_sets"),
    SourceTable("vectors", rows.VectorRow),
    SourceTable("studies", rows.StudyRow, "created, id", since="m010_studies"),
    SourceTable("study_parts", rows.StudyPartRow, "study, ordinal", since="m010_studies"),
)
"""In the order in which they refer to each other."""

_REFERENCES = (
    ("run_prompts", "run", "NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = t.run)"),
    ("run_prompts", "prompt", "NOT EXISTS (SELECT 1 FROM prompts p WHERE p.key = t.prompt)"),
    ("trials", "run", "NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = t.run)"),
    ("grades", "key", "NOT EXISTS (SELECT 1 FROM trials r WHERE r.run = t.run AND r.key = t.key)"),
    ("labels", "key", "NOT EXISTS (SELECT 1 FROM trials r WHERE r.run = t.run AND r.key = t.key)"),
    ("label_sets", "run", "NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = t.run)"),
    ("study_parts", "study", "NOT EXISTS (SELECT 1 FROM studies s WHERE s.id = t.study)"),
    ("study_parts", "run", "t.run IS NOT NULL AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = t.run)"),
)


class _NotText:
    """Marks text that is not UTF-8."""


def _text(data: bytes) -> str | _NotText:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return _NotText()


class Source:
    """Reads a snapshot of another store's rows."""

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self.path = path
        self._db = db
        self._deadline = 0.0
        db.text_factory = _text
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
        db.set_progress_handler(lambda: time.monotonic() > self._deadline, _STEPS)
        self._columns: dict[str, set[str]] = {}
        with self._reading("the schema"):
            # Until the end of this transaction other processes' writes are not seen.
            db.execute("BEGIN")
            self._migrations = set(applied(db))
            if self._migrations:
                self._columns = {table.name: self._columns_of(table.name) for table in TABLES}

    def check(self) -> None:
        """Check every row of every table.

        Raises:
            KnownError: names the table, the row and the column of the first that is wrong.
        """
        for table in self._present():
            missing = set(table.columns) - self._columns[table.name] - table.later.keys()
            if missing:
                raise KnownError(f"{self.path}: table {table.name} has no column {min(missing)}: nothing was imported")
            for number, values in enumerate(self.values(table), 1):
                if problem := rows.problem_of(table.row, dict(zip(table.columns, values, strict=True))):
                    raise self._refused(table.name, number, *problem)
        present = {table.name for table in self._present()}
        for name, column, lost in _REFERENCES:
            if name in present and (at := self._first_lost(name, lost)) is not None:
                raise self._refused(name, at, column, "names something that this store does not hold")

    def values(self, table: SourceTable) -> Iterator[tuple[Any, ...]]:
        """Return the rows of a table, in the order of ``table.columns``."""
        for page in self.pages(table):
            yield from page

    def pages(self, table: SourceTable) -> Iterator[Sequence[tuple[Any, ...]]]:
        """Return the rows of a table, some hundred at a time; none where an older store has no such table."""
        if table not in self._present():
            return
        older = table.later if table.later.keys() - self._columns[table.name] else {}
        columns = ", ".join(older.get(name, name) for name in table.columns)
        order = f" ORDER BY {table.order}" if table.order else ""
        with self._reading(f"table {table.name}"):
            cursor = self._db.execute(f"SELECT {columns} FROM {table.name}{order}")
        while True:
            with self._reading(f"table {table.name}"):
                page = cursor.fetchmany(PAGE)
            if not page:
                return
            yield page

    def _present(self) -> list[SourceTable]:
        found = []
        for table in TABLES:
            if self._columns.get(table.name):
                found.append(table)
            elif table.since in self._migrations:
                raise KnownError(f"{self.path}: it has no table {table.name}: nothing was imported")
        return found

    def _columns_of(self, table: str) -> set[str]:
        """Columns of a plain table; none where there is no table of that name.

        Raises:
            KnownError: something else has that name, or a column is computed.
        """
        found = self._db.execute("SELECT type, sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        if found is None:
            return set()
        kind, sql = found
        columns = self._db.execute(f"PRAGMA table_xinfo({table})").fetchall()
        if kind != "table" or "virtual" in str(sql)[:20].lower() or any(column[6] for column in columns):
            raise KnownError(f"{self.path}: {table} is no plain table: nothing was imported")
        return {column[1] for column in columns}

    def _first_lost(self, table: str, lost: str) -> int | None:
        with self._reading(f"table {table}"):
            if self._db.execute(f"SELECT 1 FROM {table} t WHERE {lost} LIMIT 1").fetchone() is None:
                return None
            query = f"SELECT number FROM (SELECT row_number() OVER () AS number, * FROM {table}) t WHERE {lost} LIMIT 1"
            # An index that is damaged can say one thing to the first question and another to the second.
            row = self._db.execute(query).fetchone()
            return int(row[0]) if row else 0

    def _refused(self, table: str, row: int, column: str, problem: str) -> KnownError:
        return KnownError(f"{self.path}: table {table}, row {row}, column {column}: {problem}: nothing was imported")

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        self._deadline = time.monotonic() + SECONDS
        try:
            with translated(self.path):
                yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            if name == "SQLITE_INTERRUPT":
                problem = f"reading it does not end (not within {SECONDS:.0f} s)"
            elif name == "SQLITE_TOOBIG":
                problem = f"a row is longer than {_LONGEST // 2**20} MiB"
            else:
                problem = " ".join(str(error).split())
            raise KnownError(f"{self.path}: {what}: {problem}: nothing was imported") from error


@contextmanager
def opened(path: Path) -> Iterator[Source]:
    """Open another store for reading, of this version's format or an older one.

    Raises:
        UsageError: there is no such file.
        KnownError: it is no store, is damaged, or was written by a newer version.
    """
    try:
        with translated(path):
            _, db = open_to_read(path, outstanding)
    except sqlite3.Error as error:
        raise KnownError(f"{path}: it is no store that can be read: {' '.join(str(error).split())}") from error
    try:
        yield Source(path, db)
    finally:
        db.close()
