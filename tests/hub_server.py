"""A stand-in for the Hugging Face hub on loopback: a real HTTP server that speaks what ``huggingface_hub`` asks for.

Serves folders as repositories, redirects large files to a storage address as the hub does, honours ranges, keeps a
log of what was asked and sent, and misbehaves on request.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = 10_000
"""Bytes from which a file is kept in large-file storage, with a SHA-256."""


@dataclass(frozen=True)
class Asked:
    """One request for a stored file."""

    method: str
    file: str
    range: str | None
    sent: int


@dataclass
class Repository:
    folder: Path
    gated: bool = False


@dataclass
class Hub:
    """What the server serves and how it misbehaves; tests change it between requests."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    log: list[Asked] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    """Every request, as ``METHOD path``."""
    cut_after: dict[str, list[int]] = field(default_factory=dict)
    """Per file name, after how many bytes the next answers break off."""
    announced: dict[str, int] = field(default_factory=dict)
    """Sizes to claim instead of the true ones."""
    damaged: set[str] = field(default_factory=set)
    """Files that arrive with a changed byte."""
    pause: float = 0.0
    """Seconds between pieces of a megabyte."""
    status: int | None = None
    """Answer everything with this."""
    endpoint: str = ""

    def bytes_sent(self, file: str) -> int:
        return sum(asked.sent for asked in self.log if asked.file == file)

    def ranges(self, file: str) -> list[str | None]:
        return [asked.range for asked in self.log if asked.file == file and asked.method == "GET"]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def git_blob(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        if self.hub.status is not None:
            return self.refuse(self.hub.status, "", "out of order")
        parts = path.strip("/").split("/")
        with contextlib.suppress(ConnectionError):
            if parts[:2] == ["api", "models"]:
                return self.describe("/".join(parts[2:4]), parts[4:])
            if parts[0] == "storage":
                return self.send_file(self.hub.repositories["/".join(parts[1:3])].folder / parts[3])
            if len(parts) >= 5 and parts[2] == "resolve":
                return self.resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
            self.refuse(404, "", "no such page")

    def describe(self, name: str, rest: list[str]) -> None:
        repository = self.hub.repositories.get(name)
        if repository is None:
            return self.refuse(404, "RepoNotFound", "Repository not found")
        if len(rest) > 1 and rest[1] not in ("main", COMMIT):
            return self.refuse(404, "RevisionNotFound", "Invalid rev id")
        files = sorted(path for path in repository.folder.rglob("*") if path.is_file())
        entries = [
            (
                file := path.relative_to(repository.folder).as_posix(),
                path,
                self.hub.announced.get(file, path.stat().st_size),
            )
            for path in files
        ]
        if rest[:1] == ["tree"]:
            return self.send_json(
                [
                    {"type": "file", "path": file, "size": size, "oid": git_blob(path)}
                    | ({"lfs": {"oid": sha256(path), "size": size, "pointerSize": 135}} if size >= LARGE else {})
                    for file, path, size in entries
                ]
            )
        siblings = [
            {"rfilename": file, "size": size, "blobId": git_blob(path)}
            | ({"lfs": {"sha256": sha256(path), "size": size, "pointerSize": 135}} if size >= LARGE else {})
            for file, path, size in entries
        ]
        self.send_json(
            {
                "id": name,
                "modelId": name,
                "sha": COMMIT,
                "private": False,
                "gated": "auto" if repository.gated else False,
                "disabled": False,
                "tags": [],
                "siblings": siblings,
            }
        )

    def resolve(self, name: str, revision: str, file: str) -> None:
        repository = self.hub.repositories.get(name)
        if repository is None:
            return self.refuse(404, "RepoNotFound", "Repository not found")
        if revision not in ("main", COMMIT):
            return self.refuse(404, "RevisionNotFound", "Invalid rev id")
        if repository.gated:
            return self.refuse(403, "GatedRepo", f"Access to model {name} is restricted.")
        path = repository.folder / file
        if not path.is_file():
            return self.refuse(404, "EntryNotFound", "Entry not found")
        if path.stat().st_size < LARGE:
            return self.send_file(path, etag=git_blob(path))
        self.send_response(302)
        self.send_header("Location", f"{self.hub.endpoint}/storage/{name}/{file}")
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("X-Linked-Etag", f'"{sha256(path)}"')
        self.send_header("X-Linked-Size", str(path.stat().st_size))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send_file(self, path: Path, etag: str = "") -> None:
        content = path.read_bytes()
        if path.name in self.hub.damaged:
            content = content[:-1] + bytes([content[-1] ^ 1])
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{etag or sha256(path)}"')
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        sent = 0
        if self.command == "GET":
            cuts = self.hub.cut_after.get(path.name, [])
            stop = min(len(content), start + cuts.pop(0)) if cuts else len(content)
            try:
                for offset in range(start, stop, 2**20):
                    piece = content[offset : min(offset + 2**20, stop)]
                    self.wfile.write(piece)
                    sent += len(piece)
                    time.sleep(self.hub.pause)
            finally:
                self.hub.log.append(Asked(self.command, path.name, wanted, sent))
            if stop < len(content):
                self.close_connection = True

    def send_json(self, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status: int, code: str, message: str) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def serve(repositories: dict[str, Repository]) -> Iterator[Hub]:
    """Run a hub on a free port of loopback. Keys are ``owner/name``."""
    hub = Hub(repositories)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
