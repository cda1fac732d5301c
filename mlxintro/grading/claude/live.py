"""Asking an API one question at a time, several at once.

Threads only talk to the network. Everything that is decided or stored happens in the caller's thread, which hears from
them through a queue. Ctrl-C comes through it as well: raised in the middle of storing an answer it would lose one.
"""

from __future__ import annotations

import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from mlxintro.grading.claude.api import ApiError, Meter, ask
from mlxintro.grading.claude.budget import Account, Budget, BudgetSpentError
from mlxintro.grading.claude.passes import ClaudePass, Question
from mlxintro.grading.claude.questions import Answer, Dossier, UnscoredError
from mlxintro.store.calls import PaidQuestion

CONCURRENCY = 4


@dataclass(frozen=True, slots=True)
class Put:
    """Says how one question is put to an API."""

    account: Callable[[Budget, float, Callable[[], None]], Account]
    """Makes the account of a question from the budget, an attempt's worst case and what to call when one is lost."""
    ask: Callable[[Any, dict[str, Any], Any], Answer]
    """Asks with a client, a request and its account."""


put_to_claude = Put(Meter, ask)


@dataclass(frozen=True, slots=True)
class _Sent:
    call: int
    question: Question
    request: dict[str, Any]
    worst: float
    account: Account


@dataclass(frozen=True, slots=True)
class _Lost:
    call: int
    worst: float


@dataclass(frozen=True, slots=True)
class _QueueEnded:
    sent: _Sent
    result: Answer | BaseException


@contextmanager
def _ctrl_c_to(heard: Callable[[KeyboardInterrupt], None]) -> Iterator[None]:
    """The first Ctrl-C is handed over, a second one raised. Signals reach the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, before)
        heard(KeyboardInterrupt())

    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def run_live(
    job: ClaudePass,
    client: Any,
    dossiers: Iterator[Dossier],
    *,
    put: Put = put_to_claude,
    concurrency: int = CONCURRENCY,
    progress: Callable[[], None] | None = None,
    notify: Callable[[str], None] | None = None,
) -> None:
    """Grade these replies; what happened is in ``job.report``.

    Args:
        client: of the SDK that ``put`` asks with.
        put: how one question is put; Claude's way by default.
        concurrency: questions under way at once.
        progress: called after each grade.
        notify: told, in one line, that Ctrl-C was heard.

    Raises:
        ApiError: nothing can be asked; what was answered before is stored.
        KeyboardInterrupt: after the answers under way have been stored. A second one leaves at once: what is under way
            then is paid for, and asked again the next time.
    """
    _Live(job, client, put, dossiers, concurrency, progress or (lambda: None), notify or (lambda _: None)).run()


class _Live:
    def __init__(
        self,
        job: ClaudePass,
        client: Any,
        put: Put,
        dossiers: Iterator[Dossier],
        concurrency: int,
        progress: Callable[[], None],
        notify: Callable[[str], None],
    ) -> None:
        self._job, self._client, self._put, self._dossiers = job, client, put, dossiers
        self._progress, self._notify = progress, notify
        self._concurrency = concurrency
        self._ready: deque[Question] = deque()
        self._tasks: queue.SimpleQueue[_Sent | None] = queue.SimpleQueue()
        self._events: queue.SimpleQueue[_Lost | _QueueEnded | KeyboardInterrupt] = queue.SimpleQueue()
        self._under_way = 0
        self._ending: BaseException | None = None
        self._full = False
        """The budget admits no further question before one under way has ended for less than its worst case."""

    def run(self) -> None:
        for _ in range(self._concurrency):
            # Daemons: a second Ctrl-C must not wait for the network.
            threading.Thread(target=self._work, daemon=True).start()
        report = self._job.report
        try:
            with _ctrl_c_to(self._events.put):
                self._send()
                while self._under_way:
                    self._hear(self._events.get())
                    self._send()
        finally:
            for _ in range(self._concurrency):
                self._tasks.put(None)
            report.left += len(self._ready) + self._under_way + sum(1 for _ in self._dossiers)
        if not report.left:
            report.stopped = ""
        if self._ending is not None:
            raise self._ending

    def _send(self) -> None:
        while self._ending is None and not self._full and self._under_way < self._concurrency:
            question = self._ready.popleft() if self._ready else self._draw()
            if question is None:
                return
            job = self._job
            request = job.request(question)
            worst = job.worst(request)
            try:
                job.budget.reserve(worst)
            except BudgetSpentError as spent:
                self._ready.appendleft(question)
                self._full, job.report.stopped = True, str(spent)
                return
            call = job.store.calls.open(job.where, PaidQuestion(question.dossier.key, question.stored, worst))
            account = self._put.account(job.budget, worst, partial(self._events.put, _Lost(call, worst)))
            self._tasks.put(_Sent(call, question, request, worst, account))
            self._under_way += 1

    def _draw(self) -> Question | None:
        for dossier in self._dossiers:
            question = self._job.next_question(dossier)
            if question is not None:
                return question
            self._progress()
        return None

    def _work(self) -> None:
        while (sent := self._tasks.get()) is not None:
            result: Answer | BaseException
            try:
                result = self._put.ask(self._client, sent.request, sent.account)
            except BaseException as error:
                # Whatever it was, the caller's thread must hear of it, or it would wait for ever.
                result = error
            self._events.put(_QueueEnded(sent, result))

    def _hear(self, event: _Lost | _QueueEnded | KeyboardInterrupt) -> None:
        job = self._job
        if isinstance(event, KeyboardInterrupt):
            self._stop(event)
            self._notify(
                f"stopping: {self._under_way} answers under way are waited for, since they are paid for; Ctrl-C again "
                "leaves at once"
            )
            return
        if isinstance(event, _Lost):
            job.store.calls.reserve_more(event.call, event.worst)
            return
        self._under_way -= 1
        sent, result = event.sent, event.result
        if isinstance(result, Answer):
            cost = sent.account.close(job.tariff.cost(result.usage))
            following = job.answered(sent.call, sent.question, result, cost)
            if following is not None:
                self._ready.append(following)
            else:
                self._progress()
            self._full = False
            return
        cost = sent.account.close(0.0)
        self._full = False
        if isinstance(result, UnscoredError):
            job.failed(sent.call, sent.question, str(result), cost)
            self._progress()
            if job.hopeless:
                self._stop(ApiError(f"stopped after several failures in a row: {result}; try again later"))
            return
        job.put_back(sent.call, cost)
        self._ready.append(sent.question)
        if not isinstance(result, BudgetSpentError):
            self._stop(result)

    def _stop(self, why: BaseException) -> None:
        if self._ending is None or isinstance(why, KeyboardInterrupt):
            self._ending = why
