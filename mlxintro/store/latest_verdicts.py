"""Schema of what stands now: the latest verdicts by class, and how many trials of a cell have which.

Filters and rates of a run with a million trials cannot go through all of them while a key waits. So triggers keep two
tables up to date where rows change, which a program could forget:

- ``standing``: one row per trial and grader with the class of the latest verdict, in the order of the plan. Rows
  without a grader mark trials that graders disagree on (``disputed``) and that a person has labelled (``labelled``).
- ``tallies``: trials by arm, condition, concept, layer, strength, and class, with the stretch of the plan they lie in
  (which only ever grows). Rows without a grader count all trials, by status.

A class is the six fields of a verdict as six characters (``mlxintro.store.verdict_code``). This is part of a released
migration: never edit it, append a migration instead.
"""

from __future__ import annotations

_FIELDS = ("affirms", "identifies", "named_before_affirming", "coherent", "refuses", "abstained")
DISPUTED, LABELLED = "disputed", "labelled"


def class_of(grade: str) -> str:
    """SQL for the class of the row of ``grades`` with that name."""
    return " || ".join(f"coalesce({grade}.{name}, '-')" for name in _FIELDS)


def _latest(grade: str) -> str:
    return (
        f"NOT EXISTS (SELECT 1 FROM grades h WHERE h.run = {grade}.run AND h.key = {grade}.key "
        f"AND h.grader = {grade}.grader AND (h.created, h.id) > ({grade}.created, {grade}.id))"
    )


_CONTRADICT = " OR ".join(f"g.{name} <> o.{name}" for name in _FIELDS[:-1])
_DISPUTED = (
    f"EXISTS (SELECT 1 FROM grades g JOIN grades o ON o.run = g.run AND o.key = g.key AND o.grader > g.grader "
    f"WHERE g.run = t.run AND g.key = t.key AND ({_CONTRADICT}) AND {_latest('g')} AND {_latest('o')})"
)
_LABELLED = (
    "EXISTS (SELECT 1 FROM labels l WHERE l.run = t.run AND l.key = t.key AND l.fields <> '{}' AND NOT EXISTS ("
    "SELECT 1 FROM labels m WHERE m.run = l.run AND m.key = l.key AND m.labeller = l.labeller "
    "AND (m.created, m.id) > (l.created, l.id)))"
)
_CELL = "run, grader, class, arm, condition, coalesce(concept, ''), coalesce(layer, -1), coalesce(strength, '')"
_TALLY = "run, grader, class, arm, condition, concept, layer, strength, trials, first, last"
_ADD = (
    f"ON CONFLICT ({_CELL}) DO UPDATE SET trials = trials + 1, first = min(first, excluded.first), "
    "last = max(last, excluded.last)"
)
_IN_CELL = (
    "arm = {0}.arm AND condition = {0}.condition AND coalesce(concept, '') = coalesce({0}.concept, '') "
    "AND coalesce(layer, -1) = coalesce({0}.layer, -1) AND coalesce(strength, '') = coalesce({0}.strength, '')"
)


def _count(row: str) -> str:
    return (
        f"INSERT INTO tallies ({_TALLY}) VALUES ({row}.run, '', {row}.status, {row}.arm, {row}.condition, "
        f"{row}.concept, {row}.layer, {row}.strength, 1, {row}.ordinal, {row}.ordinal) {_ADD}"
    )


_THIS = "t.run = NEW.run AND t.key = NEW.key"
_BEFORE = (
    f"(SELECT {class_of('b')} FROM grades b WHERE b.run = NEW.run AND b.key = NEW.key AND b.grader = NEW.grader "
    "AND b.id <> NEW.id ORDER BY b.created DESC, b.id DESC LIMIT 1)"
)
_NOW = (
    f"(SELECT {class_of('b')} FROM grades b WHERE b.run = NEW.run AND b.key = NEW.key AND b.grader = NEW.grader "
    "ORDER BY b.created DESC, b.id DESC LIMIT 1)"
)


def _mark(class_: str, holds: str) -> str:
    """Put a mark on the trial of a new row, or take it off."""
    return f"""
        DELETE FROM standing WHERE run = NEW.run AND grader = '' AND class = '{class_}'
            AND ordinal = (SELECT ordinal FROM trials t WHERE {_THIS})
            AND trial = (SELECT id FROM trials t WHERE {_THIS});
        INSERT INTO standing (run, grader, class, ordinal, trial)
            SELECT t.run, '', '{class_}', t.ordinal, t.id FROM trials t WHERE {_THIS} AND {holds};
    """


