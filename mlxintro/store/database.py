"""Opening the SQLite file, transactions, and the one place where SQLite's errors become a line for a person."""

from __future__ import annotations

import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from mlxintro.backends.errors import KnownError, UsageError
from mlxintro.protocol.spelling import comparable
from mlxintro.store.schema.migrations import applied, check_schema, migrate, outstanding

BUSY_SECONDS = 15.0
"""How long to wait for another process that is writing. Our transactions take milliseconds."""

_ADVICE = (
    ("SQLITE_FULL", "the disk is full", "free some space, then resume: everything stored so far is safe"),
    ("SQLITE_BUSY", "another program holds it locked", "close that program, or try again in a moment"),
    ("SQLITE_LOCKED", "another program holds it locked", "close that program, or try again in a moment"),
    ("SQLITE_NOTADB", "it is not a database", "name an mlxintro store with --db"),
    ("SQLITE_CORRUPT", "the file is damaged", "restore a copy, or rescue it with `sqlite3 FILE .recover`"),
    ("SQLITE_READONLY", "it cannot be written", "make the file and its folder writable, or choose another with --db"),
    ("SQLITE_CANTOPEN", "it cannot be opened", "check the path and its permissions, or choose another with --db"),
    ("SQLITE_PERM", "it cannot be opened", "check the path and its permissions, or choose another with --db"),
    ("SQLITE_AUTH", "it cannot be opened", "check the path and its permissions, or choose another with --db"),
    ("SQLITE_IOERR", "the disk reports an error", "check that it has space and is a local disk, not a network share"),
    ("SQLITE_PROTOCOL", "locking fails on this disk", "keep the store on a local disk, not a network share"),
)


_UNDECODABLE = "Could not decode to UTF-8"


