"""One large model in main memory per machine, and one at a time on its way to a CUDA device.

Two large models on unified memory do not fail, they corrupt each other's activations without a word. So whoever loads
one holds a file lock, which the system gives up when the process ends, however it ends. Models below 1 GiB are exempt:
several of them fit anywhere, and a demo should not wait for a study. CUDA devices have memory of their own, in which
too much is an error and corrupts nothing: there a lock is held only while free memory is measured and a model loaded,
so that several models share a card where they fit.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..errors import KnownError

if TYPE_CHECKING:
    from filelock import BaseFileLock

LARGE = 2**30
"""Weight bytes above which a model is alone."""


class BusyError(KnownError):
    """Another large model is in memory."""


@dataclass(frozen=True, slots=True)
class Holder:
    pid: int
    model: str


class ModelLock:
    """Holds the right to have a large model in memory; ``release`` gives it back, and so does the process's end."""

    def __init__(self, lock: BaseFileLock, note: Path) -> None:
        self._lock = lock
        self._note = note

    def release(self) -> None:
        """Let the lock go. Twice is harmless."""
        if self._lock.is_locked:
            self._note.unlink(missing_ok=True)
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def lock_folder() -> Path:
    """Find the folder of the locks, which is local to the machine and outlives a login.

    Neither the home folder (it may be on a network) nor ``XDG_RUNTIME_DIR`` (it goes with the last session,
    under running jobs) is.
    """
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    return Path(tempfile.gettempdir()) / f"mlxintro-{user}"


def hold(model: str, weight_bytes: int, *, scope: str = "memory", folder: Path | None = None) -> ModelLock | None:
    """Take the lock, without waiting.

    Args:
        model: told to whoever finds the lock taken.
        weight_bytes: ``None`` is returned up to ``LARGE``.
        scope: which memory; locks of different scopes do not meet.
        folder: for the lock files, ``lock_folder()`` when ``None``.

    Raises:
        BusyError: naming the process that holds it, its model, and what to do.
    """
    if weight_bytes <= LARGE:
        return None
    from filelock import FileLock, Timeout

    place = folder or lock_folder()
    note = place / f"{scope}.json"
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(place / f"{scope}.lock", timeout=0, thread_local=False)
        lock.acquire()
    except Timeout:
        raise BusyError(_busy(model, read_holder(note), scope)) from None
    except OSError as error:
        raise KnownError(f"cannot lock {place} ({error.strerror}): set TMPDIR to a folder of yours") from None
    # Beside the lock, not in it: opening a lock file to try it empties it.
    note.write_text(json.dumps({"pid": os.getpid(), "model": model}), "utf-8")
    return ModelLock(lock, note)


def read_holder(note: Path) -> Holder | None:
    """Return who wrote the note, if that process is alive."""
    import psutil

    try:
        content = json.loads(note.read_text("utf-8"))
        holder = Holder(int(content["pid"]), str(content["model"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return holder if psutil.pid_exists(holder.pid) else None


def _busy(model: str, holder: Holder | None, scope: str) -> str:
    if scope.startswith("cuda"):
        who = "another process" if holder is None else f"process {holder.pid}"
        what = "a model" if holder is None else holder.model
        return f"{who} is loading {what} onto the same GPU: try {model} again when that is done"
    if holder is None:
        return f"another process has a large model in memory, so {model} must wait: end it, or try again in a moment"
    if holder.pid == os.getpid():
        return f"this process already has {holder.model} in memory: close it before opening {model}"
    return (
        f"process {holder.pid} has {holder.model} in memory, and two large models in one memory corrupt each other: "
        f"wait for it, end it (kill {holder.pid}), or use smollm2"
    )