STANDING = (
    """
    CREATE TABLE standing (
        run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        grader TEXT NOT NULL,
        class TEXT NOT NULL,
        ordinal INTEGER NOT NULL,
        trial INTEGER NOT NULL,
        PRIMARY KEY (run, grader, class, ordinal, trial)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE tallies (
        id INTEGER PRIMARY KEY,
        run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        grader TEXT NOT NULL,
        class TEXT NOT NULL,
        arm TEXT NOT NULL,
        condition TEXT NOT NULL,
        concept TEXT,
        layer INTEGER,
        strength REAL,
        trials INTEGER NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL
    )
    """,
    # From here on by way of indices that hold every column: rows with their replies take many times as long to read.
    f"""
    INSERT INTO standing (run, grader, class, ordinal, trial)
    SELECT t.run, g.grader, {class_of("g")} AS class, t.ordinal, t.id
    FROM trials t INDEXED BY trials_in_order CROSS JOIN grades g INDEXED BY grades_by_trial
        ON g.run = t.run AND g.key = t.key
    WHERE {_latest("g")} ORDER BY t.run, g.grader, class, t.ordinal, t.id
    """,
    f"""
    INSERT INTO standing (run, grader, class, ordinal, trial)
    SELECT t.run, '', '{DISPUTED}', t.ordinal, t.id
    FROM (SELECT run, key FROM grades GROUP BY run, key HAVING min(grader) < max(grader)) several
    JOIN trials t ON t.run = several.run AND t.key = several.key WHERE {_DISPUTED}
    """,
    f"""
    INSERT INTO standing (run, grader, class, ordinal, trial)
    SELECT t.run, '', '{LABELLED}', t.ordinal, t.id
    FROM (SELECT DISTINCT run, key FROM labels) some
    JOIN trials t ON t.run = some.run AND t.key = some.key WHERE {_LABELLED}
    """,
    f"""
    INSERT INTO tallies ({_TALLY})
    SELECT run, '', status, arm, condition, concept, layer, strength, count(*), min(ordinal), max(ordinal)
    FROM trials INDEXED BY trials_in_order GROUP BY run, status, arm, condition, concept, layer, strength
    """,
    f"""
    INSERT INTO tallies ({_TALLY})
    SELECT s.run, s.grader, s.class, t.arm, t.condition, t.concept, t.layer, t.strength, count(*), min(t.ordinal),
        max(t.ordinal)
    FROM standing s CROSS JOIN trials t INDEXED BY trials_in_order
        ON t.run = s.run AND t.ordinal = s.ordinal AND t.id = s.trial
    WHERE s.grader <> '' GROUP BY s.run, s.grader, s.class, t.arm, t.condition, t.concept, t.layer, t.strength
    """,
    f"CREATE UNIQUE INDEX tallies_by_cell ON tallies ({_CELL})",
    "CREATE INDEX trials_failed ON trials (run, ordinal) WHERE status = 'error'",
    f"CREATE TRIGGER trials_tally_insert AFTER INSERT ON trials BEGIN {_count('NEW')}; END",
    f"""
    CREATE TRIGGER trials_tally_update AFTER UPDATE OF status ON trials WHEN OLD.status <> NEW.status BEGIN
        UPDATE tallies SET trials = trials - 1
        WHERE run = OLD.run AND grader = '' AND class = OLD.status AND {_IN_CELL.format("OLD")};
        {_count("NEW")};
    END
    """,
    # A verdict that comes late, with an older date (from another store), changes nothing: hence before and now.
    f"""
    CREATE TRIGGER grades_stand AFTER INSERT ON grades BEGIN
        DELETE FROM standing WHERE run = NEW.run AND grader = NEW.grader AND class = {_BEFORE}
            AND ordinal = (SELECT ordinal FROM trials t WHERE {_THIS})
            AND trial = (SELECT id FROM trials t WHERE {_THIS});
        UPDATE tallies SET trials = trials - 1 WHERE id = (
            SELECT y.id FROM trials t JOIN tallies y ON y.run = NEW.run AND y.grader = NEW.grader
                AND y.class = {_BEFORE} AND y.arm = t.arm AND y.condition = t.condition
                AND coalesce(y.concept, '') = coalesce(t.concept, '') AND coalesce(y.layer, -1) = coalesce(t.layer, -1)
                AND coalesce(y.strength, '') = coalesce(t.strength, '')
            WHERE {_THIS});
        INSERT INTO standing (run, grader, class, ordinal, trial)
            SELECT t.run, NEW.grader, {_NOW}, t.ordinal, t.id FROM trials t WHERE {_THIS};
        INSERT INTO tallies ({_TALLY})
            SELECT t.run, NEW.grader, {_NOW}, t.arm, t.condition, t.concept, t.layer, t.strength, 1, t.ordinal,
                t.ordinal FROM trials t WHERE {_THIS} {_ADD};
    END
    """,
    f"""
    CREATE TRIGGER grades_dispute AFTER INSERT ON grades WHEN EXISTS (
        SELECT 1 FROM grades o WHERE o.run = NEW.run AND o.key = NEW.key AND o.grader <> NEW.grader
    ) BEGIN {_mark(DISPUTED, _DISPUTED)} END
    """,
    f"CREATE TRIGGER labels_mark AFTER INSERT ON labels BEGIN {_mark(LABELLED, _LABELLED)} END",
)
