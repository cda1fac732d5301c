"""Migration ``m010_studies``: what a person asked for in one file or line, and the runs that it came to.

The statements are written out, and a test holds them byte by byte: a released migration is never edited. Append
another one instead.
"""

from __future__ import annotations

STUDIES = (
    """
    CREATE TABLE studies (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        settings TEXT NOT NULL,
        created TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE study_parts (
        study TEXT NOT NULL REFERENCES studies (id) ON DELETE CASCADE,
        ordinal INTEGER NOT NULL,
        key TEXT NOT NULL,
        label TEXT NOT NULL,
        settings TEXT NOT NULL,
        run TEXT UNIQUE REFERENCES runs (id) ON DELETE SET NULL,
        error TEXT,
        PRIMARY KEY (study, ordinal),
        UNIQUE (study, key)
    )
    """,
)
