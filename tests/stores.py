"""Stores with runs in them, for tests."""

from __future__ import annotations

import sqlite3

from mlxintro.store import Finished, Store
from tests.plans import outcome, plan


def filled(store: Store, count: int = 30, *, name: str = "first", failing: tuple[int, ...] = ()) -> str:
    run = store.runs.create("injected-thoughts", planned=count, name=name).id
    store.trials.add(
        run,
        [
            Finished(i, s, outcome(s, f"Reply {i} about {s.concept}", error="broke" if i in failing else None))
            for i, s in enumerate(plan(count))
        ],
    )
    return run


def counted(store: Store, run: str) -> tuple[int, int]:
    """Done and failed, counted from the rows."""
    with sqlite3.connect(store.path) as db:
        found = dict(db.execute("SELECT status, count(*) FROM trials WHERE run = ? GROUP BY status", (run,)).fetchall())
    db.close()
    return found.get("done", 0), found.get("error", 0)
