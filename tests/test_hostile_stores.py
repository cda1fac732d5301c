"""Stores that somebody made to do harm, or that a script or a half recovery has damaged.

Each is imported, and each is opened as the store itself. An import is refused in one line and leaves everything as it
was, or it is harmless. Either way runs are listed, and the run can be deleted.
"""

from __future__ import annotations

import gzip
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from mlxintro.backends.errors import KnownError
from mlxintro.store import Store
from mlxintro.store.importing import source as source_module
from mlxintro.vectors import cache
from mlxintro.vectors.vector import content_hash
from tests.cli import Call, content
from tests.hostile_cases import DAMAGED, ENDLESS, HARMLESS, REFUSED, SCHEMAS


@pytest.fixture
def hostile(tmp_path: Path) -> Callable[[str], Path]:
    """Make a good store with one run of 18 trials, grades, labels and a vector, and do something to it."""

    def make(script: str) -> Path:
        path = tmp_path / "other" / "mlxintro.db"
        path.parent.mkdir()
        packed = Path(__file__).parent / "data" / "store_m008.db.gz"
        path.write_bytes(gzip.decompress(packed.read_bytes()))
        Store(path).close()
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("DELETE FROM runs WHERE name <> 'first'")
            db.execute("UPDATE runs SET name = 'theirs'")
            db.execute("DELETE FROM prompts WHERE key NOT IN (SELECT prompt FROM run_prompts)")
            db.commit()
            db.execute("PRAGMA foreign_keys = OFF")
            db.execute("PRAGMA legacy_alter_table = ON")
            for (trigger,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                # What a hostile file holds need not agree with its counts.
                db.execute(f"DROP TRIGGER {trigger}")
            db.executescript(script)
            db.commit()
        return path

    return make


@pytest.mark.parametrize("case", REFUSED)
def test_an_import_is_refused_in_one_line_and_changes_nothing(
    case: str, call: Call, home: Path, hostile: Callable[[str], Path]
) -> None:
    script, says = REFUSED[case]
    path = hostile(script)
    before = content(home)
    done = call("runs", "import", str(path))
    assert done.code in (1, 2)
    assert done.err.count("\n") == 1
    assert says in done.err
    assert not set(done.err) & {"\x1b", "\x07", "\u202e"}
    assert content(home) == before


@pytest.mark.parametrize("case", HARMLESS)
def test_what_an_import_may_hold_does_no_harm(
    case: str, call: Call, home: Path, hostile: Callable[[str], Path]
) -> None:
    own = call("runs", "show", "first").out
    assert call("runs", "import", str(hostile(HARMLESS[case]))).code == 0
    assert call("runs", "show", "first").out == own
    listed = call("runs", "list").out
    assert "running" not in listed
    assert "paused" not in listed
    if "theirs" in listed:
        for command in (("runs", "show", "theirs"), ("stats", "theirs"), ("runs", "export", "theirs")):
            assert call(*command).code == 0
        assert call("runs", "rm", "theirs", "--yes").code == 0
    assert [line.split()[0] for line in call("runs", "list").out.splitlines()[2:]] == ["first"]


@pytest.fixture
def damaged(home: Path, hostile: Callable[[str], Path]) -> Callable[[str], str]:
    """Put a run with damaged rows into the store itself, past every check; returns its id."""

    def put(script: str) -> str:
        with closing(sqlite3.connect(home / "mlxintro.db")) as db:
            db.execute("ATTACH ? AS other", (str(hostile(script)),))
            for table in ("runs", "prompts", "run_prompts", "trials", "grades", "labels", "label_sets", "vectors"):
                columns = ", ".join(
                    row[1] for row in db.execute(f"PRAGMA table_info({table})") if row[1] != "id" or table == "runs"
                )
                db.execute(f"INSERT OR IGNORE INTO main.{table} ({columns}) SELECT {columns} FROM other.{table}")
            (theirs,) = db.execute("SELECT id FROM other.runs").fetchone()
            db.commit()
        return str(theirs)

    return put


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_row_takes_neither_the_list_nor_another_run_nor_its_own_removal_with_it(
    case: str, call: Call, damaged: Callable[[str], str]
) -> None:
    theirs = damaged(DAMAGED[case])
    assert call("runs", "show", "first").code == 0
    listed = call("runs", "list")
    assert listed.code == 0
    assert "first" in listed.out
    assert theirs in listed.out
    shown = call("runs", "show", theirs)
    assert shown.code == 0 or shown.err.count("\n") == 1
    removed = call("runs", "rm", theirs, "--yes")
    assert removed.code == 0, removed.err
    assert theirs not in call("runs", "list").out


@pytest.mark.slow
@pytest.mark.parametrize("case", DAMAGED)
def test_every_command_says_of_a_damaged_row_in_one_line_what_it_is(
    case: str, call: Call, home: Path, damaged: Callable[[str], str]
) -> None:
    theirs = damaged(DAMAGED[case])
    for command in (
        ("runs", "export", theirs),
        ("stats", theirs),
        ("report", theirs, "-o", str(home / "r.md")),
        ("label", theirs, "--export", str(home / "l.jsonl")),
        ("compare", "first", theirs),
    ):
        done = call(*command)
        assert done.code == 0 or (done.code in (1, 2) and done.err.count("\n") <= 2), done.err


@pytest.mark.parametrize("case", SCHEMAS)
def test_a_store_whose_schema_is_not_ours_is_refused_at_once(
    case: str, call: Call, hostile: Callable[[str], Path], tmp_path: Path
) -> None:
    script, says = SCHEMAS[case]
    path = hostile(script)
    rows = path.read_bytes()[100:]
    for command in (("runs", "list"), ("runs", "rm", "theirs", "--yes")):
        begun = time.process_time()
        done = call("--db", str(path), *command)
        assert done.code in (1, 2)
        assert done.err.count("\n") == 1
        assert says in done.err
        assert time.process_time() - begun < 5
    # Behind the header, which says how the file is written to.
    assert path.read_bytes()[100:] == rows


def test_a_schema_that_is_no_text_is_damage(call: Call, hostile: Callable[[str], Path]) -> None:
    path = hostile("SELECT 1")
    path.write_bytes(path.read_bytes().replace(b"labeller TEXT NOT NULL", b"labeller TEXT NOT\xffNULL"))
    done = call("--db", str(path), "runs", "list")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "the file is damaged" in done.err


def test_a_list_of_migrations_that_does_not_fit_is_said(call: Call, hostile: Callable[[str], Path]) -> None:
    path = hostile("DELETE FROM migrations WHERE name = 'm005_label_sets'")
    for command in (("runs", "list"), ("runs", "rm", "theirs", "--yes")):
        done = call("--db", str(path), *command)
        assert (done.code, done.err.count("\n")) == (1, 1)
        assert "its list of migrations does not fit its tables" in done.err


def test_tables_beside_ours_are_no_reason_to_refuse(call: Call, home: Path) -> None:
    with closing(sqlite3.connect(home / "mlxintro.db")) as db:
        db.executescript(
            f"CREATE TABLE mine (a); CREATE VIEW v AS {ENDLESS} SELECT * FROM n; CREATE INDEX i ON mine (a)"
        )
        db.execute("ANALYZE")
    assert call("runs", "list").code == 0
    assert call("runs", "show", "first", "--contains", "the").code == 0


def test_a_store_that_is_a_pipe_is_not_waited_for(call: Call, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.db"
    os.mkfifo(pipe)
    begun = time.monotonic()
    assert call("runs", "import", str(pipe)).err.count("\n") == 1
    assert call("--db", str(pipe), "runs", "list").code == 1
    assert time.monotonic() - begun < 5


def test_a_query_that_does_not_end_is_stopped(
    hostile: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = hostile("SELECT 1")
    monkeypatch.setattr(source_module, "SECONDS", 0.3)
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"CREATE VIEW endless AS {ENDLESS} SELECT count(*) AS c FROM n")
    with (
        source_module.opened(path) as source,
        pytest.raises(KnownError, match="does not end"),
        source._reading("table trials"),
    ):
        source._db.execute("SELECT c FROM endless").fetchone()


def test_an_import_does_not_move_a_run_of_this_store(call: Call, home: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(home, tmp_path / "copy")) / "mlxintro.db"
    with closing(sqlite3.connect(copy)) as db:
        db.execute(
            "UPDATE runs SET state = 'running', pid = 1, host = 'x', planned = 1, "
            "heartbeat = '2199-01-01T00:00:00.000000+00:00'"
        )
        db.commit()
    assert call("runs", "import", str(copy)).code == 0
    assert "done" in call("runs", "list").out
    assert call("runs", "rm", "first", "--yes").code == 0


def test_a_run_of_a_machine_whose_clock_is_ahead_is_not_called_running(
    call: Call, home: Path, hostile: Callable[[str], Path]
) -> None:
    path = hostile(
        "UPDATE runs SET state = 'running', pid = 7, host = 'gpu', "
        "heartbeat = strftime('%Y-%m-%dT%H:%M:%S.000000+00:00', 'now', '+1 hour')"
    )
    assert call("runs", "import", str(path)).code == 0
    assert "interrupted" in call("runs", "list").out
    with closing(sqlite3.connect(home / "mlxintro.db")) as db:
        # Not only shown so: a run that was killed while running goes on with half the rows.
        assert db.execute("SELECT state, pid FROM runs WHERE name = 'theirs'").fetchone() == ("interrupted", None)
    assert call("runs", "rm", "theirs", "--yes").code == 0


def test_vector_files_come_along_only_as_recorded_and_never_through_links(
    hostile: Callable[[str], Path], tmp_path: Path
) -> None:
    path = hostile("SELECT 1")
    with closing(sqlite3.connect(path)) as db:
        names = [name for (name,) in db.execute("SELECT file FROM vectors ORDER BY hash")]
    assert len(names) == 2
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    (path.parent / "vectors").mkdir()
    (path.parent / "vectors" / names[0]).symlink_to(secret)
    os.mkfifo(path.parent / "vectors" / names[1])
    (path.parent / "vectors" / "not-recorded.safetensors").write_bytes(b"x")
    with Store(tmp_path / "home" / "mlxintro.db") as store:
        done = store.import_from(path)
        assert len(done.vector_problems) == 2
    assert not (tmp_path / "home" / "vectors").exists()


def test_a_vector_file_that_vouches_for_other_numbers_stays_behind(
    hostile: Callable[[str], Path], tmp_path: Path
) -> None:
    path = hostile("SELECT 1")
    right = {"direction": np.ones((2, 3), np.float32), "resid_norms": np.ones(2, np.float32)}
    forged = {**right, "direction": right["direction"] * np.float32(-3)}
    with closing(sqlite3.connect(path)) as db:
        (first, name), (second, other) = db.execute("SELECT hash, file FROM vectors ORDER BY hash").fetchall()
        db.execute("UPDATE vectors SET content = ?", (content_hash(**right),))
        db.commit()
    (path.parent / "vectors").mkdir()
    cache.write(path.parent / "vectors" / name, first, right, {})
    cache.write(path.parent / "vectors" / other, second, forged, {})
    with Store(tmp_path / "home" / "mlxintro.db") as store:
        (problem,) = store.import_from(path).vector_problems
    assert other in problem
    assert "not those that its store recorded" in problem
    assert [one.name for one in (tmp_path / "home" / "vectors").iterdir()] == [name]


@pytest.fixture(autouse=True)
def _no_process_is_left(tmp_path: Path) -> Iterator[None]:
    yield
    assert not list(tmp_path.rglob("*-journal"))
