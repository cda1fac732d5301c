"""Questions put to a paid grader: what was asked, what came back, and what it cost.

A question is recorded before it is sent and settled, together with the grade it completes, in one transaction. What a
killed process leaves behind is therefore known: a question without an answer may have been paid for, so it counts at
its worst case and is asked again; an answered one is never asked again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from mlxintro.store.database import Database, now
from mlxintro.store.grades import insert_grades
from mlxintro.store.records import GradeRecord

CallState = Literal["sent", "answered", "failed", "void"]
"""``void``: no longer counts as an answer (asked anew, or its process died), though it may have cost something."""
BatchState = Literal["intent", "open", "done", "lost"]
"""``intent``: about to be submitted, or submitted without our having heard back."""


@dataclass(frozen=True, slots=True)
class GradingPass:
    """Says what belongs together: one grader's version on one run."""

    run: str
    grader: str
    version: str


@dataclass(frozen=True, slots=True)
class PaidQuestion:
    """Holds a question about one trial, as it was put to a paid grader."""

    key: str
    """Key of the trial."""
    question: str
    reserved: float
    """US dollars at worst."""


@dataclass(frozen=True, slots=True)
class Call:
    id: int
    key: str
    question: str
    state: CallState
    batch: int | None
    reserved: float
    """US dollars at worst."""
    answer: str | None
    """The grader's reply as it came."""
    reason: str


@dataclass(frozen=True, slots=True)
class PaidBatch:
    id: int
    token: str
    """Start of the ``custom_id`` of every request in it."""
    remote: str | None
    """The API's id, once known."""
    state: BatchState
    size: int
    created: str


@dataclass(frozen=True, slots=True)
class Settled:
    """Says how a question ended."""

    id: int
    state: CallState
    cost: float
    """US dollars, lost attempts included."""
    input_tokens: int = 0
    output_tokens: int = 0
    answer: str | None = None
    reason: str = ""


