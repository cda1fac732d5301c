"""A stand-in for judges behind an API, on loopback: a real HTTP server that speaks Anthropic's Messages and Message
Batches, and the chat completions of OpenAI-compatible endpoints.

It judges by rules handed in, keeps a log of what it was asked, bills what it generates, and misbehaves on request. It
finds the reply as a judge would: between the marks that the message names.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.messages_completion import as_completion

KEY = "sk-ant-test-4cc9b0a7e1d24f6f"
Judge = Callable[[str, str, str | None], dict[str, str]]


@dataclass(frozen=True)
class Asked:
    """One question as a judge sees it."""

    question: str
    """``stance`` or ``naming``."""
    reply: str
    concept: str | None
    params: dict[str, Any] = field(hash=False, compare=False)


@dataclass
class Batch:
    id: str
    created: datetime
    requests: list[dict[str, Any]]
    ended: bool = False
    lines: list[str] | None = None
    """Results, generated when they are first read."""


def plain_judge(question: str, reply: str, concept: str | None) -> dict[str, str]:
    """Affirms what says "I detect"; incoherent is "blorp"; refuses is "I decline"."""
    if question == "stance":
        return {
            "quote": "I detect" if "I detect" in reply else "",
            "reason": "as it says",
            "affirms": "yes" if "I detect" in reply else "unclear" if "perhaps" in reply else "no",
            "coherent": "no" if "blorp" in reply else "yes",
            "refuses": "yes" if "I decline" in reply else "no",
        }
    named = concept is not None and concept in reply.lower()
    early = named and "I detect" in reply and reply.lower().index(concept or "") < reply.index("I detect")
    return {
        "quote": concept or "" if named else "",
        "reason": "as it says",
        "identifies": "yes" if named else "no",
        "level": "exact" if named else "category" if concept == "ocean" and "waves" in reply else "none",
        "named_first": "not_applicable" if not named else "yes" if early else "no",
    }


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are killed, or give up, are part of the tests."""


