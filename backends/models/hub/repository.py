"""Asks the hub for a model: what is on disk, what it would send, its configuration alone, all of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...errors import KnownError, ModelError
from .. import folders
from .problems import explain
from .transfer import DownloadProgress, FileTransfer, Remote, RemoteFile, silent

ALLOWED = ("*.json", "*.jinja", "*.model", "model*.safetensors", "merges.txt")
"""Not the .bin, .pth, .gguf and consolidated copies of the same weights that many repositories hold beside."""
IGNORED = ("*/*", "*.index.fp*.json")


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
            path = hf_hub_download(repository, "config.json", revision=revision, tqdm_class=silent())
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
    transfer = FileTransfer(remote, progress)
    try:
        transfer.run()
        with _quiet():
            folder = snapshot_download(
                repository,
                revision=revision,
                allow_patterns=list(ALLOWED),
                ignore_patterns=list(IGNORED),
                tqdm_class=silent(),
            )
    except KnownError:
        raise
    except Exception as error:
        raise explain(error, repository, revision) from None
    folders.check_complete(Path(folder))
    transfer.finish()
    return Path(folder)


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
