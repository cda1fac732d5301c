"""Trials: what ran, in the plan's order. One that has not run has no row; one that failed has a row with its error."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

from mlxintro.backends.errors import KnownError, UsageError
from mlxintro.store.database import Database, now, translated
from mlxintro.store.records import Finished, Run, Trial, TrialFilter, plain_json, reading, storable
from mlxintro.store.searching import text_index
from mlxintro.store.searching.filters import condition
from mlxintro.store.searching.text_index import NoTextIndex
from mlxintro.store.searching.verdict_code import class_of

PAGE = 500
"""Rows fetched at once. Iterating never keeps a read transaction open, which would make a write on the same connection
fail as soon as another process has written."""

_NUMBER = "json_extract(spec, '$.trial')"

_LAST = 200
"""Trials latest in the plan among which one with a reply is looked for."""

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


@dataclass(frozen=True, slots=True)
class Failure:
    ordinal: int
    error: str


class Reply(NamedTuple):
    """Holds a trial's text and where it belongs."""

    ordinal: int
    key: str
    concept: str | None
    layer: int | None
    strength: float | None
    number: int
    """Number of the repetition, in its specification."""
    response: str
    class_: str | None
    """Class of the verdict (``searching.verdict_code``); ``None`` without one."""


class TrialTable:
    """Keeps trials in the store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._written = 0
        """Trials since replies were last indexed."""

    def add(self, run: str, finished: Iterable[Finished]) -> None:
        """Store trials in one transaction. A trial that already has a result keeps it."""
        moment = now()
        rows = [_values(run, item, moment) for item in finished]
        with self._database.write() as db:
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
        with self._database.write() as db:
            return text_index.index(db, limit)

    def unindexed(self) -> int:
        """Return how many replies the index of replies does not hold yet."""
        row = self._database.row("SELECT count(*) AS n FROM unindexed")
        return int(row["n"]) if row else 0

    def finished_keys(self, run: str, among: Iterable[str]) -> set[str]:
        """Return those of these trials that have a result; failed ones are not among them."""
        keys = json.dumps(list(among))
        with translated(self._database.path):
            found = self._database.connection.execute(
                "SELECT key FROM trials WHERE run = ? AND key IN (SELECT value FROM json_each(?)) AND status = 'done'",
                (run, keys),
            )
            return {key for (key,) in found}

    def of_run(
        self, run: str, where: TrialFilter | None = None, *, limit: int | None = None, offset: int = 0
    ) -> Iterator[Trial]:
        """Return the trials in the order of the plan, as they are in the store when each page is read.

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
            rows = self._database.rows(
                f"SELECT {COLUMNS} FROM trials WHERE run = ? AND (ordinal, key) > (?, ?){more} "
                "ORDER BY ordinal, key LIMIT ? OFFSET ?",
                *(run, *after, *values, size, offset),
            )
            for row in rows:
                yield trial_of(row)
            if len(rows) < size:
                return
            after, offset = (rows[-1]["ordinal"], rows[-1]["key"]), 0

    def of_class(self, run: str, grader: str, class_: str, where: TrialFilter | None = None) -> Iterator[Trial]:
        """Return the trials whose latest verdict of a grader is of one class, in the order of the plan.

        Args:
            run: id.
            grader: its name.
            class_: see ``searching.verdict_code``.
            where: all of them when ``None``.
        """
        more, values = condition(where or TrialFilter())
        after: tuple[Any, ...] = (-1, -1)
        while True:
            places = self._database.rows(
                "SELECT ordinal, trial FROM standing WHERE run = ? AND grader = ? AND class = ? "
                "AND (ordinal, trial) > (?, ?) ORDER BY ordinal, trial LIMIT ?",
                *(run, grader, class_, *after, PAGE),
            )
            # The plus keeps SQLite from walking through the whole run for the sake of its order.
            rows = self._database.rows(
                f"SELECT {COLUMNS} FROM trials WHERE +run = ? AND id IN (SELECT value FROM json_each(?)){more} "
                "ORDER BY ordinal, key",
                *(run, plain_json([place["trial"] for place in places]), *values),
            )
            yield from map(trial_of, rows)
            if len(places) < PAGE:
                return
            after = tuple(places[-1])

    def replies(self, run: str, grader: str, where: TrialFilter) -> Iterator[Reply]:
        """Read replies with the class of a grader's latest verdict, in the order of the plan.

        Takes a third of the time of whole trials, where hundreds of thousands are read for their texts.

        Raises:
            KnownError: a trial's specification cannot be read.
        """
        more, values = condition(where)
        verdict = (
            f"(SELECT {class_of('g')} FROM grades g WHERE g.run = trials.run AND g.key = trials.key AND g.grader = ? "
            "ORDER BY g.created DESC, g.id DESC LIMIT 1)"
        )
        after: tuple[Any, ...] = (-1, "")
        while True:
            rows = self._of_specs(
                f"SELECT ordinal, key, concept, layer, strength, {_NUMBER} AS number, response, {verdict} AS class "
                f"FROM trials WHERE run = ? AND (ordinal, key) > (?, ?){more} ORDER BY ordinal, key LIMIT ?",
                *(grader, run, *after, *values, PAGE),
                run=run,
            )
            for row in rows:
                yield Reply(*row)
            if len(rows) < PAGE:
                return
            after = tuple(rows[-1])[:2]

    def last_of_numbers(self, run: str, where: TrialFilter) -> dict[int, tuple[str | None, float | None]]:
        """Return concept and strength of the main arm's injected trial that is last in the plan, by trial number.

        Args:
            run: id.
            where: trials whose numbers are wanted; others are left out.

        Raises:
            KnownError: a trial's specification cannot be read.
        """
        more, values = condition(where)
        sql = f"SELECT DISTINCT {_NUMBER} AS number FROM trials WHERE run = ?{more}"
        wanted = {row["number"] for row in self._of_specs(sql, run, *values, run=run)}
        found: dict[int, tuple[str | None, float | None]] = {}
        before, key = 2**62, ""
        # From the end of the plan, since it often takes little of it to find them all.
        while wanted:
            rows = self._of_specs(
                f"SELECT ordinal, key, {_NUMBER} AS number, concept, strength FROM trials WHERE run = ? AND arm = '' "
                "AND condition = 'injected' AND status = 'done' AND (ordinal, key) < (?, ?) "
                "ORDER BY ordinal DESC, key DESC LIMIT ?",
                *(run, before, key, PAGE),
                run=run,
            )
            for row in rows:
                if row["number"] in wanted:
                    wanted.discard(row["number"])
                    found[row["number"]] = (row["concept"], row["strength"])
            if len(rows) < PAGE:
                break
            before, key = rows[-1]["ordinal"], rows[-1]["key"]
        return found

    def _of_specs(self, sql: str, *values: object, run: str) -> list[sqlite3.Row]:
        """Run a query that looks into specifications, of which any may be damaged."""
        with reading(f"a trial of run {run}", "spec"):
            try:
                return self._database.rows(sql, *values)
            except sqlite3.OperationalError as error:
                if "JSON" not in str(error):
                    raise
                raise ValueError(str(error)) from error

    def count(self, run: str, where: TrialFilter | None = None) -> int:
        """Return how many trials a filter lets through."""
        more, values = condition(where or TrialFilter())
        row = self._database.row(f"SELECT count(*) AS n FROM trials WHERE run = ?{more}", run, *values)
        return int(row["n"]) if row else 0

    def find(self, run: str, key: str) -> Trial:
        """Return a trial by its key or the start of one, with or without ``b2:``.

        Raises:
            UsageError: none or several match.
        """
        start = key if key.startswith("b2:") else f"b2:{key}"
        rows = self._database.rows(
            f"SELECT {COLUMNS} FROM trials WHERE run = ? AND key >= ? AND key < ? LIMIT 2", run, start, start + "g"
        )
        if len(rows) == 1:
            return trial_of(rows[0])
        if rows:
            raise UsageError(f"several trials start with {key!r}: give more of the key")
        raise UsageError(f"no trial starts with {key!r}: it has not run yet, or belongs to another run")

    def keys(self, run: str, where: TrialFilter) -> list[str]:
        """Return the keys of all trials that a filter lets through, sorted: for drawing from them."""
        more, values = condition(where)
        # Sorted here, because SQLite would use the index of keys for that and fetch every row.
        return sorted(
            row["key"] for row in self._database.rows(f"SELECT key FROM trials WHERE run = ?{more}", run, *values)
        )

    def by_keys(self, run: str, keys: Sequence[str]) -> list[Trial]:
        """Return the trials by their full keys, in the order of the keys; those that are gone are left out."""
        rows = self._database.rows(
            f"SELECT {COLUMNS} FROM trials WHERE run = ? AND key IN (SELECT value FROM json_each(?))",
            *(run, plain_json(list(keys))),
        )
        by_key = {row["key"]: trial_of(row) for row in rows}
        return [by_key[key] for key in keys if key in by_key]

    def failures(self, run: Run, *, limit: int) -> list[Failure]:
        """Return the failed trials of a run, those late in the plan first."""
        if not run.errors:
            return []
        rows = self._database.rows(
            "SELECT ordinal, error FROM trials WHERE run = ? AND status = 'error' ORDER BY ordinal DESC LIMIT ?",
            *(run.id, limit),
        )
        return [Failure(row["ordinal"], row["error"]) for row in rows]

    def last(self, run: str) -> Trial | None:
        """Return the trial latest in the plan that is there.

        One with a reply, if there is one among the last few hundred.
        """
        row = self._database.row(
            f"SELECT {COLUMNS} FROM trials WHERE id = (SELECT id FROM (SELECT id, ordinal, key, response <> '' AS said "
            f"FROM trials WHERE run = ? ORDER BY ordinal DESC, key DESC LIMIT {_LAST}) "
            "ORDER BY said DESC, ordinal DESC, key DESC LIMIT 1)",
            run,
        )
        return None if row is None else trial_of(row)


