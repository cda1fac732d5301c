"""Writing rows out: JSON lines, CSV, Parquet. Every row has the same columns; nested values are JSON text where a
format is flat.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Literal

from backends.errors import KnownError, PrerequisiteError, UsageError

Format = Literal["jsonl", "csv", "parquet"]


def write_rows(rows: Iterable[dict[str, Any]], kind: str, target: Path | None) -> int:
    """Write rows to a file, all or nothing, or to stdout; returns how many.

    Raises:
        UsageError: Parquet on stdout of a terminal.
        PrerequisiteError: Parquet without pyarrow.
        KnownError: the file cannot be written.
    """
    if kind == "parquet" and target is None and sys.stdout.isatty():
        raise UsageError("Parquet is not for reading on a terminal: name a file with -o")
    if target is None:
        if kind == "parquet":
            return _parquet(rows, sys.stdout.buffer)
        return _WRITERS[kind](rows, sys.stdout)
    with _whole(target) as temporary:
        if kind == "parquet":
            with temporary.open("wb") as raw:
                return _parquet(rows, raw)
        with temporary.open("w", encoding="utf-8", newline="") as text:
            return _WRITERS[kind](rows, text)


@contextlib.contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A file beside the target that takes its place when everything is written."""
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
        os.close(handle)
        temporary = Path(name)
        temporary.chmod(0o644)
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        raise KnownError(f"{target} cannot be written ({error.strerror}): choose another file with -o") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _jsonl(rows: Iterable[dict[str, Any]], out: IO[str]) -> int:
    count = 0
    for row in rows:
        out.write(json.dumps(row, ensure_ascii=False) + "\n")
        count += 1
    return count


def _csv(rows: Iterable[dict[str, Any]], out: IO[str]) -> int:
    writer: csv.DictWriter[str] | None = None
    count = 0
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(out, list(row))
            writer.writeheader()
        writer.writerow(_flat(row))
        count += 1
    return count


def _parquet(rows: Iterable[dict[str, Any]], out: IO[bytes]) -> int:
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise PrerequisiteError("Parquet needs pyarrow: pip install pyarrow, or export as csv or jsonl") from None
    kept = [_flat(row) for row in rows]
    parquet.write_table(arrow.Table.from_pylist(kept), out)
    return len(kept)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value
        for name, value in row.items()
    }


_WRITERS = {"jsonl": _jsonl, "csv": _csv}