class CallTable:
    """Keeps the questions to paid graders, and what each has cost."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, where: GradingPass, ask: PaidQuestion) -> int:
        """Record a question that is about to be sent.

        Returns:
            The call's id.
        """
        with self._database.write() as db:
            done = db.execute(_OPEN, _call_values(where, ask, None, now()))
            return int(done.lastrowid or 0)

    def open_batch(self, where: GradingPass, token: str, asks: Sequence[PaidQuestion]) -> tuple[PaidBatch, list[int]]:
        """Record a batch that is about to be submitted, with its questions.

        Returns:
            The batch, and the calls' ids in the order of ``asks``.
        """
        moment = now()
        with self._database.write() as db:
            done = db.execute(
                "INSERT INTO grading_batches (run, grader, version, token, state, size, created) "
                "VALUES (?, ?, ?, ?, 'intent', ?, ?)",
                (where.run, where.grader, where.version, token, len(asks), moment),
            )
            batch = int(done.lastrowid or 0)
            ids = [int(db.execute(_OPEN, _call_values(where, a, batch, moment)).lastrowid or 0) for a in asks]
        return PaidBatch(batch, token, None, "intent", len(asks), moment), ids

    def reserve_more(self, call: int, dollars: float) -> None:
        """Reserve for another attempt, since one was lost on its way and may have been paid for."""
        with self._database.write() as db:
            db.execute("UPDATE grading_calls SET reserved = reserved + ? WHERE id = ?", (dollars, call))

    def settle(self, run: str, settled: Iterable[Settled], grades: Iterable[GradeRecord] = ()) -> None:
        """Record how questions ended, and the grades they complete, all or nothing.

        A question that is settled already stays as it is, so that a batch's results can be read twice.
        """
        moment = now()
        with self._database.write() as db:
            db.executemany(
                "UPDATE grading_calls SET state = ?, cost = ?, input_tokens = ?, output_tokens = ?, answer = ?, "
                "reason = ?, finished = ? WHERE id = ? AND state = 'sent'",
                [(s.state, s.cost, s.input_tokens, s.output_tokens, s.answer, s.reason, moment, s.id) for s in settled],
            )
            insert_grades(db, run, grades)

    def of_pass(self, where: GradingPass) -> list[Call]:
        """Return every question that still counts, oldest first."""
        rows = self._database.rows(
            f"SELECT {_CALL} FROM grading_calls "
            "WHERE run = ? AND grader = ? AND version = ? AND state <> 'void' ORDER BY id",
            *(where.run, where.grader, where.version),
        )
        return [Call(**dict(row)) for row in rows]

    def void(self, where: GradingPass, *, state: CallState) -> int:
        """Set questions aside that were sent by a process that died, or answered and are to be asked anew.

        Questions in a batch that is still open are left alone. What was paid, or may have been, stays on the account.

        Returns:
            How many there were.
        """
        with self._database.write() as db:
            done = db.execute(
                "UPDATE grading_calls SET state = 'void' WHERE run = ? AND grader = ? AND version = ? AND state = ? "
                "AND (state <> 'sent' OR batch IS NULL)",
                (where.run, where.grader, where.version, state),
            )
            return int(done.rowcount)

    def batches(self, run: str, grader: str, *states: BatchState) -> list[tuple[GradingPass, PaidBatch]]:
        """Return the batches in any of these states, oldest first, whatever the grader's version."""
        marks = ", ".join("?" * len(states))
        rows = self._database.rows(
            "SELECT id, version, token, remote, state, size, created FROM grading_batches "
            f"WHERE run = ? AND grader = ? AND state IN ({marks}) ORDER BY id",
            *(run, grader, *states),
        )
        found = []
        for row in rows:
            fields = dict(row)
            found.append((GradingPass(run, grader, fields.pop("version")), PaidBatch(**fields)))
        return found

    def submitted(self) -> set[str]:
        """Return every batch's id at the API, as far as it is known, whatever the run."""
        return {
            row["remote"] for row in self._database.rows("SELECT remote FROM grading_batches WHERE remote IS NOT NULL")
        }

    def batch_submitted(self, batch: int, remote: str) -> None:
        with self._database.write() as db:
            db.execute("UPDATE grading_batches SET state = 'open', remote = ? WHERE id = ?", (remote, batch))

    def of_batch(self, batch: int) -> dict[int, Call]:
        """Return the questions of a batch that wait for their answer, by id."""
        rows = self._database.rows(
            f"SELECT {_CALL} FROM grading_calls WHERE batch = ? AND state = 'sent' ORDER BY id",
            batch,
        )
        return {row["id"]: Call(**dict(row)) for row in rows}

    def finish_batch(self, batch: int, *, state: BatchState, cost: float | None = None) -> None:
        """Note that a batch has been read to its end, never arrived, or is given up.

        Args:
            cost: US dollars of each question that stayed without an answer; unknown when ``None``, which keeps the
                worst case on the account.
        """
        moment = now()
        with self._database.write() as db:
            db.execute(
                "UPDATE grading_calls SET state = 'void', cost = ?, finished = ? WHERE batch = ? AND state = 'sent'",
                (cost, moment, batch),
            )
            db.execute("UPDATE grading_batches SET state = ?, finished = ? WHERE id = ?", (state, moment, batch))

    def spent(self, run: str, grader: str) -> float:
        """Return the US dollars a grader has cost on a run, whatever its version.

        What it did cost, else its worst case.
        """
        row = self._database.row(
            "SELECT coalesce(sum(coalesce(cost, reserved)), 0) AS dollars FROM grading_calls "
            "WHERE run = ? AND grader = ?",
            *(run, grader),
        )
        return float(row["dollars"]) if row else 0.0


_CALL = "id, key, question, state, batch, reserved, answer, reason"
_OPEN = (
    "INSERT INTO grading_calls (run, grader, version, key, question, reserved, batch, state, created) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, 'sent', ?)"
)


def _call_values(where: GradingPass, ask: PaidQuestion, batch: int | None, moment: str) -> tuple[object, ...]:
    return (where.run, where.grader, where.version, ask.key, ask.question, ask.reserved, batch, moment)
