"""The one place that talks to the Anthropic API: key, client, retries, and what an attempt may have cost.

The SDK retries what can pass: rate limits (honouring ``retry-after``), overload, server errors, dropped connections.
It does so out of sight, so a ``Meter`` sits inside its loop. An attempt that was answered with an error costs nothing;
one whose answer never arrived may have been paid for and stays on the account at its worst case.

The key comes from the environment, goes into a header, and is cut out of every text that leaves this module.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from anthropic import (
    Anthropic,
    AnthropicError,
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    Middleware,
    RetryableError,
)
from pydantic import ValidationError

from mlxintro.backends.errors import KnownError, PrerequisiteError
from mlxintro.grading.claude.budget import Account, Budget
from mlxintro.grading.claude.questions import Answer, UnscoredError
from mlxintro.grading.claude.wire import open_http

if TYPE_CHECKING:
    from anthropic import APIRequest, APIResponse
    from anthropic._middleware import CallNext

KEY = "ANTHROPIC_API_KEY"
TIMEOUT = 180.0
"""Seconds an attempt may take: long, because a question that is given up is asked, and paid for, again."""
RETRIES = 8
NEVER_SENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout"})
MAYBE_PAID = frozenset({408, 504})
_FATAL = {
    401: f"the API does not accept the key in {KEY}: set another",
    402: "the account cannot pay: see its billing page",
    403: "the key has no access to this: use another key or model",
}


class ApiError(KnownError):
    """The API cannot be used as things stand; asking about another reply would not help."""


def open_client() -> Anthropic:
    """Return a client with the key from the environment; ``ANTHROPIC_BASE_URL`` is honoured.

    Raises:
        PrerequisiteError: there is no key.
    """
    key = os.environ.get(KEY, "").strip()
    if not key:
        raise PrerequisiteError(f"--grader claude needs a key: set {KEY} (or use --grader rules or --grader local)")
    return Anthropic(api_key=key, timeout=TIMEOUT, max_retries=RETRIES, http_client=open_http(TIMEOUT))


def scrub(text: str) -> str:
    """Return a text without the key."""
    key = os.environ.get(KEY, "").strip()
    return text.replace(key, f"[{KEY}]") if key else text


def explain(error: AnthropicError) -> str:
    """Return what happened, in one line."""
    if isinstance(error, APIStatusError):
        said = error.api_message or error.response.reason_phrase
        return scrub(f"HTTP {error.status_code}: {' '.join(str(said).split())}"[:400])
    if isinstance(error, APITimeoutError):
        return f"no answer within {TIMEOUT:.0f} s"
    if isinstance(error, APIConnectionError):
        return scrub(f"no connection ({type(error.__cause__ or error).__name__})")
    return scrub(" ".join(str(error).split())[:400])


def fatal(error: AnthropicError, model: str) -> ApiError | None:
    """Return the error that ends the whole pass, when this is one."""
    if isinstance(error, APIStatusError):
        if error.status_code in _FATAL:
            return ApiError(f"{_FATAL[error.status_code]} ({explain(error)})")
        if 300 <= error.status_code < 400:
            return ApiError(f"the API's host redirects elsewhere, which is not followed ({explain(error)})")
        if error.status_code == 404:
            return ApiError(f"the API knows no model {model!r}: choose another with --model ({explain(error)})")
    return None


class Meter(Account, Middleware):
    """Follows one question through the SDK's attempts, and counts what each costs."""

    def __init__(self, budget: Budget, worst: float, on_lost: Callable[[], None]) -> None:
        """See ``Account``."""
        super().__init__(budget, worst, on_lost)
        self.answer: Answer | None = None

    def handle(self, request: APIRequest, call_next: CallNext) -> APIResponse[Any]:
        """Send one attempt.

        Raises:
            BudgetSpentError: the budget does not cover another one.
            RetryableError: the answer is damaged.
        """
        self.begin()
        try:
            response = call_next(request)
        except APIConnectionError as error:
            if type(error.__cause__).__name__ not in NEVER_SENT:
                self.lose()
            raise
        if response.status_code in MAYBE_PAID:
            self.lose()
        elif response.http_response.is_success:
            try:
                self.answer = Answer.model_validate_json(response.http_response.text)
            except ValidationError:
                self.lose()
                raise RetryableError("the API's answer arrived damaged") from None
        return response


def ask(client: Anthropic, request: dict[str, Any], meter: Meter) -> Answer:
    """Put one question, with retries.

    Raises:
        UnscoredError: it stayed without an answer, but another question may get one.
        ApiError: no question will get one.
        BudgetSpentError: an attempt was lost and the budget does not cover another.
    """
    try:
        client.with_options(middleware=(meter,)).messages.create(**request)
    except AnthropicError as error:
        raise fatal(error, request["model"]) or UnscoredError(f"the API failed: {explain(error)}") from None
    return cast(Answer, meter.answer)
