"""Input that chance has made: nothing falls over, hangs, or changes what is there."""

from __future__ import annotations

import gzip
import json
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from mlxintro.backends.errors import KnownError, UsageError
from mlxintro.grading.labels.files import read
from mlxintro.protocol.plain_data import parse_json
from mlxintro.store import Store
from mlxintro.vectors import cache

PACKED = Path(__file__).parent / "data" / "store_m008.db.gz"
VALUES = (
    *(None, -1, 0, 7, 2**62, 1e308, float("inf"), "", "x", "[]", "{}", "null", "[" * 3000, "\x1b[2J", "\u202e"),
    *(b"", b"\x00\xff", "9999-12-31", '{"a": NaN}', '{"a": "\\ud800"}', "b2:0", "../x", "a" * 300),
)
SEED = 20261125


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A store of one run with 18 trials."""
    path = tmp_path_factory.mktemp("small") / "a.db"
    path.write_bytes(gzip.decompress(PACKED.read_bytes()))
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("DELETE FROM runs WHERE name <> 'first'")
        db.execute("DELETE FROM prompts WHERE key NOT IN (SELECT prompt FROM run_prompts)")
        db.execute("VACUUM")
    return path.read_bytes()


def imported(data: bytes, change: Callable[[Path], None], folder: Path) -> bool:
    """Import a changed store into a new one; whether it was taken. Runs can be listed and deleted in any case."""
    other, home = folder / "other.db", folder / "home.db"
    for file in folder.iterdir():
        file.unlink()
    other.write_bytes(data)
    change(other)
    taken = True
    with Store(home) as store:
        problem = ""
        try:
            store.import_from(other)
        except KnownError as error:
            problem, taken = str(error), False
        assert "\n" not in problem
        for run in store.runs.all():
            assert not run.damage
            assert run.state not in ("running", "paused")
            for trial in store.trials.of_run(run.id):
                assert (trial.spec, trial.proofs, trial.doses, trial.measurements) is not None
            store.runs.delete(run.id)
        assert store.runs.all() == []
    return taken


@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_a_cell_of_a_store_may_hold_anything(small: bytes, tmp_path: Path, count: int) -> None:
    chance = random.Random(SEED)
    tables = ("runs", "prompts", "run_prompts", "trials", "grades", "labels", "vectors")

    def change(path: Path) -> None:
        with closing(sqlite3.connect(path)) as db:
            for (trigger,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                db.execute(f"DROP TRIGGER {trigger}")
            table = chance.choice(tables)
            column = chance.choice([row[1] for row in db.execute(f"PRAGMA table_info({table})")])
            db.execute(
                f"UPDATE OR IGNORE {table} SET {column} = ?", (chance.choice(VALUES),)
            ) if chance.random() < 0.9 else None
            db.commit()

    def may_fail(path: Path) -> None:
        with suppress(sqlite3.IntegrityError):
            change(path)

    taken = sum(imported(small, may_fail, tmp_path) for _ in range(count))
    assert 0 < taken < count, "some changes matter and some do not"


@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_a_byte_of_a_store_may_be_any(small: bytes, tmp_path: Path, count: int) -> None:
    chance = random.Random(SEED)

    def change(path: Path) -> None:
        data = bytearray(path.read_bytes())
        for _ in range(chance.choice((1, 8, 64))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(bytes(data[: chance.choice((len(data), len(data), chance.randrange(len(data))))]))

    assert sum(imported(small, change, tmp_path) for _ in range(count)) < count


@pytest.mark.parametrize("count", [3000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_line_of_json_may_be_any(count: int) -> None:
    chance = random.Random(SEED)
    line = json.dumps(
        {"trial_key": "b2:0", "labeller": "ann", "affirms": True, "note": "\u00e9\ud83d\ude00", "n": [1.5e9]}
    )
    pieces = ("[", "]", "{", '"', "\\ud800", "NaN", "1e999", "9" * 30, "null", ",", "\x00", "\\", "[" * 200)
    for _ in range(count):
        at, until = sorted((chance.randrange(len(line)), chance.randrange(len(line))))
        text = line[:at] + chance.choice(pieces) + line[until if chance.random() < 0.5 else at :]
        problem, refused = "it ", "line 1"
        try:
            json.dumps(parse_json(text), allow_nan=False, ensure_ascii=False).encode()
        except ValueError as error:
            problem = str(error)
        try:
            read([text], None)
        except UsageError as error:
            refused = str(error)
        assert problem.startswith("it "), text
        assert "line 1" in refused, text


@pytest.mark.parametrize("count", [500, pytest.param(20_000, marks=pytest.mark.slow)])
def test_a_vector_file_may_be_any(tmp_path: Path, count: int) -> None:
    import numpy as np

    path = tmp_path / "x.safetensors"
    cache.write(path, "b2:0", {"direction": np.ones((2, 3), np.float32)}, {"made": "now"})
    data, chance, whole = path.read_bytes(), random.Random(SEED), 0
    for _ in range(count):
        changed = bytearray(data)
        changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        changed = changed[: chance.choice((len(data), chance.randrange(len(data))))]
        try:
            cache.parse(bytes(changed), "b2:0")
            whole += 1
        except cache.DamagedError:
            pass
    assert whole == 0
