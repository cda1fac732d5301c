"""Brings the large files of a model into the hub's cache: continued where an earlier process stopped, and verified."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ...errors import ModelError

DownloadProgress = Callable[[int, int, str], None]
"""Called with bytes on disk, bytes in all, and the file that grew; from one thread at a time."""

_PARALLEL = 4


@dataclass(frozen=True, slots=True)
class RemoteFile:
    name: str
    size: int
    sha256: str | None
    """Check sum of a large file; small files are versioned by git and have none."""


@dataclass(frozen=True, slots=True)
class Remote:
    """Says what the hub would send for a model."""

    repository: str
    revision: str
    commit: str
    files: tuple[RemoteFile, ...]

    @property
    def total_bytes(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def weight_bytes(self) -> int:
        return sum(file.size for file in self.files if file.name.endswith(".safetensors"))


class FetchStopped(Exception):
    """Another file of the same download failed, or the user gave up."""


class FileTransfer:
    """Brings the large files of one model into the cache."""

    def __init__(self, remote: Remote, progress: DownloadProgress | None) -> None:
        from huggingface_hub import constants
        from huggingface_hub.file_download import repo_folder_name

        self.remote = remote
        self.progress = progress
        self.cache = Path(constants.HF_HUB_CACHE).expanduser()
        name = repo_folder_name(repo_id=remote.repository, repo_type="model")
        self.blobs = self.cache / name / "blobs"
        # The library's own lock files: it and this module keep out of each other's way.
        self.locks = self.cache / ".locks" / name
        self.large = [file for file in remote.files if file.sha256 is not None]
        self.done = 0
        self.stop = threading.Event()
        self.guard = threading.Lock()

    def run(self) -> None:
        for folder in (self.blobs, self.locks):
            folder.mkdir(parents=True, exist_ok=True)
        missing = sum(file.size - self._on_disk(file) for file in self.large)
        free = shutil.disk_usage(self.blobs).free
        if missing > free:
            raise ModelError(
                f"{self.remote.repository} needs {missing / 1e9:.1f} GB more on disk, {free / 1e9:.1f} GB are free in "
                f"{self.cache}: make room, or point HF_HOME at a larger disk"
            )
        with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="fetch") as pool:
            futures = [pool.submit(self._fetch, file) for file in self.large]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                self.stop.set()
                pool.shutdown(cancel_futures=True)
        failures = [error for future in futures if not future.cancelled() and (error := future.exception())]
        # The first failure is the reason; the others merely stopped because of it.
        for error in sorted(failures, key=lambda error: isinstance(error, FetchStopped)):
            raise error
        self.stop.clear()

    def grow(self, count: int, file: str) -> None:
        if self.stop.is_set():
            raise FetchStopped
        with self.guard:
            self.done += count
            if self.progress is not None:
                self.progress(self.done, self.remote.total_bytes, file)

    def finish(self) -> None:
        self.grow(self.remote.total_bytes - self.done, self.remote.files[-1].name)

    def _partial(self, file: RemoteFile) -> Path:
        return self.blobs / f"{file.sha256}.mlxintro.incomplete"

    def _on_disk(self, file: RemoteFile) -> int:
        if (self.blobs / str(file.sha256)).exists():
            return file.size
        partial = self._partial(file)
        return min(partial.stat().st_size, file.size) if partial.exists() else 0

    def _fetch(self, file: RemoteFile) -> None:
        from filelock import FileLock
        from huggingface_hub import hf_hub_url
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        blob, partial = self.blobs / str(file.sha256), self._partial(file)
        with FileLock(self.locks / f"{file.sha256}.lock"):
            if blob.exists():
                self.grow(file.size, file.name)
                return
            partial.touch()
            with partial.open("r+b") as raw:
                target = _Verified(raw, lambda count: self.grow(count, file.name))
                http_get(
                    hf_hub_url(self.remote.repository, file.name, revision=self.remote.commit),
                    target,  # type: ignore[arg-type]  # it writes, seeks, tells and truncates: all that is asked of it
                    resume_size=target.tell(),
                    headers={**build_hf_headers(), "Accept-Encoding": "identity"},
                    expected_size=file.size,
                    tqdm_class=silent(),
                )
            if target.hexdigest() != file.sha256:
                partial.unlink()
                raise ModelError(
                    f"{file.name} of {self.remote.repository} arrived damaged and was removed: fetch the model again"
                )
            os.replace(partial, blob)


class _Verified:
    """Writes a partial file and hashes what it holds: first what is there, then what is added."""

    def __init__(self, raw: BinaryIO, grow: Callable[[int], None]) -> None:
        self._raw = raw
        self._grow = grow
        self._digest = hashlib.sha256()
        while chunk := raw.read(2**20):
            self._digest.update(chunk)
            grow(len(chunk))

    def write(self, chunk: bytes) -> int:
        self._grow(len(chunk))
        self._digest.update(chunk)
        return self._raw.write(chunk)

    def tell(self) -> int:
        return self._raw.tell()

    def seek(self, position: int) -> int:
        return self._raw.seek(position)

    def truncate(self) -> int:
        """Only ever to nothing: the server ignored the range and starts over."""
        position = self._raw.tell()
        if position:
            raise ValueError(f"cannot restart a download at byte {position}")
        self._grow(-self._raw.seek(0, os.SEEK_END))
        self._raw.seek(0)
        self._digest = hashlib.sha256()
        return self._raw.truncate(0)

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def silent() -> Any:
    """Return a progress bar that shows nothing, without switching off anybody else's."""
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    class Silent(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})  # type: ignore[no-untyped-call]

    return Silent
