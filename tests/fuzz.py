"""Inputs that chance has changed, of every kind that mlxintro takes: each comes to a result or to one line, in time.

    python -m tests.fuzz                                10,000 inputs, as many of each kind as COUNTS says
    python -m tests.fuzz --seed 7 --count 500 flags     500 of one kind

Prints a line per kind. Whatever ends in a traceback, takes more than ten seconds of CPU, loses a row or says more
than a line is printed with what reproduces it, and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import gzip
import os
import random
import signal
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from mlxintro.store import Store
from tests.fuzz_inputs import KINDS, TABLES

SEED = 20261125
SECONDS = 10.0
"""CPU time of one input."""
COUNTS = {
    "flags": 300,
    "studies": 2000,
    "presets": 1500,
    "replies": 1500,
    "configs": 1700,
    "templates": 1000,
    "stores": 500,
    "vectors": 1500,
}
"""Inputs of each kind in a full run."""


class HangError(Exception):
    """An input took too long."""


def prepare(folder: Path) -> None:
    """Put a small store, with the run ``first``, into a folder."""
    path = folder / "flags.db"
    path.write_bytes(gzip.decompress((Path(__file__).parent / "data" / "store_m008.db.gz").read_bytes()))
    with Store(path) as store:
        for run in store.runs.all():
            if run.name != "first":
                store.runs.delete(run.id)
        store.database.connection.execute("VACUUM")
        store.database.connection.execute("PRAGMA journal_mode = DELETE")


def rows_of(path: Path) -> list[object]:
    """Read every row of every table of a store."""
    with closing(sqlite3.connect(path)) as db:
        return [
            db.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall() for table in TABLES if table != "run_prompts"
        ]


def run(kind: str, seed: int, count: int, folder: Path) -> list[str]:
    """Try inputs of one kind; returns what was found, as lines that say how to see it again."""

    def late(*_: object) -> None:
        raise HangError(f"more than {SECONDS:g} s of CPU")

    before, found = rows_of(folder / "flags.db"), []
    earlier = signal.signal(signal.SIGVTALRM, late)
    try:
        for number in range(count):
            signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
            try:
                KINDS[kind](random.Random(f"{seed} {kind} {number}"), folder)
            except Exception as error:
                text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
                found.append(f"{kind} {number} (seed {seed}): {text}")
            finally:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    finally:
        signal.signal(signal.SIGVTALRM, earlier)
    if rows_of(folder / "flags.db") != before:
        found.append(f"{kind}: the store is not what it was")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []])
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--count", type=int, help="inputs of each kind instead of those of COUNTS")
    parser.add_argument("--part", type=float, default=1.0, help="part of those of COUNTS")
    arguments = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "MLXINTRO_HOME": tempfile.gettempdir()}
    problems = 0
    with tempfile.TemporaryDirectory() as scratch:
        prepare(Path(scratch))
        for kind in arguments.kinds or KINDS:
            count = arguments.count or max(1, round(COUNTS[kind] * arguments.part))
            found = run(kind, arguments.seed, count, Path(scratch))
            problems += len(found)
            print(f"{kind}: {count} inputs, {len(found)} problems", flush=True)
            for line in found[:20]:
                print(f"    {line.encode('utf-8', 'backslashreplace').decode()}", flush=True)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
