"""The HTTP client under both SDKs: it follows no redirect, and an attempt ends when its time is up."""

from __future__ import annotations

import time

import httpx2


class AttemptTransport(httpx2.HTTPTransport):
    """Reads an answer whole, within a time limit for the attempt and not only for each read.

    A server that sends a byte a minute never lets a read time out; the limit here does not start anew with each byte.
    """

    def __init__(self, seconds: float) -> None:
        """
        Args:
            seconds: from sending the request to the last byte of its answer.
        """
        super().__init__()
        self._seconds = seconds

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request.

        Raises:
            httpx2.ReadTimeout: the answer was not complete in time.
        """
        end = time.monotonic() + self._seconds
        response = super().handle_request(request)
        parts: list[bytes] = []
        try:
            for part in response.iter_raw():
                parts.append(part)
                if time.monotonic() > end:
                    raise httpx2.ReadTimeout(f"no complete answer within {self._seconds:.0f} s", request=request)
        finally:
            response.close()
        return httpx2.Response(
            response.status_code,
            headers=response.headers,
            stream=httpx2.ByteStream(b"".join(parts)),
            extensions=response.extensions,
            request=request,
        )


def open_http(seconds: float) -> httpx2.Client:
    """Return a client for an SDK. Redirects are not followed.

    They would carry replies, and the key, to another host.
    """
    return httpx2.Client(transport=AttemptTransport(seconds), timeout=seconds, follow_redirects=False)