def trial_of(row: sqlite3.Row) -> Trial:
    """Make a trial of a row that begins with ``COLUMNS``.

    Raises:
        KnownError: a column holds something of another type.
    """
    values = tuple(row)[: len(_MAY_BE)]
    wrong = _wrong_type(tuple(map(type, values)))
    if wrong is not None:
        raise KnownError(
            f"trial {row['key']!s:.40} of run {row['run']!s:.40}: the column {wrong} of its row is damaged: import it "
            "anew, or delete the run with `mlxintro runs rm`"
        )
    trial = Trial(*values)
    if trial.condition == "injected" and (trial.layer is None or trial.strength is None):
        raise KnownError(
            f"trial {trial.key:.40} of run {trial.run:.40}: its row says that something was injected and not where: "
            "import it anew, or delete the run with `mlxintro runs rm`"
        )
    return trial


_MAY_BE: dict[str, tuple[type, ...]] = {
    **dict.fromkeys((field.name for field in fields(Trial)), (str,)),
    **dict.fromkeys(("ordinal", "tokens"), (int,)),
    **dict.fromkeys(("concept", "unit", "error"), (str, type(None))),
    "layer": (int, type(None)),
    "strength": (float, type(None)),
}


@cache
def _wrong_type(types: tuple[type, ...]) -> str | None:
    """The first column whose type is not as it should be; asked once for each combination that occurs."""
    return next((name for (name, may), one in zip(_MAY_BE.items(), types, strict=True) if one not in may), None)


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
        storable(outcome.response),
        outcome.finish,
        outcome.tokens,
        None if outcome.error is None else storable(outcome.error),
        moment,
        spec.to_json(),
        plain_json(outcome.proofs),
        plain_json(outcome.doses),
        plain_json(outcome.measurements),
    )
