"""Files that are written whole or not at all: what was there before stays until the new content is complete."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlxintro.backends.errors import KnownError, UsageError

_NO_PLACE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}


@contextmanager
def whole_file(target: Path, advice: str = "choose another file") -> Iterator[Path]:
    """Give the place of a file beside the target, which takes its place when everything is written.

    A pipe or a device is written to as it is, and a link stays a link: what it points to is replaced.

    Args:
        target: the file.
        advice: what the user can do when it cannot be written.

    Raises:
        UsageError: there is no such folder, or the name cannot be a file's.
        KnownError: it cannot be written; the disk is full.
    """
    try:
        if target.exists() and not target.is_file():
            yield target
            return
        target = target.resolve()
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name[:80]}-") as folder:
            new = Path(folder) / target.name
            yield new
            if target.exists():
                shutil.copymode(target, new)
            new.replace(target)
    except BrokenPipeError:
        raise
    except OSError as error:
        kind = UsageError if error.errno in _NO_PLACE else KnownError
        raise kind(f"{target} cannot be written ({error.strerror}): {advice}") from error


def write_whole(target: Path, text: str) -> None:
    """Write text as UTF-8, all of it or nothing.

    Raises:
        KnownError: it cannot be written; the disk is full.
    """
    with whole_file(target) as place:
        place.write_text(text, encoding="utf-8", errors="replace")
