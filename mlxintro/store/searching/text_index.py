"""The index of replies: which of them can hold a text, without reading them all.

It is SQLite's FTS5 over every three characters in a row (trigrams), so that parts of words are found, too. It keeps
neither the replies nor the places in them (``content=''``, ``detail=none``), which makes it a seventh of the store
instead of doubling it. So it names candidates: replies that hold all trigrams of a text, in any order. Whoever asks
must look at them; replies that are gone or have changed may be among them, and none that holds the text is missing.

It holds replies as they are compared (``spelling.comparable``).

It is filled in portions, by whoever writes trials and by ``mlxintro runs index``; ``unindexed`` lists what it lacks.
A store is complete without it: where SQLite has no trigrams (before 3.34, or built without FTS5), replies are read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from mlxintro.backends.errors import KnownError
from mlxintro.protocol.spelling import comparable

SHORTEST = 3
"""Characters of a text that the index knows anything of."""
_MOST_TERMS = 24
"""Trigrams of a long text that are looked up: these are rare enough together."""
_CREATE = (
    "CREATE VIRTUAL TABLE IF NOT EXISTS replies "
    "USING fts5(text, content='', columnsize=0, detail=none, tokenize='trigram')"
)


class NoTextIndex(KnownError):
    """SQLite cannot keep this index here."""


def index(db: sqlite3.Connection, limit: int) -> int:
    """Take up to ``limit`` replies into the index, inside the caller's transaction; returns how many are left.

    Raises:
        NoTextIndex: SQLite has no trigrams.
    """
    try:
        db.execute(_CREATE)
    except sqlite3.OperationalError as error:
        if not _missing(error):
            raise
        raise NoTextIndex(
            f"this SQLite ({sqlite3.sqlite_version}) has no trigram index, so a search reads every reply: "
            "use a Python with SQLite 3.34 or newer"
        ) from error
    found = db.execute(
        "SELECT trial, response FROM unindexed JOIN trials ON id = trial ORDER BY trial LIMIT ?", (limit,)
    ).fetchall()
    if found:
        # FTS5 ends a text at a zero byte.
        texts = [(row["trial"], comparable(row["response"]).replace("\0", " ")) for row in found]
        db.executemany("INSERT INTO replies (rowid, text) VALUES (?, ?)", texts)
        db.execute("DELETE FROM unindexed WHERE trial <= ?", (found[-1]["trial"],))
    (left,) = db.execute("SELECT count(*) FROM unindexed").fetchone()
    return int(left)


def candidates(db: sqlite3.Connection, text: str, most: int) -> set[int] | None:
    """Return the rows of all trials whose replies can hold a text.

    ``None`` when there are more, or the index cannot tell.
    """
    terms = _terms(text)
    if not terms:
        return None
    waiting = db.execute("SELECT trial FROM unindexed LIMIT ?", (most + 1,)).fetchall()
    if len(waiting) > most:
        return None
    query = " ".join(f'"{term}"' for term in terms)
    try:
        found = db.execute("SELECT rowid FROM replies WHERE replies MATCH ? LIMIT ?", (query, most + 1)).fetchall()
    except sqlite3.OperationalError as error:
        if not _missing(error):
            raise
        return None
    rows = {row[0] for row in (*found, *waiting)}
    return None if len(rows) > most else rows


def _terms(text: str) -> Sequence[str]:
    text = comparable(text).replace("\0", " ")
    found = list(dict.fromkeys(text[at : at + SHORTEST] for at in range(len(text) - SHORTEST + 1)))
    return [term.replace('"', '""') for term in found[:: -(-len(found) // _MOST_TERMS) or 1]]


def _missing(error: sqlite3.OperationalError) -> bool:
    """Not there yet, or not to be had."""
    return any(what in str(error) for what in ("no such table: replies", "no such module", "tokenizer"))
