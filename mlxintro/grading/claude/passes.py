"""One pass of the Claude grader over a run: what is still to be asked, and what an answer settles.

``claude_live`` and ``claude_batch`` send; everything that must not be lost, invented or paid for twice happens here and
in the store. An answer and the grade it completes are one transaction.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

from mlxintro.backends.errors import KnownError
from mlxintro.grading.base import Grade
from mlxintro.grading.claude import prices
from mlxintro.grading.claude.api import scrub
from mlxintro.grading.claude.budget import Budget
from mlxintro.grading.claude.prices import Tariff
from mlxintro.grading.claude.questions import (
    MAX_TOKENS,
    TYPICAL_TOKENS,
    Answer,
    Dossier,
    UnscoredError,
    read,
    size,
    unscored,
)
from mlxintro.grading.passes import gradable, to_record
from mlxintro.grading.rubric import QuestionName
from mlxintro.protocol.concepts import Library
from mlxintro.protocol.words.own_concepts import library_of
from mlxintro.replies.channels import answer_text
from mlxintro.replies.thoughts import thought_of
from mlxintro.store.calls import Call, GradingPass, Settled
from mlxintro.store.database import now
from mlxintro.store.records import GradeRecord, Run, Trial
from mlxintro.store.store import Store
from mlxintro.thinking.grades import beside_thought, both_graded, thought_fields

GIVE_UP = 5
"""Failures in a row after which the API is taken to be down, and the rest is left for later."""


@dataclass(slots=True)
class Report:
    """Says what a pass did."""

    graded: int = 0
    abstained: int = 0
    failed: int = 0
    """Stored as unscored, with the reason; asked again next time."""
    skipped: int = 0
    """Graded before by the same version."""
    waiting: int = 0
    """Number of trials in a batch that is not back yet."""
    left: int = 0
    """Not asked: the budget was spent, the pass was interrupted, or the API failed."""
    stopped: str = ""
    """Why something is left."""


@dataclass(frozen=True, slots=True)
class Estimate:
    replies: int
    questions: int
    """Largest number of questions."""
    input_tokens: int
    output_tokens: int
    dollars: float
    worst: float
    """US dollars, at most, unless attempts are lost on the way."""


_OF_THOUGHT = "thought-"
"""Begins the stored names of questions about a thought."""


@dataclass(frozen=True, slots=True)
class Question:
    """Holds a question that can be sent once its request is made."""

    dossier: Dossier
    """The trial's reply, with what has been answered about it."""
    name: QuestionName
    on_thought: bool = False
    """Whether it is asked about the thought before the reply."""

    @classmethod
    def stored_as(cls, dossier: Dossier, name: str) -> Question:
        """Return the question that a stored call has asked."""
        return cls(dossier, cast(QuestionName, name.removeprefix(_OF_THOUGHT)), name.startswith(_OF_THOUGHT))

    @classmethod
    def missing(cls, dossier: Dossier) -> Question | None:
        """Return what is to be asked next; ``None`` when there is enough for a grade of reply and thought."""
        if dossier.missing is not None:
            return cls(dossier, dossier.missing)
        thought = dossier.thought
        return None if thought is None or thought.missing is None else cls(dossier, thought.missing, True)

    @property
    def stored(self) -> str:
        """Return the name under which it is stored."""
        return f"{_OF_THOUGHT}{self.name}" if self.on_thought else self.name

    @property
    def about(self) -> Dossier:
        """Return the text that it is asked about."""
        return (self.dossier.thought or self.dossier) if self.on_thought else self.dossier


@dataclass(frozen=True, slots=True)
class _Before:
    """Trials as the pass found them."""

    have: set[str]
    failed: set[str]


class RemoteGrader(Protocol):
    """Describes a judge behind an API: what it is called, and how it is asked."""

    @property
    def name(self) -> str: ...

    @property
    def model(self) -> str: ...

    @property
    def version(self) -> str: ...

    def request(self, dossier: Dossier, question: QuestionName) -> dict[str, Any]:
        """Return the parameters of one question."""
        ...


