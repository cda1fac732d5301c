"""Model files from the Hugging Face hub, into its own cache.

``huggingface_hub`` does the talking and keeps the cache. What it does not do is continue a file that an earlier
process left half downloaded, and with shards of 5 GB that matters: weight files are therefore transferred here, into
a partial file with a stable name, verified against their SHA-256 and handed over as finished blobs. Every failure
becomes one line that names the way out. Knows nothing of aliases, frameworks or memory.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import KnownError, ModelError, UsageError
from . import folders

DownloadProgress = Callable[[int, int, str], None]
"""Called with bytes on disk, bytes in all, and the file that grew; from one thread at a time."""

ALLOWED = ("*.json", "*.jinja", "*.model", "model*.safetensors", "merges.txt")
"""Not the .bin, .pth, .gguf and consolidated copies of the same weights that many repositories hold beside."""
IGNORED = ("*/*", "*.index.fp*.json")

_PARALLEL = 4
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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


def split(model: str) -> tuple[str, str]:
    """Split ``owner/name@revision`` into (``owner/name``, revision); ``main`` when none is given."""
    repository, _, revision = model.partition("@")
    return repository, revision or "main"


def cached(repository: str, revision: str = "main") -> Path | None:
    """Return the folder of a model that is completely on disk; never touches the network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            repository,
            revision=revision,
            local_files_only=True,
            allow_patterns=list(ALLOWED),
            ignore_patterns=list(IGNORED),
        )
    except LocalEntryNotFoundError:
        return _only_snapshot(repository) if revision == "main" else None
    except ValueError as error:
        raise explain(error, repository) from None
    return Path(folder) if folders.is_complete(Path(folder)) else None


def _only_snapshot(repository: str) -> Path | None:
    """The one complete snapshot of a cache that does not say which commit ``main`` is.

    A cache filled by commit, or copied without its ``refs``, is such a one.

    Raises:
        ModelError: there are several.
    """
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    home = Path(constants.HF_HUB_CACHE).expanduser() / repo_folder_name(repo_id=repository, repo_type="model")
    if (home / "refs" / "main").is_file() or not (home / "snapshots").is_dir():
        return None
    complete = [path for path in sorted((home / "snapshots").iterdir()) if path.is_dir() and folders.is_complete(path)]
    if len(complete) > 1:
        choices = " or ".join(f"{repository}@{path.name}" for path in complete[:3])
        raise ModelError(f"{len(complete)} snapshots of {repository} are on disk and none is its main: say {choices}")
    return complete[0] if complete else None


def describe(repository: str, revision: str = "main") -> Remote:
    """Ask the hub which files a model has.

    Raises:
        ModelError: it cannot be reached, or has no such model.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils import filter_repo_objects  # type: ignore[attr-defined]

    try:
        info = HfApi().model_info(repository, revision=revision, files_metadata=True)
    except Exception as error:
        raise explain(error, repository, revision) from None
    found = {s.rfilename: s for s in info.siblings or ()}
    files = tuple(
        RemoteFile(name=name, size=found[name].size or 0, sha256=lfs.sha256 if (lfs := found[name].lfs) else None)
        for name in filter_repo_objects(found, allow_patterns=list(ALLOWED), ignore_patterns=list(IGNORED))
    )
    if not any(file.name.endswith(".safetensors") for file in files):
        raise ModelError(f"{repository} has no model*.safetensors (perhaps GGUF only): choose the original repository")
    return Remote(repository=repository, revision=revision, commit=str(info.sha), files=files)


def config(repository: str, revision: str = "main") -> dict[str, Any]:
    """Return a model's configuration, downloaded alone: to refuse it before its weights are.

    Raises:
        ModelError: it cannot be had.
    """
    from huggingface_hub import hf_hub_download

    try:
        with _quiet():
            path = hf_hub_download(repository, "config.json", revision=revision, tqdm_class=_silent())
    except Exception as error:
        raise explain(error, repository, revision) from None
    return folders.read_config(Path(path).parent)


def fetch(repository: str, revision: str = "main", *, progress: DownloadProgress | None = None) -> Path:
    """Bring a model to disk and up to date. What an earlier attempt left behind is continued, not repeated.

    Args:
        repository: ``owner/name``.
        revision: branch, tag or commit.
        progress: see ``Progress``.

    Returns:
        The folder, complete.

    Raises:
        ModelError: with the way out.
    """
    from huggingface_hub import snapshot_download

    remote = describe(repository, revision)
    transfer = _FileTransfer(remote, progress)
    try:
        transfer.run()
        with _quiet():
            folder = snapshot_download(
                repository,
                revision=revision,
                allow_patterns=list(ALLOWED),
                ignore_patterns=list(IGNORED),
                tqdm_class=_silent(),
            )
    except KnownError:
        raise
    except Exception as error:
        raise explain(error, repository, revision) from None
    folders.check_complete(Path(folder))
    transfer.finish()
    return Path(folder)


class _FetchStopped(Exception):
    """Another file of the same download failed, or the user gave up."""


class _FileTransfer:
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
        for error in sorted(failures, key=lambda error: isinstance(error, _FetchStopped)):
            raise error
        self.stop.clear()

    def grow(self, count: int, file: str) -> None:
        if self.stop.is_set():
            raise _FetchStopped
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
                    tqdm_class=_silent(),
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


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's own lines about attempts that failed from standing before the one that says what to do."""
    log = logging.getLogger("huggingface_hub.utils._http")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _silent() -> Any:
    """A progress bar that shows nothing, without switching off anybody else's."""
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    class Silent(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})  # type: ignore[no-untyped-call]

    return Silent


