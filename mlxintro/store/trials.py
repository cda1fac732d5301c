"""Trials: what ran, in the plan's order. One that has not run has no row; one that failed has a row with its error."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

from mlxintro.backends.errors import UsageError
from mlxintro.store import text_index
from mlxintro.store.database import now, translated
from mlxintro.store.filters import condition
from mlxintro.store.records import Finished, Trial, TrialFilter, plain_json
from mlxintro.store.runs import Runs
from mlxintro.store.text_index import NoTextIndex

PAGE = 500
"""Rows fetched at once. Iterating never keeps a read transaction open, which would make a write on the same connection
fail as soon as another process has written."""

_TOGETHER = 64
"""Replies that are indexed at once: one by one costs twice as much."""
COLUMNS = (
    "run, key, ordinal, status, condition, arm, concept, layer, strength, unit, response, finish, tokens, error, "
    "created, spec AS spec_json, proofs AS proofs_json, doses AS doses_json, measurements AS measurements_json"
)
_INSERT = """
    INSERT INTO trials (run, key, ordinal, status, condition, arm, concept, layer, strength, unit, response, finish,
                        tokens, error, created, spec, proofs, doses, measurements)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (run, key) DO UPDATE SET
        ordinal = excluded.ordinal, status = excluded.status, response = excluded.response, finish = excluded.finish,
        tokens = excluded.tokens, error = excluded.error, created = excluded.created, proofs = excluded.proofs,
        doses = excluded.doses, measurements = excluded.measurements
    WHERE trials.status = 'error'
"""
"""A result is never overwritten; a failure is replaced by whatever came of the next attempt."""


class Trials(Runs):
    """The part of the store that holds trials."""

    _written = 0
    """Trials since replies were last indexed."""

    def add_outcomes(self, run: str, finished: Iterable[Finished]) -> None:
        """Store trials in one transaction. A trial that already has a result keeps it."""
        moment = now()
        rows = [_values(run, item, moment) for item in finished]
        with self._write() as db:
            db.executemany(_INSERT, rows)
        self._written += len(rows)
        if self._written >= _TOGETHER:
            # Twice as many: what another program has left undone is made up for by and by.
            with suppress(NoTextIndex):
                self.index_replies(2 * self._written)
            self._written = 0

    def index_replies(self, limit: int) -> int:
        """Take up to ``limit`` replies into the index that searches use; returns how many are left.

        Raises:
            NoTextIndex: SQLite cannot keep one here.
        """
        with self._write() as db:
            return text_index.index(db, limit)

    def unindexed(self) -> int:
        """How many replies the index of replies does not hold yet."""
        row = self._row("SELECT count(*) AS n FROM unindexed")
        return int(row["n"]) if row else 0

    def finished_keys(self, run: str, among: Iterable[str]) -> set[str]:
        """Those of these trials that have a result; failed ones are not among them."""
        keys = json.dumps(list(among))
        with translated(self.path):
            found = self._db.execute(
                "SELECT key FROM trials WHERE run = ? AND key IN (SELECT value FROM json_each(?)) AND status = 'done'",
                (run, keys),
            )
            return {key for (key,) in found}

    def trials(
        self, run: str, where: TrialFilter | None = None, *, limit: int | None = None, offset: int = 0
    ) -> Iterator[Trial]:
        """Trials in the order of the plan, as they are in the store when each page is read.

        Args:
            run: id.
            where: all when ``None``.
            limit: how many at most.
            offset: how many to skip.
        """
        return islice(self._pages(run, where or TrialFilter(), offset, limit), limit)

    def _pages(self, run: str, where: TrialFilter, offset: int, limit: int | None) -> Iterator[Trial]:
        more, values = condition(where)
        size = PAGE if limit is None else min(PAGE, max(1, limit))
        after: tuple[Any, ...] = (-1, "")
        while True:
            rows = self._rows(
                f"SELECT {COLUMNS} FROM trials WHERE run = ? AND (ordinal, key) > (?, ?){more} "
                "ORDER BY ordinal, key LIMIT ? OFFSET ?",
                *(run, *after, *values, size, offset),
            )
            for row in rows:
                yield Trial(**dict(row))
            if len(rows) < size:
                return
            after, offset = (rows[-1]["ordinal"], rows[-1]["key"]), 0

    def count_trials(self, run: str, where: TrialFilter | None = None) -> int:
        """How many trials a filter lets through."""
        more, values = condition(where or TrialFilter())
        row = self._row(f"SELECT count(*) AS n FROM trials WHERE run = ?{more}", run, *values)
        return int(row["n"]) if row else 0

    def trial(self, run: str, key: str) -> Trial:
        """A trial by its key or the start of one, with or without ``b2:``.

        Raises:
            UsageError: none or several match.
        """
        start = key if key.startswith("b2:") else f"b2:{key}"
        rows = self._rows(
            f"SELECT {COLUMNS} FROM trials WHERE run = ? AND key >= ? AND key < ? LIMIT 2", run, start, start + "g"
        )
        if len(rows) == 1:
            return Trial(**dict(rows[0]))
        if rows:
            raise UsageError(f"several trials start with {key!r}: give more of the key")
        raise UsageError(f"no trial starts with {key!r}: it has not run yet, or belongs to another run")


def _values(run: str, item: Finished, moment: str) -> tuple[object, ...]:
    ordinal, spec, outcome = item
    if outcome.key != spec.key:
        raise ValueError(f"the outcome of {outcome.key} was handed over for trial {spec.key}")
    first = spec.injections[0] if spec.injections else None
    return (
        run,
        outcome.key,
        ordinal,
        "done" if outcome.error is None else "error",
        spec.condition,
        spec.arm,
        spec.concept,
        first.layer if first else None,
        first.strength if first else None,
        first.unit if first else None,
        _storable(outcome.response),
        outcome.finish,
        outcome.tokens,
        None if outcome.error is None else _storable(outcome.error),
        moment,
        spec.to_json(),
        plain_json(outcome.proofs),
        plain_json(outcome.doses),
        plain_json(outcome.measurements),
    )


def _storable(text: str) -> str:
    """Half a surrogate pair, which byte-level models can produce, has no UTF-8 form."""
    return text.encode("utf-8", "replace").decode()