class ClaudePass:
    """Runs one grading pass: asks about every reply that needs it, and stores the answers as they come."""

    def __init__(
        self,
        store: Store,
        run: Run,
        grader: RemoteGrader,
        tariff: Tariff,
        limit: float | None = None,
        *,
        keys: Container[str] | None = None,
    ) -> None:
        """
        Args:
            tariff: of this way of asking.
            limit: US dollars that this grader may cost on this run, earlier passes included.
            keys: trials to grade, all when ``None``.
        """
        self._keys = keys
        self.store, self.run, self.grader, self.tariff = store, run, grader, tariff
        self._library = library_of(run.study)
        self.where = GradingPass(run.id, grader.name, grader.version)
        self.budget = Budget(limit, spent=store.calls.spent(run.id, grader.name))
        self.report = Report()
        self._in_a_row = 0
        self._since = ""
        """Only grades from later on count as done."""
        self._before: _Before | None = None
        self._failed: set[str] = set()
        """Trials whose grading failed in this pass."""

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from grading this run with this grader at the same time.

        Raises:
            KnownError: one does already.
        """
        from filelock import FileLock, Timeout

        from mlxintro.backends.machine.lock import lock_folder

        name = hashlib.sha256(f"{self.store.path.resolve()} {self.run.id} {self.grader.name}".encode()).hexdigest()[:16]
        lock_folder().mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = FileLock(lock_folder() / f"grading-{name}.lock")
        try:
            with lock.acquire(timeout=0):
                # Whoever sent these is dead, and their answers with it.
                self.store.calls.void(self.where, state="sent")
                yield
        except Timeout:
            raise KnownError(
                f"another process is grading {self.run.name} with {self.grader.name}: wait for it to end"
            ) from None

    def forget(self) -> None:
        """Have everything asked anew. What was paid stays on the account, earlier grades stay in the store."""
        self._since = now()
        self.store.calls.void(self.where, state="answered")
        self.store.calls.void(self.where, state="failed")

    def abandon(self) -> int:
        """Give up batches that were submitted and not collected; their questions are asked anew.

        Returns:
            How many there were. What they cost stays on the account.
        """
        batches = self.store.calls.batches(self.run.id, self.grader.name, "intent", "open")
        for _, batch in batches:
            self.store.calls.finish_batch(batch.id, state="lost")
        return len(batches)

    def open_dossiers(self, *, only_failed: bool = False) -> Iterator[Dossier]:
        """Return the replies that have no grade of this version, or only a failed one; counts the others.

        A reply whose grading failed in this very pass is left for the next.

        Args:
            only_failed: those whose grading had failed before this pass.
        """
        calls = self.store.calls.of_pass(self.where)
        answers = _answers(calls)
        last = {(call.key, call.question): call.state for call in calls}
        failed = {key for (key, _), state in last.items() if state == "failed"} - self._failed
        waiting = {key for (key, _), state in last.items() if state == "sent"}
        latest = self.store.grades.latest(self.run.id, grader=self.grader.name)
        graded = {g.key: g for g in latest if g.version == self.where.version and g.created > self._since}
        have = set(graded) - failed
        if self._before is None:
            self._before = _Before(have, failed)
        self.report.skipped = self.report.waiting = 0
        for trial in gradable(self.store, self.run):
            if self._keys is not None and trial.key not in self._keys:
                continue
            if trial.key in waiting:
                self.report.waiting += 1
            elif trial.key in have and both_graded(trial, graded[trial.key]):
                self.report.skipped += trial.key in self._before.have
            elif not only_failed or trial.key in self._before.failed:
                yield _dossier(trial, answers.get(trial.key, {}), self._library)

    def dossiers(self) -> Callable[[str], Dossier]:
        """Look a reply up by its trial's key, with what has been answered about it so far."""
        answers = _answers(self.store.calls.of_pass(self.where))
        return lambda key: _dossier(self.store.trials.find(self.run.id, key), answers.get(key, {}), self._library)

    def request(self, question: Question) -> dict[str, Any]:
        """Return the parameters of a question."""
        return self.grader.request(question.about, question.name)

    def worst(self, request: dict[str, object]) -> float:
        """Return the US dollars of a request at worst."""
        return self.tariff.at_most(size(request), MAX_TOKENS)

    def next_question(self, dossier: Dossier) -> Question | None:
        """Return what to ask next; stores the grade and returns ``None`` when nothing is missing."""
        question = Question.missing(dossier)
        if question is not None:
            return question
        self.store.calls.settle(self.run.id, (), [self._finish(dossier)])
        return None

    def answered(self, call: int, question: Question, answer: Answer, cost: float) -> Question | None:
        """Store what came back.

        Args:
            cost: US dollars, lost attempts included.

        Returns:
            What to ask next about this reply.
        """
        try:
            text = read(question.name, answer)
        except UnscoredError as why:
            self._fail(call, question, str(why), cost, answer)
            return None
        self._in_a_row = 0
        dossier = question.dossier
        question.about.answers[question.name] = text
        settled = Settled(call, "answered", cost, answer.usage.read, answer.usage.output_tokens, text)
        following = Question.missing(dossier)
        self.store.calls.settle(self.run.id, [settled], [self._finish(dossier)] if following is None else [])
        return following

    def failed(self, call: int, question: Question, why: str, cost: float) -> None:
        """Store that a question stayed without an answer: the trial is unscored, not a "no"."""
        self._fail(call, question, why, cost)
        self._in_a_row += 1

    def put_back(self, call: int, cost: float) -> None:
        """Put a question back that was not asked after all, or given up without a verdict on the reply."""
        self.store.calls.settle(self.run.id, [Settled(call, "void", cost)])

    @property
    def hopeless(self) -> bool:
        """Tell whether so many questions failed in a row that asking on would only waste time and money."""
        return self._in_a_row >= GIVE_UP

    def estimate(self, dossiers: Iterator[Dossier]) -> Estimate:
        """Return what asking about these replies takes."""
        replies = questions = tokens = 0
        dollars = worst = 0.0
        for dossier in dossiers:
            replies += 1
            for question in _possible(dossier):
                length = size(self.request(question))
                questions += 1
                tokens += prices.estimated_tokens(length)
                dollars += self.tariff.about(length, TYPICAL_TOKENS)
                worst += self.tariff.at_most(length, MAX_TOKENS)
        return Estimate(replies, questions, tokens, questions * TYPICAL_TOKENS, dollars, worst)

    def _finish(self, dossier: Dossier) -> GradeRecord:
        noticed = None if dossier.thought is None else dossier.thought.grade()
        grade = beside_thought(dossier.grade(), noticed, dossier.concept)
        self.report.graded += 1
        self.report.abstained += grade.abstained
        return self._record(dossier, grade, {**_raw(dossier), **thought_fields(noticed)})

    def _fail(self, call: int, question: Question, why: str, cost: float, answer: Answer | None = None) -> None:
        why, text = scrub(why), None if answer is None else scrub(answer.text)
        used = answer.usage if answer else None
        tokens = (used.read, used.output_tokens) if used else (0, 0)
        self.report.failed += 1
        self._failed.add(question.dossier.key)
        raw = {**_raw(question.dossier), **({question.stored: text} if text is not None else {})}
        self.store.calls.settle(
            self.run.id,
            [Settled(call, "failed", cost, *tokens, text, why)],
            [self._record(question.dossier, unscored(why), raw)],
        )

    def _record(self, dossier: Dossier, grade: Grade, raw: object) -> GradeRecord:
        return replace(to_record(dossier.key, self.grader, grade), raw=json.dumps(raw, ensure_ascii=False))