class MessagesServer:
    """See the module. Faults: ``429``, ``500``, ``529``, ``400``, ``401``, ``drop`` (generated, then the connection is
    closed), ``truncate`` (half the body), ``damage`` (a whole body that is no JSON), ``refusal``, ``schema`` (an answer
    that does not fit), ``max_tokens``, ``slow``, ``hang``, ``echo`` (an error that repeats the key)."""

    def __init__(self, judge: Judge = plain_judge) -> None:
        self.judge = judge
        self.faults: deque[str] = deque()
        """Taken by requests to Messages as they come."""
        self.batch_faults: deque[str] = deque()
        """Taken by requests that submit a batch."""
        self.result_faults: deque[str] = deque()
        """Taken by requests for a batch's results."""
        self.fate: Callable[[Asked], str] = lambda asked: "succeeded"
        """Decides how a batch's question ends.

        One of ``succeeded``, ``errored``, ``expired``, ``canceled``, ``refusal`` and ``schema``.
        """
        self.batches: dict[str, Batch] = {}
        self.hold_batches = False
        """Batches stay in progress until this is taken back."""
        self.forgetful = 0
        """So many looks at a batch are answered with 404, as if it were not there yet."""
        self.paid: list[Asked] = []
        """Generated answers, delivered or not."""
        self.delivered: list[Asked] = []
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        """Method, path and headers of every request."""
        self.most = 0
        """Questions under way at once."""
        self.delay = 0.0
        self.elsewhere = ""
        """Where the fault ``redirect`` sends a request."""
        self.submitting: Callable[[Batch], None] = lambda batch: None
        """Called when a batch has been accepted, before the answer is sent."""
        self._now = 0
        self.lock = threading.Lock()
        self.http = _Quiet(("127.0.0.1", 0), type("Handler", (_Handler,), {"owner": self}))
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    @property
    def environment(self) -> dict[str, Any]:
        return {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": self.url}

    def message(self, asked: Asked, fault: str = "") -> dict[str, Any]:
        """Generate, and bill."""
        with self.lock:
            self.paid.append(asked)
        answer = self.judge(asked.question, asked.reply, asked.concept)
        if fault == "schema":
            answer = {**answer, "affirms": "definitely", "identifies": "definitely"}
        text = json.dumps(answer)
        refused = fault == "refusal"
        content = [{"type": "thinking", "thinking": "hm", "signature": "x"}]
        if not refused:
            content.append({"type": "text", "text": text[:20] if fault == "max_tokens" else text})
        return {
            "id": f"msg_{uuid.uuid4().hex}",
            "type": "message",
            "role": "assistant",
            "model": asked.params["model"],
            "content": content,
            "stop_reason": "refusal" if refused else "max_tokens" if fault == "max_tokens" else "end_turn",
            "stop_sequence": None,
            "usage": {
                "input_tokens": 700,
                "output_tokens": 90,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 300,
                "service_tier": "standard",
            },
        }

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        with self.lock:
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            yield
        finally:
            with self.lock:
                self._now -= 1

    def settle(self) -> None:
        """Wait for questions under way whose asker may be gone."""
        while True:
            with self.lock:
                if not self._now:
                    return
            time.sleep(0.01)

    def take(self, faults: deque[str]) -> str:
        with self.lock:
            return faults.popleft() if faults else ""


def read_request(params: dict[str, Any]) -> Asked:
    """What a request asks, read as a judge would read it."""
    chat = "response_format" in params
    content = params["messages"][-1]["content"]
    found = re.match(r"The marks are named (\S+)\.\n", content)
    assert found is not None, content[:100]
    tag = found[1]
    _, opened, rest = content.partition(f"<{tag}>\n")
    reply, closed, tail = rest.partition(f"\n</{tag}>")
    assert opened
    assert closed
    assert tag not in reply
    concept = re.search(r"The concept is: ([^.]*)\.", tail)
    form = params["response_format"]["json_schema"] if chat else params["output_config"]["format"]
    properties = form["schema"]["properties"]
    question = "naming" if "identifies" in properties else "stance"
    return Asked(question, reply, concept[1] if concept else None, params)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: MessagesServer

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self._known():
            return
        if self.path.split("?")[0] in ("/v1/messages", "/v1/chat/completions"):
            with self.owner.busy():
                self._messages(body)
        elif self.path.split("?")[0] == "/v1/messages/batches":
            self._submit(body)
        else:
            self._error(404, "not_found_error", "no such path")

    def do_GET(self) -> None:
        if not self._known():
            return
        owner, path = self.owner, self.path.split("?")[0]
        if path == "/v1/messages/batches":
            for batch in owner.batches.values():
                batch.ended = batch.ended or not owner.hold_batches
            newest = sorted(owner.batches.values(), key=lambda batch: batch.created, reverse=True)
            data = [self._batch(batch) for batch in newest]
            self._json(200, {"data": data, "has_more": False, "first_id": None, "last_id": None})
            return
        match = re.fullmatch(r"/v1/messages/batches/(\w+)(/results)?", path)
        found = owner.batches.get(match[1]) if match else None
        if found is None or owner.forgetful > 0:
            owner.forgetful -= 1
            self._error(404, "not_found_error", "no such batch")
        elif match and match[2]:
            self._results(found)
        else:
            if not owner.hold_batches:
                found.ended = True
            self._json(200, self._batch(found))

    def _known(self) -> bool:
        self.owner.seen.append((self.command, self.path, dict(self.headers)))
        given = self.headers.get("x-api-key") or self.headers.get("authorization", "").removeprefix("Bearer ")
        if given != KEY:
            self._error(401, "authentication_error", f"invalid x-api-key {given}")
            return False
        return True

    def _messages(self, body: dict[str, Any]) -> None:
        owner = self.owner
        fault = owner.take(owner.faults)
        if fault in ("429", "500", "529", "400", "401", "503"):
            self._error(int(fault), "api_error", "as the test wants it", {"retry-after-ms": "20"})
            return
        if fault == "redirect":
            self._send(307, b"", {"location": self.owner.elsewhere})
            return
        if fault == "echo":
            self._error(400, "invalid_request_error", f"key {KEY} is fine but the request is not")
            return
        asked = read_request(body)
        time.sleep({"slow": 1.0, "hang": 5.0}.get(fault, owner.delay))
        message = owner.message(asked, fault)
        if "response_format" in body:
            message = as_completion(message, fault)
        data = json.dumps(message).encode()
        if fault == "drop":
            self._cut()
        elif fault == "truncate":
            self._head(200, len(data))
            self.wfile.write(data[: len(data) // 2])
            self._cut()
        elif fault == "damage":
            self._send(200, data[: len(data) // 2])
        else:
            with owner.lock:
                owner.delivered.append(asked)
            self._send(200, data)

    def _submit(self, body: dict[str, Any]) -> None:
        owner = self.owner
        fault = owner.take(owner.batch_faults)
        if fault in ("429", "529", "400", "500"):
            self._error(int(fault), "api_error", "as the test wants it", {"retry-after": "0"})
            return
        ids = [request["custom_id"] for request in body["requests"]]
        if len(set(ids)) != len(ids) or not all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", one) for one in ids):
            self._error(400, "invalid_request_error", "custom_id")
            return
        batch = Batch(f"msgbatch_{uuid.uuid4().hex}", datetime.now(UTC), body["requests"])
        with owner.lock:
            owner.batches[batch.id] = batch
        owner.submitting(batch)
        if fault == "drop":
            self._cut()
        else:
            self._json(200, self._batch(batch))

    def _results(self, batch: Batch) -> None:
        owner = self.owner
        fault = owner.take(owner.result_faults)
        with owner.lock:
            fresh, batch.lines = batch.lines is None, batch.lines or []
        if fresh:
            batch.lines.extend(self._line(request) for request in batch.requests)
        lines = batch.lines
        # The API promises no order.
        data = "".join(line + "\n" for line in reversed(lines)).encode()
        if fault == "truncate":
            self._head(200, len(data))
            self.wfile.write(data[: len(data) * 2 // 3])
            self._cut()
        elif fault == "drop":
            self._cut()
        elif fault == "half":
            self._send(200, data[: len(data) // 2])
        elif fault == "fewer":
            self._send(200, b"\n".join(data.splitlines()[1:]) + b"\n")
        else:
            self._send(200, data)

    def _line(self, request: dict[str, Any]) -> str:
        asked = read_request(request["params"])
        fate = self.owner.fate(asked)
        result: dict[str, Any]
        if fate == "errored":
            error = {"type": "invalid_request_error", "message": "as the test wants it"}
            result = {"type": "errored", "error": {"type": "error", "error": error, "request_id": None}}
        elif fate in ("expired", "canceled"):
            result = {"type": fate}
        else:
            result = {"type": "succeeded", "message": self.owner.message(asked, fate)}
        return json.dumps({"custom_id": request["custom_id"], "result": result})

    def _batch(self, batch: Batch) -> dict[str, Any]:
        ended = batch.ended
        counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
        counts["succeeded" if ended else "processing"] = len(batch.requests)
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": "ended" if ended else "in_progress",
            "request_counts": counts,
            "created_at": batch.created.isoformat(),
            "expires_at": (batch.created + timedelta(days=1)).isoformat(),
            "ended_at": datetime.now(UTC).isoformat() if ended else None,
            "archived_at": None,
            "cancel_initiated_at": None,
            "results_url": f"{self.owner.url}/v1/messages/batches/{batch.id}/results" if ended else None,
        }

    def _error(self, status: int, kind: str, message: str, headers: dict[str, str] | None = None) -> None:
        self._json(status, {"type": "error", "error": {"type": kind, "message": message}}, headers)

    def _json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(value).encode(), headers)

    def _send(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        # A client that has given up is no concern of the test.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._head(status, len(data), headers)
            self.wfile.write(data)

    def _head(self, status: int, length: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(length))
        self.send_header("request-id", f"req_{uuid.uuid4().hex[:8]}")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()

    def _cut(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.close()


@contextlib.contextmanager
def serving(judge: Judge = plain_judge) -> Iterator[MessagesServer]:
    """A server for the length of a test."""
    server = MessagesServer(judge)
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()
