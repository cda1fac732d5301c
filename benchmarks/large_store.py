"""A store of any size to measure the terminal app, filters, statistics and reports on, made from one small run.

    python benchmarks/large_store.py FROM_HOME TO_HOME [--trials 1000000] [--runs 200]

FROM_HOME holds a store with one finished run of ``mlxintro run injected-thoughts``. Its trials are multiplied with new
keys, and with replies cut at random from English prose (the interpreter's own documentation), so that an index of text
has real work. One reply holds ``NEEDLE``. Verdicts by two graders: nearly all say "no claim"; a few classes and
disagreements occur a handful of times, at the end of the plan, which is where a search that starts at its beginning
finds them last.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

from mlxintro.protocol.hashing import canonical_json
from mlxintro.store.store import Store

NEEDLE = "zygodactyl quetzal"
RARE = 25
"""Trials at the end of the plan with a rare verdict, and as many that the graders disagree on."""
_BATCH = 20_000
_TRIAL = (
    "run, key, ordinal, status, condition, arm, concept, layer, strength, unit, finish, tokens, created, error, "
    "response, doses, proofs, measurements, spec"
)
_GRADE = "run, key, grader, version, affirms, identifies, coherent, refuses, state, created, reason, evidence"


class Prose:
    """Sentences as a model might write them, drawn with a seed."""

    def __init__(self) -> None:
        self._text = " ".join(" ".join(text.split()) for text in topics.values())
        self._random = random.Random(1)

    def __iter__(self) -> Iterator[str]:
        while True:
            length = int(self._random.triangular(60, 700, 280))
            start = self._random.randrange(len(self._text) - length)
            yield self._text[start : start + length]


def multiply(db: sqlite3.Connection, source: str, run: str, count: int) -> None:
    """Fill a run with ``count`` trials like those of another one, graded."""
    db.row_factory = sqlite3.Row
    pattern = [dict(row) for row in db.execute(f"SELECT {_TRIAL} FROM trials WHERE run = ? AND arm = ''", (source,))]
    concepts = sorted({row["concept"] for row in pattern if row["concept"]})
    replies = iter(Prose())
    per_concept = count // len(concepts) + 1
    for start in range(0, count, _BATCH):
        trials, grades = [], []
        for at in range(start, min(count, start + _BATCH)):
            row = dict(pattern[at % len(pattern)])
            response = next(replies)
            if at == count - count // 10:
                response += f" {NEEDLE}"
            # Concepts one after the other, layers and strengths in turn.
            concept = concepts[at // per_concept] if row["condition"] == "injected" else row["concept"]
            key = f"b2:{random.Random(at).getrandbits(128):032x}"
            row |= {"run": run, "key": key, "ordinal": at, "concept": concept, "response": response}
            if row["condition"] == "injected":
                row |= {"layer": at % 20, "strength": float(2 ** (at // 20 % 5))}
            trials.append(tuple(row.values()))
            grades += _grades(run, key, at, count)
        marks = ", ".join("?" * len(_TRIAL.split(",")))
        with db:
            db.executemany(f"INSERT INTO trials ({_TRIAL}) VALUES ({marks})", trials)
            db.executemany(f"INSERT INTO grades ({_GRADE}) VALUES ({', '.join('?' * 12)})", grades)


def _grades(run: str, key: str, at: int, count: int) -> Iterator[tuple[Any, ...]]:
    left = count - at
    refuses, disputed = left <= RARE, RARE < left <= 2 * RARE
    affirms = int(at % 97 == 0)
    evidence = canonical_json({"denial": [0, 40]})
    first, second = (f"2026-01-0{day}T00:00:00.{at:07}" for day in (1, 2))
    yield (run, key, "rules", "1", affirms, affirms, 1, int(refuses), "scored", first, "", evidence)
    if at % 10 == 0 or disputed:
        other = 1 - affirms if disputed else affirms
        yield (run, key, "claude", "1", other, affirms, 1, 0, "scored", second, "", evidence)


def fill(home: Path, trials: int, runs: int) -> None:
    with Store(home / "mlxintro.db") as store:
        (first,) = store.runs.all()
        prompts = list(store.prompts.of_run(first.id).values())
        small = 100
        sizes = [small] * (runs - 1) + [trials - small * (runs - 1)]
        made = []
        for size in sizes:
            run = store.runs.create(
                first.experiment,
                planned=size,
                name="large" if size == sizes[-1] else None,
                study=first.study,
                model=first.model,
                environment=first.environment,
            )
            store.prompts.add(run.id, prompts)
            made.append(run.id)
    with sqlite3.connect(home / "mlxintro.db", isolation_level="DEFERRED") as db:
        db.execute("PRAGMA synchronous = OFF")
        for identity, size in zip(made, sizes, strict=True):
            multiply(db, first.id, identity, size)
            db.execute("UPDATE runs SET state = 'done' WHERE id = ?", (identity,))
        db.commit()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("home", type=Path)
    parser.add_argument("--trials", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=200)
    chosen = parser.parse_args()
    chosen.home.mkdir(parents=True)
    with Store(chosen.source / "mlxintro.db") as store:
        store.database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copyfile(chosen.source / "mlxintro.db", chosen.home / "mlxintro.db")
    began = time.perf_counter()
    fill(chosen.home, chosen.trials, chosen.runs)
    size = (chosen.home / "mlxintro.db").stat().st_size
    print(f"{chosen.trials:,} trials in {chosen.runs} runs: {size / 1e6:,.0f} MB, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
