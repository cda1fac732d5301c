"""Asking Claude through the Message Batches API: half the price for up to a day of patience.

What a batch holds is recorded before it is submitted, and its id as soon as the API has told it. Between the two lies a
gap that the API cannot close, because it takes no key that would make submitting idempotent. A batch that was lost in
this gap is looked for among those the API lists: same size, created since, and results whose ``custom_id`` begins with
our token. The API shows results only once a batch has ended, so a batch that might be ours is waited for; only when
none can be is the batch taken never to have arrived, and its questions are asked again.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from anthropic import AnthropicError, APIStatusError, RateLimitError
from pydantic import BaseModel, ValidationError

from mlxintro.backends.errors import KnownError
from mlxintro.grading.claude.api import ApiError, explain, fatal
from mlxintro.grading.claude.budget import BudgetSpentError
from mlxintro.grading.claude.passes import ClaudePass, Question
from mlxintro.grading.claude.questions import Answer, Dossier, size
from mlxintro.store.calls import Call, PaidBatch, PaidQuestion

if TYPE_CHECKING:
    from anthropic import Anthropic
    from anthropic.types.messages import MessageBatch

LARGEST = 10_000
"""Questions per batch; the API admits ten times as many."""
HEAVIEST = 100_000_000
"""Bytes per batch; the API admits 256 MB."""
GRACE = 20.0
"""Seconds after which the API's list is believed: it may lag behind what it has accepted."""
CLOCKS = timedelta(minutes=10)
"""By how much this machine's clock may differ from the API's."""
SLOWEST = 60.0
"""Seconds between two looks at a batch that takes its time."""
_NOT_ACCEPTED = frozenset({429, 503, 529})
"""Answers after which a batch certainly does not exist, and another attempt makes sense."""
_ATTEMPTS = 6

Notify = Callable[[str], None]


class _BatchFailure(BaseModel):
    type: str = "error"
    message: str = ""


class _BatchError(BaseModel):
    error: _BatchFailure = _BatchFailure()


class _BatchResult(BaseModel):
    type: str
    message: Answer | None = None
    error: _BatchError = _BatchError()


class _BatchLine(BaseModel):
    custom_id: str
    result: _BatchResult


