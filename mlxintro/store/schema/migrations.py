"""The schema, as named migrations. A released migration is never edited; a change is a new one at the end.

Each migration and the row that records it are one transaction, so a store is never between two schemas, whatever
kills the process.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from mlxintro.backends.errors import KnownError
from mlxintro.store.schema.grade_states import GRADE_STATES
from mlxintro.store.schema.plain import check_plain
from mlxintro.store.schema.standing import STANDING
from mlxintro.store.schema.studies import STUDIES

APPLICATION_ID = 0x6D6C7869
"""``mlxi``, in the header of the file: tells a store from any other SQLite file."""


@dataclass(frozen=True, slots=True)
class Migration:
    name: str
    statements: tuple[str, ...]


# Counting a million trials for every listing would be slow and counting in the program can be forgotten, so triggers
# count where rows change. Trials are only ever deleted together with their run, hence no trigger for that.
_INITIAL = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    """
    CREATE TABLE runs (
        id TEXT PRIMARY KEY,
        done INTEGER NOT NULL DEFAULT 0,
        errors INTEGER NOT NULL DEFAULT 0,
        name TEXT NOT NULL UNIQUE,
        experiment TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'planned'
            CHECK (state IN ('planned', 'running', 'paused', 'interrupted', 'done', 'cancelled', 'failed')),
        control TEXT NOT NULL DEFAULT 'run' CHECK (control IN ('run', 'pause', 'cancel')),
        planned INTEGER NOT NULL,
        batch_size INTEGER,
        pid INTEGER,
        pid_created REAL,
        host TEXT,
        heartbeat TEXT,
        created TEXT NOT NULL,
        started TEXT,
        finished TEXT,
        error TEXT,
        study TEXT NOT NULL,
        model TEXT NOT NULL,
        environment TEXT NOT NULL
    )
    """,
    "CREATE TABLE prompts (key TEXT PRIMARY KEY, record TEXT NOT NULL)",
    """
    CREATE TABLE run_prompts (
        run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        prompt TEXT NOT NULL REFERENCES prompts (key),
        PRIMARY KEY (run, prompt)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX run_prompts_by_prompt ON run_prompts (prompt)",
    """
    CREATE TABLE trials (
        id INTEGER PRIMARY KEY,
        run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        key TEXT NOT NULL,
        ordinal INTEGER NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('done', 'error')),
        condition TEXT NOT NULL,
        concept TEXT,
        layer INTEGER,
        strength REAL,
        unit TEXT,
        finish TEXT NOT NULL,
        tokens INTEGER NOT NULL,
        created TEXT NOT NULL,
        error TEXT,
        response TEXT NOT NULL,
        doses TEXT NOT NULL,
        proofs TEXT NOT NULL,
        measurements TEXT NOT NULL,
        spec TEXT NOT NULL,
        UNIQUE (run, key)
    )
    """,
    # Holds every column a listing filters by, so that filtering reads the index and fetches only the rows it shows.
    "CREATE INDEX trials_in_order ON trials (run, ordinal, key, status, condition, concept, layer, strength)",
    """
    CREATE TRIGGER trials_count_insert AFTER INSERT ON trials BEGIN
        UPDATE runs SET done = done + (NEW.status = 'done'), errors = errors + (NEW.status = 'error')
        WHERE id = NEW.run;
    END
    """,
    """
    CREATE TRIGGER trials_count_update AFTER UPDATE OF status ON trials WHEN OLD.status <> NEW.status BEGIN
        UPDATE runs SET
            done = done + (NEW.status = 'done') - (OLD.status = 'done'),
            errors = errors + (NEW.status = 'error') - (OLD.status = 'error')
        WHERE id = NEW.run;
    END
    """,
    """
    CREATE TABLE grades (
        id INTEGER PRIMARY KEY,
        run TEXT NOT NULL,
        key TEXT NOT NULL,
        grader TEXT NOT NULL,
        version TEXT NOT NULL,
        affirms INTEGER,
        identifies INTEGER,
        named_before_affirming INTEGER,
        coherent INTEGER,
        refuses INTEGER,
        abstained INTEGER NOT NULL,
        created TEXT NOT NULL,
        reason TEXT NOT NULL,
        evidence TEXT,
        raw TEXT,
        FOREIGN KEY (run, key) REFERENCES trials (run, key) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX grades_by_trial ON grades (run, key, grader, created)",
    """
    CREATE TABLE labels (
        id INTEGER PRIMARY KEY,
        run TEXT NOT NULL,
        key TEXT NOT NULL,
        labeller TEXT NOT NULL,
        fields TEXT NOT NULL,
        note TEXT NOT NULL,
        created TEXT NOT NULL,
        FOREIGN KEY (run, key) REFERENCES trials (run, key) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX labels_by_trial ON labels (run, key, labeller, created)",
    """
    CREATE TABLE vectors (
        hash TEXT PRIMARY KEY,
        recipe TEXT NOT NULL,
        file TEXT NOT NULL,
        content TEXT NOT NULL,
        created TEXT NOT NULL
    )
    """,
)

_ARMS = ("ALTER TABLE trials ADD COLUMN arm TEXT NOT NULL DEFAULT ''",)

# One live asking per question at most: the index, not the program, sees to it that nothing is paid for twice.
_GRADING_CALLS = (
    """
    CREATE TABLE grading_batches (
        id INTEGER PRIMARY KEY,
        run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        grader TEXT NOT NULL,
        version TEXT NOT NULL,
        token TEXT NOT NULL UNIQUE,
        remote TEXT,
        state TEXT NOT NULL CHECK (state IN ('intent', 'open', 'done', 'lost')),
        size INTEGER NOT NULL,
        created TEXT NOT NULL,
        finished TEXT
    )
    """,
    """
    CREATE TABLE grading_calls (
        id INTEGER PRIMARY KEY,
        run TEXT NOT NULL,
        key TEXT NOT NULL,
        grader TEXT NOT NULL,
        version TEXT NOT NULL,
        question TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('sent', 'answered', 'failed', 'void')),
        batch INTEGER REFERENCES grading_batches (id) ON DELETE CASCADE,
        reserved REAL NOT NULL,
        cost REAL,
        input_tokens INTEGER,
        output_tokens INTEGER,
        answer TEXT,
        reason TEXT NOT NULL DEFAULT '',
        created TEXT NOT NULL,
        finished TEXT,
        FOREIGN KEY (run, key) REFERENCES trials (run, key) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX grading_calls_by_trial ON grading_calls (run, grader, version, key, question)",
    "CREATE INDEX grading_calls_by_batch ON grading_calls (batch, state)",
    """
    CREATE UNIQUE INDEX grading_calls_once ON grading_calls (run, key, grader, version, question)
    WHERE state IN ('sent', 'answered')
    """,
)

# Rates by cell are counted from this index alone, without reading the replies.
_CELLS = ("CREATE INDEX trials_by_cell ON trials (run, arm, status, condition, layer, strength, key)",)

# Which trials a label set holds, in the order they are shown. A frozen set takes no more labels.
_LABEL_SETS = (
    """
    CREATE TABLE label_sets (
        run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        seed INTEGER NOT NULL,
        keys TEXT NOT NULL,
        created TEXT NOT NULL,
        frozen TEXT,
        PRIMARY KEY (run, name)
    )
    """,
)

# Filters read arms and verdicts from the indices, too: with replies of a kilobyte, fetching the rows takes fifty times
# as long.
_REVIEW = (
    "DROP INDEX trials_in_order",
    "CREATE INDEX trials_in_order ON trials (run, ordinal, key, status, condition, arm, concept, layer, strength)",
    "DROP INDEX grades_by_trial",
    """
    CREATE INDEX grades_by_trial ON grades (run, key, grader, created, affirms, identifies, named_before_affirming,
                                            coherent, refuses, abstained)
    """,
)

# What the index of replies does not hold yet (see ``searching.text_index``). The index itself is no part of the
# schema: not every SQLite has what it takes, and a store must be writable with all of them.
_REPLIES = (
    "CREATE TABLE unindexed (trial INTEGER PRIMARY KEY REFERENCES trials (id) ON DELETE CASCADE)",
    "INSERT INTO unindexed (trial) SELECT id FROM trials ORDER BY id",
    """
    CREATE TRIGGER trials_unindexed_insert AFTER INSERT ON trials WHEN NEW.response <> '' BEGIN
        INSERT OR IGNORE INTO unindexed (trial) VALUES (NEW.id);
    END
    """,
    """
    CREATE TRIGGER trials_unindexed_update AFTER UPDATE OF response ON trials WHEN OLD.response <> NEW.response BEGIN
        INSERT OR IGNORE INTO unindexed (trial) VALUES (NEW.id);
    END
    """,
)

MIGRATIONS: tuple[Migration, ...] = (
    Migration("m001_initial", _INITIAL),
    Migration("m002_arms", _ARMS),
    Migration("m003_grading_calls", _GRADING_CALLS),
    Migration("m004_cells", _CELLS),
    Migration("m005_label_sets", _LABEL_SETS),
    Migration("m006_review", _REVIEW),
    Migration("m007_standing", STANDING),
    Migration("m008_replies", _REPLIES),
    Migration("m009_grade_states", GRADE_STATES),
    Migration("m010_studies", STUDIES),
)


def applied(db: sqlite3.Connection) -> list[str]:
    """Return the names of the migrations a store has been through, in order; empty for a blank file.

    Raises:
        KnownError: the file belongs to another program.
    """
    # Only plain tables: what a view or another program serves under this name may never end.
    tables = {
        name
        for name, sql in db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
        if not str(sql).lower().startswith("create virtual")
    }
    if not tables:
        return []
    # Read after the tables: a process that migrates at this moment writes both at once.
    (application,) = db.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID or "migrations" not in tables:
        raise KnownError("this SQLite file belongs to another program: name an mlxintro store with --db")
    return [name for (name,) in db.execute("SELECT name FROM migrations ORDER BY number")]


def check_schema(db: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Check that the tables of a store are those that its migrations made, before anything is read from them.

    Raises:
        KnownError: something else is in a table's place, a trigger is not ours, or the store is not for this program.
    """
    waiting = outstanding(db, migrations)
    done = [statement for one in migrations if one not in waiting for statement in one.statements]
    if done:
        check_plain(db, done)


def outstanding(db: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> list[Migration]:
    """Return what still has to be applied.

    Raises:
        KnownError: the store was written by a newer version, or belongs to another program.
    """
    there = applied(db)
    known = {migration.name for migration in migrations}
    unknown = [name for name in there if name not in known]
    if unknown:
        raise KnownError(
            f"the store was written by a newer mlxintro (it has {unknown[-1]}): "
            "update this installation, or name another store with --db"
        )
    return [migration for migration in migrations if migration.name not in there]


def migrate(db: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring a store up to date. Several processes may do this at once: each migration happens once.

    Args:
        db: in autocommit mode.
        migrations: in order.

    Raises:
        KnownError: the store was written by a newer version, or belongs to another program.
    """
    if not outstanding(db, migrations):
        return
    # All in one transaction: a disk that fills up leaves the store as it was, not half way.
    db.execute("BEGIN IMMEDIATE")
    try:
        # Asked again under the lock: another process may have come first.
        for migration in outstanding(db, migrations):
            db.execute(
                "CREATE TABLE IF NOT EXISTS migrations "
                "(number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, applied TEXT NOT NULL)"
            )
            for statement in migration.statements:
                db.execute(statement)
            db.execute(
                "INSERT INTO migrations (name, applied) VALUES (?, ?)",
                (migration.name, datetime.now(UTC).isoformat(timespec="seconds")),
            )
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
