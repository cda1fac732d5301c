"""Writing rows out: JSON lines, CSV, Parquet. Every row has the same columns; nested values are JSON text where a
format is flat.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Literal

from mlxintro.backends.errors import PrerequisiteError, UsageError
from mlxintro.rendering.whole_file import whole_file

Format = Literal["jsonl", "csv", "parquet"]


def write_rows(rows: Iterable[dict[str, Any]], kind: str, target: Path | None, *, defuse: bool = True) -> int:
    """Write rows to a file, all or nothing, or to stdout; returns how many.

    Text is UTF-8 whatever the terminal speaks. A pipe or device is written to as it is, never replaced by a file.

    Args:
        rows: all with the same columns.
        kind: ``jsonl``, ``csv`` or ``parquet``.
        target: the file; stdout when ``None``.
        defuse: in CSV, put an apostrophe before text that a spreadsheet would take for a formula and run.

    Raises:
        UsageError: Parquet on stdout of a terminal.
        PrerequisiteError: Parquet without pyarrow.
        KnownError: the file cannot be written.
    """
    if kind == "parquet" and target is None and sys.stdout.isatty():
        raise UsageError("Parquet is not for reading on a terminal: name a file with -o")
    if target is None:
        count = _write(_defused(rows) if defuse and kind == "csv" else rows, kind, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return count
    with whole_file(target, "choose another file with -o") as place, place.open("wb") as out:
        return _write(_defused(rows) if defuse and kind == "csv" else rows, kind, out)


def write_dataset(rows: Iterable[dict[str, Any]], folder: Path) -> int:
    """Write rows as a folder that ``datasets.load_dataset(folder)`` reads: Parquet, and a card that names it.

    Raises:
        PrerequisiteError: pyarrow is not installed.
        KnownError: the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be a folder ({error.strerror}): choose another with -o") from error
    count = write_rows(rows, "parquet", folder / "trials.parquet")
    with whole_file(folder / "README.md", "choose another folder with -o") as place:
        place.write_text(_CARD, encoding="utf-8")
    return count


_CARD = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: trials.parquet
---
Trials of mlxintro, a row each. docs/reference/columns.md of the project says what columns hold; nested values are JSON.
"""


def _write(rows: Iterable[dict[str, Any]], kind: str, out: IO[bytes]) -> int:
    if kind == "parquet":
        return _parquet(rows, out)
    text = io.TextIOWrapper(out, encoding="utf-8", newline="")
    try:
        return _WRITERS[kind](rows, text)
    finally:
        text.detach()


_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that a spreadsheet runs. Source: OWASP, "CSV Injection"."""


def _defused(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield {
            f"'{name}" if name.startswith(_FORMULA) else name: f"'{value}"
            if isinstance(value, str) and value.startswith(_FORMULA)
            else value
            for name, value in row.items()
        }


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
    try:
        table = arrow.Table.from_pylist(kept)
    except (arrow.ArrowInvalid, arrow.ArrowTypeError):
        table = arrow.Table.from_pylist(_uniform(kept))
    parquet.write_table(table, out)
    return len(kept)


def _uniform(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with columns of mixed types, such as True here and "unsure" there, as JSON text."""
    types = {name: {type(row[name]) for row in rows} - {type(None)} for name in rows[0]}
    mixed = {name for name, found in types.items() if len(found) > 1}
    return [
        {n: json.dumps(value) if n in mixed and value is not None else value for n, value in row.items()}
        for row in rows
    ]


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value
        for name, value in row.items()
    }


_WRITERS = {"jsonl": _jsonl, "csv": _csv}