def _lenient(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _comparable(value: object) -> str:
    """Serve ``comparable(response)`` in a query, where a damaged row may hold anything."""
    return comparable(value) if isinstance(value, str) else ""


def _damaged(path: Path) -> KnownError:
    return KnownError(f"{path}: the file is damaged: restore a copy, or rescue it with `sqlite3 FILE .recover`")


class OlderFormat(KnownError):
    """Says that a store is only read and would first have to be brought up to date."""


class BlankStore(OlderFormat):
    """Says that a store has no table, as a full disk leaves it."""


def now() -> str:
    """Return the time in UTC, ISO 8601 with microseconds, which sorts as text."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what a user can meet into one line that says what to do; what is a bug stays as it is.

    Raises:
        KnownError: full disk, lock, damage, permissions.
    """
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        for code, what, advice in _ADVICE:
            if name.startswith(code):
                raise KnownError(f"{path}: {what}: {advice}") from error
        if _UNDECODABLE in str(error):
            raise _damaged(path) from error
        raise
    except UnicodeDecodeError as error:
        # SQLite's own message quotes a schema that is damaged.
        raise _damaged(path) from error


class Database:
    """Holds a connection to one store. Cheap to make; use one per thread and per process."""

    def __init__(self, path: str | Path, *, read_only: bool = False, create: bool = True) -> None:
        """Open a store and bring it up to date; create it unless told not to, or ``read_only``.

        Raises:
            UsageError: ``read_only`` and there is no such file.
            KnownError: it cannot be opened, is damaged, is another program's, or comes from a newer version.
            OlderFormat: ``read_only``, and it would have to be brought up to date where it cannot be written.
        """
        self.path = Path(path).expanduser().absolute()
        self.read_only = read_only
        self._patience = 0.0
        self._told: Callable[[str], None] | None = None
        with translated(self.path):
            self.uri, self.connection = (
                _open_to_read_alone(self.path) if read_only else _open_to_write(self.path, create)
            )
        self.connection.row_factory = sqlite3.Row
        self.connection.create_function("comparable", 1, _comparable, deterministic=True)
        self._identity = _identity_of(self.path)

    def close(self) -> None:
        """Close the connection. Twice is harmless."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def be_patient(self, seconds: float, told: Callable[[str], None]) -> None:
        """Wait longer than ``BUSY_SECONDS`` for a store that another program holds locked.

        Args:
            seconds: how long in all, for every transaction.
            told: gets a line when a wait gets long, and one when it is over.
        """
        self._patience, self._told = seconds, told

    def check_in_place(self) -> None:
        """Check that the file that is open is still the one at its path; else what is written would be lost with it.

        Raises:
            KnownError: it was deleted or moved, or another file is in its place.
        """
        if _identity_of(self.path) != self._identity:
            raise KnownError(
                f"{self.path}: the store was deleted, moved or replaced while it was in use, so nothing more can be "
                "kept: put the file back and run with --resume, or start anew"
            )

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Open one transaction: all of it is stored or nothing is."""
        if self.read_only:
            raise KnownError(f"{self.path}: opened for reading only: close this view and open the store for writing")
        self.check_in_place()
        with translated(self.path):
            self._begin()
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                # A full disk makes SQLite roll back by itself.
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    def _begin(self) -> None:
        """Begin a transaction, waiting as long as was asked for (``be_patient``)."""
        end = time.monotonic() + self._patience
        waited = False
        while True:
            try:
                self.connection.execute("BEGIN IMMEDIATE")
                break
            except sqlite3.OperationalError as error:
                if not getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY") or time.monotonic() > end:
                    raise
                if not waited and self._told is not None:
                    self._told(f"{self.path}: another program holds it locked: waiting until it is free")
                waited = True
        if waited and self._told is not None:
            self._told(f"{self.path} is free again: going on")

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """Run a query and fetch every row."""
        with translated(self.path):
            try:
                return self.connection.execute(sql, values).fetchall()
            except sqlite3.OperationalError as error:
                if _UNDECODABLE not in str(error):
                    raise
            # One text that is not UTF-8 must not take the others with it.
            self.connection.text_factory = _lenient
            try:
                return self.connection.execute(sql, values).fetchall()
            finally:
                self.connection.text_factory = str

    def row(self, sql: str, *values: object) -> sqlite3.Row | None:
        """Run a query that gives one row at most, and fetch it."""
        found = self.rows(sql, *values)
        return found[0] if found else None


def is_locked(error: KnownError) -> bool:
    """Tell whether an error of the store says that another program holds it locked."""
    return getattr(error.__cause__, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def _identity_of(path: Path) -> tuple[int, int] | None:
    """Device and number of a file; ``None`` when there is none."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def _connect(uri: str) -> sqlite3.Connection:
    # isolation_level=None: transactions are the explicit ones of ``write``, none are opened behind our back.
    return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, cached_statements=256)


def needs_update(path: Path) -> bool:
    """Tell whether a store is one of an earlier version, or blank.

    Raises:
        UsageError: there is no such file.
        KnownError: it cannot be read as a store.
    """
    path = path.expanduser().absolute()
    with translated(path):
        try:
            _, db = open_to_read(path, _check_current)
        except OlderFormat:
            return True
        db.close()
    return False


def _open_to_read_alone(path: Path) -> tuple[str, sqlite3.Connection]:
    """Open a store to read it; one of an earlier version is brought up to date first, where it can be written."""
    try:
        return open_to_read(path, _check_current)
    except BlankStore:
        raise
    except OlderFormat as older:
        try:
            _, db = _open_to_write(path, create=False)
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
                raise older from None
            raise
        db.close()
    return open_to_read(path, _check_current)


def _open_to_write(path: Path, create: bool) -> tuple[str, sqlite3.Connection]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KnownError(f"{path.parent}: {error.strerror}: choose another place with --db") from error
    check_regular(path)
    uri = f"{path.as_uri()}?mode={'rwc' if create else 'rw'}"
    db = _connect(uri)
    try:
        db.execute("PRAGMA foreign_keys = ON")
        check_schema(db)
        _use_wal(db)
        # In WAL mode this survives the death of the process; a power cut can lose the last moments, never the file.
        db.execute("PRAGMA synchronous = NORMAL")
        migrate(db)
    except sqlite3.OperationalError as error:
        db.close()
        if any(what in str(error) for what in ("already exists", "duplicate column")):
            raise KnownError(
                f"{path}: its list of migrations does not fit its tables ({error}): restore a copy of the store, "
                "or name another with --db"
            ) from error
        raise
    except BaseException:
        db.close()
        raise
    return uri, db


def _use_wal(db: sqlite3.Connection) -> None:
    """Switch to write-ahead logging; the switch does not wait for locks by itself when several processes start."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if not getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def check_regular(path: Path) -> None:
    """Refuse what only looks like a file: a pipe or a device would be waited for without end.

    Raises:
        KnownError: it is there and is no regular file.
    """
    with suppress(OSError):
        if not stat.S_ISREG(path.stat().st_mode):
            raise KnownError(f"{path}: it is no regular file: name an mlxintro store with --db")


def open_to_read(path: Path, check: Callable[[sqlite3.Connection], object]) -> tuple[str, sqlite3.Connection]:
    """Open a file for reading only.

    Args:
        path: of the file.
        check: raises when the file is not what is wanted.

    Returns:
        The URI by which SQLite opened it, and the connection.

    Raises:
        UsageError: there is no such file.
        KnownError: it cannot be read, or not without what waits in its log.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"there is no store at {path}: `mlxintro run` makes one, or name another with --db") from None
    except OSError as error:
        raise KnownError(f"{path}: {error.strerror}: choose another place with --db") from error
    check_regular(path)
    try:
        return _try_to_read(f"{path.as_uri()}?mode=ro", check)
    except sqlite3.OperationalError as error:
        if not getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
            raise
        # SQLite wants to create -wal and -shm files beside a WAL database. Where it cannot (a folder without write
        # permission, a mounted archive), the file alone is read, which is right as long as no log waits beside it.
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size > 0:
            raise KnownError(
                f"{path}: changes wait in {log.name} and the folder cannot be written: copy both files elsewhere"
            ) from None
        return _try_to_read(f"{path.as_uri()}?mode=ro&immutable=1", check)


def _try_to_read(uri: str, check: Callable[[sqlite3.Connection], object]) -> tuple[str, sqlite3.Connection]:
    db = _connect(uri)
    try:
        check(db)
    except BaseException:
        db.close()
        raise
    return uri, db


def _check_current(db: sqlite3.Connection) -> None:
    check_schema(db)
    waiting = outstanding(db)
    if waiting and not applied(db):
        raise BlankStore("the store is blank, as a full disk leaves it: `mlxintro run` completes it")
    if waiting:
        raise OlderFormat(
            f"the store has an older format (without {waiting[0].name}): "
            "copy it to where it can be written and open it there once"
        )