class BatchRunner:
    """Submits, waits and collects, from wherever an earlier process left off."""

    def __init__(
        self,
        job: ClaudePass,
        client: Anthropic,
        *,
        notify: Notify,
        progress: Callable[[], None] | None = None,
        grace: float = GRACE,
    ) -> None:
        """
        Args:
            notify: told in a line what is being waited for.
            progress: called after each grade.
        """
        self._job, self._client, self._notify, self._grace = job, client, notify, grace
        self._progress = progress or (lambda: None)

    def run(self, dossiers: Callable[[], Iterator[Dossier]], *, wait: bool = True) -> None:
        """Grade these replies; what happened is in ``job.report``.

        Args:
            dossiers: replies without a grade, read anew whenever a batch has come back.
            wait: otherwise batches are submitted, or collected where they have ended, and left.

        Raises:
            ApiError: the API cannot be used.
        """
        while True:
            if not self.collect(wait=wait):
                self._job.report.left = sum(1 for _ in dossiers())
                return
            submitted = self._submit_all(dossiers())
            if not submitted:
                return

    def collect(self, *, wait: bool) -> bool:
        """Settle what earlier submissions have brought.

        Returns:
            Whether nothing is under way any more.
        """
        job = self._job
        clear = True
        for where, batch in job.store.calls.batches(job.run.id, job.grader.name, "intent", "open"):
            if where != job.where:
                self._notify(
                    f"batch {batch.remote or batch.token} belongs to {where.version}: collect it with that model and "
                    "rubric, or give it up with --abandon"
                )
                continue
            remote = batch.remote if batch.state == "open" else self._reconcile(batch, wait=wait)
            if remote is None:
                clear = clear and not job.store.calls.of_batch(batch.id)
                continue
            results = self._wait_for(remote, batch, wait=wait)
            if results is None:
                clear = False
            else:
                self._read(remote, results, batch)
        return clear

    def _submit_all(self, dossiers: Iterator[Dossier]) -> bool:
        submitted, left = False, 0
        chunk: list[tuple[Question, dict[str, Any], float]] = []
        heavy, full = 0, False
        job = self._job
        for dossier in dossiers:
            if full:
                left += 1
                continue
            question = job.next_question(dossier)
            if question is None:
                self._progress()
                continue
            request = job.request(question)
            worst = job.worst(request)
            try:
                job.budget.reserve(worst)
            except BudgetSpentError as spent:
                full, left = True, 1
                job.report.stopped = str(spent)
                continue
            chunk.append((question, request, worst))
            heavy += size(request)
            if len(chunk) == LARGEST or heavy > HEAVIEST:
                self._submit(chunk)
                submitted, chunk, heavy = True, [], 0
        if chunk:
            self._submit(chunk)
            submitted = True
        if not submitted:
            # Otherwise what comes back may free some of the budget, and the rest gets another chance.
            job.report.left = left
            if not left:
                job.report.stopped = ""
        return submitted

    def _submit(self, chunk: list[tuple[Question, dict[str, Any], float]]) -> None:
        job = self._job
        token = secrets.token_hex(8)
        asks = [PaidQuestion(question.dossier.key, question.stored, worst) for question, _, worst in chunk]
        batch, calls = job.store.calls.open_batch(job.where, token, asks)
        for _, _, worst in chunk:
            # Settled when it is collected; until then all of it counts as spent.
            job.budget.settle(worst, worst)
        requests = [
            {"custom_id": f"{token}-{call}", "params": request}
            for call, (_, request, _) in zip(calls, chunk, strict=True)
        ]
        remote = self._create(batch, requests)
        if remote is not None:
            job.store.calls.batch_submitted(batch.id, remote)
            self._notify(f"batch {remote}: {len(chunk)} questions submitted")

    def _create(self, batch: PaidBatch, requests: list[Any]) -> str | None:
        """Submit once. ``None`` when the API's answer did not arrive: then it is looked for."""
        # The SDK must not retry: after a dropped connection that would submit everything a second time.
        once = self._client.with_options(max_retries=0)
        for attempt in range(_ATTEMPTS):
            try:
                return once.messages.batches.create(requests=requests).id
            except APIStatusError as error:
                if error.status_code in _NOT_ACCEPTED and attempt < _ATTEMPTS - 1:
                    time.sleep(_delay(error, attempt))
                    continue
                if error.status_code < 500 or error.status_code in _NOT_ACCEPTED:
                    self._never_arrived(batch)
                    model = self._job.grader.model
                    raise fatal(error, model) or ApiError(f"the batch was not accepted: {explain(error)}") from None
                self._notify(f"submitting failed ({explain(error)}): looking whether the batch arrived")
                return None
            except AnthropicError as error:
                self._notify(f"submitting failed ({explain(error)}): looking whether the batch arrived")
                return None
        return None

    def _reconcile(self, batch: PaidBatch, *, wait: bool) -> str | None:
        """Find the batch of an intent at the API, or learn that it never arrived."""
        created = datetime.fromisoformat(batch.created)
        delay, told = 1.0, False
        while True:
            age = (datetime.now(UTC) - created).total_seconds()
            maybe = False
            for remote in self._candidates(batch, created - CLOCKS):
                if remote.processing_status != "ended":
                    maybe = True
                elif self._is_ours(remote, batch):
                    self._job.store.calls.batch_submitted(batch.id, remote.id)
                    self._notify(f"batch {remote.id} is the one submitted before: going on with it")
                    return remote.id
            if not maybe and age >= self._grace:
                self._never_arrived(batch)
                return None
            if not wait:
                return None
            if maybe and not told:
                told = True
                self._notify(
                    "a batch of the same size is under way that may be the one submitted before: waiting for it to end"
                )
            time.sleep(delay)
            delay = min(SLOWEST, 1.5 * delay)

    def _candidates(self, batch: PaidBatch, since: datetime) -> list[MessageBatch]:
        known = self._job.store.calls.submitted()
        found = []
        try:
            for remote in self._client.messages.batches.list(limit=100):
                if remote.created_at < since:
                    break
                counts = remote.request_counts
                total = counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired
                if remote.id not in known and total == batch.size:
                    found.append(remote)
        except AnthropicError as error:
            raise self._unusable(error) from None
        return found

    def _is_ours(self, remote: MessageBatch, batch: PaidBatch) -> bool:
        if remote.results_url is None:
            return False
        first = next(self._lines(remote.id, remote.results_url), None)
        return first is not None and first.custom_id.startswith(f"{batch.token}-")

    def _never_arrived(self, batch: PaidBatch) -> None:
        job = self._job
        calls = job.store.calls.of_batch(batch.id)
        job.store.calls.finish_batch(batch.id, state="lost", cost=0.0)
        job.budget.settle(0.0, -sum(call.reserved for call in calls.values()))

    def _wait_for(self, remote: str, batch: PaidBatch, *, wait: bool) -> str | None:
        """Where the results are, once the batch has ended; ``None`` when it has not and is not to be waited for."""
        delay, told = 1.0, False
        while True:
            try:
                found = self._client.messages.batches.retrieve(remote)
                if found.processing_status == "ended" and found.results_url:
                    return found.results_url
                if found.archived_at is not None:
                    raise ApiError(f"the results of batch {remote} are gone: give it up with --abandon")
            except APIStatusError as error:
                # The API has been seen not to know a batch for a while after accepting it.
                age = datetime.now(UTC) - datetime.fromisoformat(batch.created)
                if error.status_code != 404 or age > CLOCKS:
                    raise self._unusable(error, remote) from None
            except AnthropicError as error:
                raise self._unusable(error, remote) from None
            if not wait:
                return None
            if not told:
                self._notify(
                    f"batch {remote}: waiting for {batch.size} answers, up to a day; Ctrl-C leaves it running, and the "
                    "same command goes on with it"
                )
                told = True
            time.sleep(delay)
            delay = min(SLOWEST, 1.5 * delay)

    def _read(self, remote: str, results: str, batch: PaidBatch) -> None:
        """Store a batch's results; what was stored before is passed over, so this can be repeated."""
        job = self._job
        waiting = job.store.calls.of_batch(batch.id)
        look_up = job.dossiers()
        for attempt in range(_ATTEMPTS):
            try:
                for line in self._lines(remote, results):
                    token, _, number = line.custom_id.partition("-")
                    call = waiting.pop(int(number), None) if token == batch.token and number.isdigit() else None
                    if call is not None:
                        self._settle(call, look_up(call.key), line.result)
                        self._progress()
            except ValidationError:
                # Cut off in the middle of a line: what came before it is stored.
                pass
            if not waiting:
                break
            if attempt < _ATTEMPTS - 1:
                time.sleep(0.5 * 2**attempt)
        else:
            self._notify(f"batch {remote}: {len(waiting)} of {batch.size} answers are not among its results")
        # Questions without a line are asked again, and what they may have cost stays on the account.
        job.store.calls.finish_batch(batch.id, state="done")

    def _lines(self, remote: str, results: str) -> Iterator[_BatchLine]:
        try:
            # Read whole, so that the SDK's retries cover a connection that breaks half way.
            text = self._client.get(results, cast_to=str, options={"headers": {"Accept": "application/binary"}})
        except AnthropicError as error:
            raise self._unusable(error, remote) from None
        for line in text.splitlines():
            if line.strip():
                yield _BatchLine.model_validate_json(line)

    def _settle(self, call: Call, dossier: Dossier, result: _BatchResult) -> None:
        job = self._job
        question = Question.stored_as(dossier, call.question)
        if result.type == "succeeded" and result.message is not None:
            cost = job.tariff.cost(result.message.usage)
            job.budget.settle(0.0, cost - call.reserved)
            job.answered(call.id, question, result.message, cost)
            return
        job.budget.settle(0.0, -call.reserved)
        said = f": {result.error.error.message}" if result.type == "errored" else ""
        job.failed(call.id, question, f"in the batch the question {_WHAT.get(result.type, result.type)}{said}", 0.0)

    def _unusable(self, error: AnthropicError, remote: str | None = None) -> KnownError:
        if remote is not None and isinstance(error, APIStatusError) and error.status_code == 404:
            return ApiError(
                f"the API does not know batch {remote}: use the key it was submitted with, or give it up with --abandon"
            )
        return fatal(error, self._job.grader.model) or ApiError(
            f"the API failed: {explain(error)}; run the same command again later, nothing is lost"
        )


_WHAT = {"errored": "failed", "expired": "expired", "canceled": "was cancelled"}


def _delay(error: APIStatusError, attempt: int) -> float:
    """Seconds until the next attempt: what the API asks for, else twice as long each time."""
    asked = error.response.headers.get("retry-after", "") if isinstance(error, RateLimitError) else ""
    try:
        return min(600.0, max(0.0, float(asked)))
    except ValueError:
        return min(SLOWEST, float(2**attempt))