def _possible(dossier: Dossier) -> Iterator[Question]:
    """Every question that may still be asked about a reply and its thought."""
    for on_thought, about in ((False, dossier), (True, dossier.thought)):
        if about is None or not about.reply.strip():
            continue
        names: tuple[QuestionName, ...] = ("stance", "naming") if dossier.concept is not None else ("stance",)
        yield from (Question(dossier, name, on_thought) for name in names if name not in about.answers)


def _raw(dossier: Dossier) -> dict[str, str]:
    """The answers about a reply and about its thought, by the names they are stored under."""
    found: dict[str, str] = dict(dossier.answers.items())
    if dossier.thought is not None:
        found |= {_OF_THOUGHT + name: text for name, text in dossier.thought.answers.items()}
    return found


def _answers(calls: Iterable[Call]) -> dict[str, dict[str, str]]:
    """By trial and question."""
    found: dict[str, dict[str, str]] = {}
    for call in calls:
        if call.state == "answered" and call.answer is not None:
            found.setdefault(call.key, {})[call.question] = call.answer
    return found


def _dossier(trial: Trial, answers: Mapping[str, str], library: Library) -> Dossier:
    # Thoughts and what a model wrote as somebody else's turn are not its answer; every grader reads the same part.
    concept, related = trial.concept, library.related(trial.concept)
    thought = thought_of(trial.measurements)
    found = Dossier(trial.key, answer_text(trial.response), concept, related)
    if thought is not None:
        found.thought = Dossier(trial.key, thought.text, concept, related)
    for name, text in answers.items():
        question = Question.stored_as(found, name)
        question.about.answers[question.name] = text
    return found