def explain(error: Exception, repository: str, revision: str = "main") -> KnownError:
    """Return what went wrong with the hub, in one line that says what to do."""
    from huggingface_hub import constants, errors

    page = f"{constants.ENDPOINT}/{repository}"
    elsewhere = f"run `mlxintro models fetch {repository}` where there is a network, or use a local folder or smollm2"
    chain = _chain(error)
    if any(isinstance(e, errors.GatedRepoError) for e in chain):
        return ModelError(f"{repository} is gated: accept its licence at {page}, then run `hf auth login`")
    if any(isinstance(e, errors.RevisionNotFoundError) for e in chain):
        return ModelError(f"{repository} has no revision {revision!r}: see {page}/commits")
    if any(isinstance(e, errors.RepositoryNotFoundError) for e in chain):
        return ModelError(f"the hub has no model {repository}, or it is private: check {page}, or run `hf auth login`")
    if any(isinstance(e, errors.DisabledRepoError) for e in chain):
        return ModelError(f"the hub has disabled {repository}: see {page}, or choose another model")
    if any(isinstance(e, errors.RemoteEntryNotFoundError) for e in chain):
        return ModelError(f"{repository} has no config.json, so it is not a model in the usual form: see {page}")
    if any(isinstance(e, errors.HFValidationError) for e in chain):
        return UsageError(f"{repository!r} is no hub id: it must look like owner/name or owner/name@revision")
    if any(isinstance(e, errors.OfflineModeIsEnabled) for e in chain) or constants.is_offline_mode():
        return ModelError(f"{repository} is not on disk and HF_HUB_OFFLINE is set: unset it, or {elsewhere}")
    for e in chain:
        if isinstance(e, OSError) and e.errno in _NO_SPACE:
            return ModelError(
                f"the disk is full while fetching {repository}: make room in {constants.HF_HUB_CACHE} or point HF_HOME "
                "at a larger disk, and fetch again; what has arrived is kept"
            )
        if isinstance(e, PermissionError):
            return ModelError(f"cannot write to {constants.HF_HUB_CACHE}: point HF_HOME at a folder of yours")
    for e in chain:
        if isinstance(e, errors.HfHubHTTPError) and e.response is not None:
            code = e.response.status_code
            if code in (401, 403):
                return ModelError(
                    f"the hub refuses access to {repository} ({code}): renew the token with `hf auth login`"
                )
            return ModelError(f"the hub answers {code} for {repository}: try again later, or {elsewhere}")
    if isinstance(error, OSError) or _is_http(error):
        return ModelError(
            f"the connection to {constants.ENDPOINT} failed while fetching {repository}: fetch again (what has arrived "
            f"is kept), or {elsewhere}"
        )
    raise error


def _is_http(error: Exception) -> bool:
    """Whether an exception comes from the HTTP client, whichever of its versions the hub library uses."""
    return any(kind.__module__.split(".")[0].startswith("httpx") for kind in type(error).__mro__)


def _chain(error: BaseException) -> list[BaseException]:
    """An exception and what caused it."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    return chain
