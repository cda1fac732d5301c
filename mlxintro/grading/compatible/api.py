"""The one place that talks to an OpenAI-compatible endpoint: key, client, retries, and what an attempt may have cost.

The SDK's own retries are off, because a budget must see every attempt. What can pass is tried again: rate limits
(honouring ``retry-after``), overload, server errors, dropped connections, damaged answers.
"""

from __future__ import annotations

import ipaddress
import os
import random
import time
from typing import Any
from urllib.parse import urlsplit

from openai import APIConnectionError, APIStatusError, APITimeoutError, OpenAI, OpenAIError
from pydantic import ValidationError

from mlxintro.backends.errors import PrerequisiteError, UsageError
from mlxintro.grading.claude.api import MAYBE_PAID, NEVER_SENT, RETRIES, TIMEOUT, ApiError
from mlxintro.grading.claude.budget import Account
from mlxintro.grading.claude.live import Put
from mlxintro.grading.claude.prices import Usage
from mlxintro.grading.claude.questions import MAX_TOKENS, Answer, UnscoredError, size
from mlxintro.grading.claude.wire import open_http
from mlxintro.grading.compatible.questions import read_completion

KEY = "OPENAI_API_KEY"
LONGEST_WAIT = 30.0
"""Seconds between two attempts at most, unless the server asks for more."""
_PASSES = frozenset({408, 409, 425, 429})
_FATAL = {
    401: f"the endpoint does not accept the key in {KEY}: set another",
    402: "the account cannot pay: see its billing page",
    403: "the key has no access to this: use another key or model",
}


def is_local(base_url: str) -> bool:
    """Tell whether an endpoint is on this machine or in a private network, where nobody bills."""
    host = urlsplit(base_url).hostname or ""
    if host == "localhost" or host.endswith((".local", ".localhost")):
        return True
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return False


def open_client(base_url: str) -> OpenAI:
    """Return a client for an endpoint; the key comes from the environment, and a local endpoint needs none.

    Raises:
        UsageError: the address is none of HTTP.
        PrerequisiteError: there is no key, and the endpoint is not local.
    """
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"--base-url {base_url!r} is no address: write http://localhost:11434/v1 or the like")
    key = os.environ.get(KEY, "").strip()
    if not key and not is_local(base_url):
        raise PrerequisiteError(f"--grader openai needs a key for {parts.hostname}: set {KEY}")
    return OpenAI(
        api_key=key or "none", base_url=base_url, timeout=TIMEOUT, max_retries=0, http_client=open_http(TIMEOUT)
    )


def scrub(text: str) -> str:
    """Return a text without the key."""
    key = os.environ.get(KEY, "").strip()
    return text.replace(key, f"[{KEY}]") if key else text


def explain(error: OpenAIError) -> str:
    """Return what happened, in one line."""
    if isinstance(error, APIStatusError):
        return scrub(f"HTTP {error.status_code}: {' '.join(str(error.message).split())}"[:400])
    if isinstance(error, APITimeoutError):
        return f"no answer within {TIMEOUT:.0f} s"
    if isinstance(error, APIConnectionError):
        return scrub(f"no connection ({type(error.__cause__ or error).__name__})")
    return scrub(" ".join(str(error).split())[:400])


def ask(client: OpenAI, request: dict[str, Any], account: Account) -> Answer:
    """Put one question, with retries.

    Raises:
        UnscoredError: it stayed without an answer, but another question may get one.
        ApiError: no question will get one.
        BudgetSpentError: an attempt was lost and the budget does not cover another.
    """
    failed = ""
    for attempt in range(RETRIES + 1):
        account.begin()
        wait = min(LONGEST_WAIT, 0.5 * 2**attempt) * random.uniform(0.75, 1.0)
        try:
            raw = client.chat.completions.with_raw_response.create(**request)
            return read_completion(raw.text, unreported=Usage(input_tokens=size(request), output_tokens=MAX_TOKENS))
        except ValidationError:
            account.lose()
            failed = "the answer arrived damaged"
        except APIConnectionError as error:
            if type(error.__cause__).__name__ not in NEVER_SENT:
                account.lose()
            failed = explain(error)
        except APIStatusError as error:
            if error.status_code in MAYBE_PAID:
                account.lose()
            failed = explain(error)
            _raise_if_final(error, request["model"])
            wait = _asked_wait(error, wait)
        except OpenAIError as error:
            raise UnscoredError(f"the endpoint failed: {explain(error)}") from None
        if attempt < RETRIES:
            time.sleep(wait)
    raise UnscoredError(f"the endpoint failed: {failed}")


def _raise_if_final(error: APIStatusError, model: str) -> None:
    if error.status_code in _FATAL:
        raise ApiError(f"{_FATAL[error.status_code]} ({explain(error)})") from None
    if 300 <= error.status_code < 400:
        raise ApiError(f"the endpoint redirects elsewhere, which is not followed: check --base-url ({explain(error)})")
    if error.status_code == 404:
        raise ApiError(f"the endpoint knows no model {model!r}: choose another with --model ({explain(error)})")
    if error.status_code < 500 and error.status_code not in _PASSES:
        raise UnscoredError(f"the endpoint failed: {explain(error)}") from None


def _asked_wait(error: APIStatusError, wait: float) -> float:
    """Seconds until the next attempt: what the server asks for, if it asks for a sensible time."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            asked = float(error.response.headers.get(name, "")) / unit
        except ValueError:
            continue
        if 0 <= asked <= 120:
            return asked
    return wait


put_to_endpoint = Put(Account, ask)
