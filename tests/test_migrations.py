from __future__ import annotations

import gzip
import hashlib
import json
import re
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mlxintro.analysis.run import study_of
from mlxintro.backends.errors import KnownError
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.running import launch
from mlxintro.store import Store, database
from mlxintro.store.database import needs_update
from mlxintro.store.schema.migrations import MIGRATIONS, Migration, applied, migrate, outstanding

TWO = (
    Migration("m001_first", ("PRAGMA application_id = 1835825257", "CREATE TABLE a (x INTEGER)")),
    Migration("m002_second", ("ALTER TABLE a ADD COLUMN y INTEGER DEFAULT 7", "INSERT INTO a (x) VALUES (1)")),
)


@pytest.fixture
def blank(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(tmp_path / "blank.db", isolation_level=None)
    yield db
    db.close()


def everything(db: sqlite3.Connection) -> list[str]:
    """The whole content of a database as SQL, its header's application id included."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    return [str(application), *db.iterdump()]


def test_names_are_numbered_without_a_gap() -> None:
    for number, migration in enumerate(MIGRATIONS, 1):
        assert re.fullmatch(rf"m{number:03}_[a-z0-9_]+", migration.name)


def test_from_blank_every_migration_is_applied_and_recorded_once(blank: sqlite3.Connection) -> None:
    assert applied(blank) == []
    migrate(blank)
    names = [migration.name for migration in MIGRATIONS]
    assert applied(blank) == names
    before = everything(blank)
    migrate(blank)
    assert everything(blank) == before
    assert outstanding(blank) == []


def test_the_schema_holds_what_the_store_speaks_of(blank: sqlite3.Connection) -> None:
    migrate(blank)
    tables = {name for (name,) in blank.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables == {
        *("runs", "prompts", "run_prompts", "trials", "grades", "labels", "vectors", "migrations"),
        *("grading_batches", "grading_calls", "label_sets", "standing", "tallies", "unindexed"),
        *("studies", "study_parts"),
    }
    assert blank.execute("PRAGMA foreign_key_check").fetchall() == []
    for table, parents in {"trials": {"runs"}, "grades": {"trials"}, "labels": {"trials"}}.items():
        assert {row[2] for row in blank.execute(f"PRAGMA foreign_key_list({table})")} == parents


def test_a_later_migration_is_added_to_a_store_that_has_data(blank: sqlite3.Connection) -> None:
    migrate(blank, TWO[:1])
    blank.execute("INSERT INTO a VALUES (5)")
    assert [m.name for m in outstanding(blank, TWO)] == ["m002_second"]
    migrate(blank, TWO)
    assert blank.execute("SELECT x, y FROM a ORDER BY x").fetchall() == [(1, 7), (5, 7)]
    assert applied(blank) == ["m001_first", "m002_second"]


def test_a_migration_that_fails_half_way_leaves_nothing(blank: sqlite3.Connection) -> None:
    migrate(blank, TWO[:1])
    before = everything(blank)
    broken = Migration("m002_second", (*TWO[1].statements, "PRAGMA user_version = 5", "CREATE TABLE a (again INTEGER)"))
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        migrate(blank, (TWO[0], broken))
    assert everything(blank) == before
    assert not blank.in_transaction
    migrate(blank, TWO)
    assert applied(blank) == ["m001_first", "m002_second"]


def test_a_first_migration_that_fails_leaves_a_blank_file(blank: sqlite3.Connection) -> None:
    before = everything(blank)
    with pytest.raises(sqlite3.OperationalError):
        migrate(blank, (Migration("m001_first", (*TWO[0].statements, "nonsense")),))
    assert everything(blank) == before
    with pytest.raises(sqlite3.OperationalError):
        migrate(blank, (TWO[0], Migration("m002_second", ("nonsense",))))
    assert everything(blank) == before, "the first one has not stayed either"
    migrate(blank)
    assert applied(blank) == [migration.name for migration in MIGRATIONS]


@pytest.mark.parametrize("stop_before", range(1, len(MIGRATIONS[0].statements) + 1))
def test_wherever_a_process_dies_the_schema_is_whole_or_absent(tmp_path: Path, stop_before: int) -> None:
    # A connection that is dropped without COMMIT is what a killed process leaves to the next one.
    path = tmp_path / "store.db"
    dying = sqlite3.connect(path, isolation_level=None)
    dying.execute("PRAGMA journal_mode = WAL")
    dying.execute("BEGIN IMMEDIATE")
    for statement in MIGRATIONS[0].statements[:stop_before]:
        dying.execute(statement)
    dying.close()
    with Store(path) as store:
        assert store.runs.create("latent", planned=1).planned == 1


def test_processes_that_start_together_migrate_once(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    barrier = threading.Barrier(8)
    failures: list[BaseException] = []

    def start() -> None:
        db = sqlite3.connect(path, isolation_level=None, timeout=10)
        try:
            barrier.wait()
            migrate(db, TWO)
        except BaseException as error:
            failures.append(error)
        finally:
            db.close()

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    db = sqlite3.connect(path)
    assert db.execute("SELECT count(*) FROM a").fetchone() == (1,), "the second migration ran once"
    db.close()


def test_a_store_that_went_through_an_unknown_migration_is_newer(blank: sqlite3.Connection) -> None:
    migrate(blank, TWO)
    with pytest.raises(KnownError, match=r"newer mlxintro \(it has m002_second\)"):
        migrate(blank, TWO[:1])


RELEASED = {
    "m001_initial": "6a4707cc1e987f55af2cd43c585bbf77",
    "m002_arms": "2b43e21dd1c4b7dc75b4a1684acb25bd",
    "m003_grading_calls": "557e3724ad9b14972835e79bb9697460",
    "m004_cells": "151b199cb57cb55ea982392a2a049d5f",
    "m005_label_sets": "74de25d663826d6d18fa3ae55ae1b2e9",
    "m006_review": "5c423515babd9c4fbaace9969e4f9b66",
    "m007_standing": "94929df1325ab2866b22342d4ae49390",
    "m008_replies": "60b78ba8fdf88ebbcecf942a733487bb",
    "m009_grade_states": "b32d8e824d57662a380b36d8673171e5",
    "m010_studies": "6eed64c396b39a116f455e71093d28c5",
}
"""Start of the SHA-256 of each migration's statements as JSON, taken from the version that released it."""


def test_a_released_migration_is_byte_for_byte_what_it_was() -> None:
    now = {m.name: hashlib.sha256(json.dumps(m.statements).encode()).hexdigest()[:32] for m in MIGRATIONS}
    assert {name: now.get(name) for name in RELEASED} == RELEASED


@pytest.fixture
def old_store(tmp_path: Path) -> Path:
    """A store as the version before 0.1.0 left it, one of its runs killed."""
    path = tmp_path / "mlxintro.db"
    packed = Path(__file__).parent / "data" / "store_m008.db.gz"
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    return path


def test_a_blank_store_and_an_old_one_have_the_same_schema(old_store: Path, blank: sqlite3.Connection) -> None:
    migrate(blank)
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE tbl_name NOT LIKE 'replies%' ORDER BY type, name"
    with Store(old_store) as store:
        found = [tuple(row) for row in store.database.rows(query)]
    assert found == blank.execute(query).fetchall()


def test_a_store_of_the_version_before_opens_with_everything_in_it(old_store: Path) -> None:
    with Store(old_store) as store:
        runs = {run.name: run for run in store.runs.all()}
        assert {name: (run.state, run.done) for name, run in runs.items()} == {
            "first": ("done", 18),
            "second": ("done", 36),
            "third": ("interrupted", 164),
        }
        for run in runs.values():
            trials = list(store.trials.of_run(run.id))
            assert len(trials) == run.done
            assert all(
                trial.spec.key == trial.key and trial.spec.prompt in store.prompts.of_run(run.id) for trial in trials
            )
        labels = store.labels.latest(runs["first"].id)
        assert [label.fields["affirms"] for label in labels].count(True) == 3, "the last of five labels took one back"
        assert store.grades.graders(runs["third"].id) == ["rules"]
        assert len(store.vectors.all()) == 2


def test_a_store_of_the_version_before_can_be_read_without_more_ado(old_store: Path) -> None:
    assert needs_update(old_store)
    with Store(old_store, read_only=True) as store:
        assert [run.done for run in store.runs.all()] == [164, 36, 18]
    assert not needs_update(old_store)


def test_an_old_store_that_cannot_be_written_says_what_to_do(old_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = database._connect
    # As on a medium that cannot be written, which even root meets.
    monkeypatch.setattr(database, "_connect", lambda uri: connect(uri.replace("mode=rw", "mode=ro")))
    before = old_store.read_bytes()
    with pytest.raises(database.OlderFormat, match="copy it to where it can be written"):
        Store(old_store, read_only=True)
    assert old_store.read_bytes() == before


def test_a_store_of_the_version_before_can_be_imported(old_store: Path, tmp_path: Path) -> None:
    with Store(tmp_path / "home" / "mlxintro.db") as home:
        done = home.import_from(old_store)
        assert (done.runs, done.trials, done.labels, done.vectors) == (3, 218, 5, 2)
        assert home.import_from(old_store) == (0, 0, 0, 0, 0, ())
        assert {run.state for run in home.runs.all()} == {"done", "interrupted"}


def test_old_verdicts_get_their_state_whether_the_store_is_opened_or_imported(old_store: Path, tmp_path: Path) -> None:
    """What a failed grader wrote as the beginning of its reason becomes a field."""
    db = sqlite3.connect(old_store)
    columns = "run, key, grader, version, affirms, abstained, created, reason"
    trials = db.execute("SELECT run, key FROM trials ORDER BY id LIMIT 3").fetchall()
    run, keys = trials[0][0], [key for _, key in trials]
    said = ((1, 0, "it says so"), (None, 1, "not graded before lunch"), (None, 1, "not graded: no answer in 60 s"))
    for key, (affirms, abstained, reason) in zip(keys, said, strict=True):
        row = (run, key, "judge", "1", affirms, abstained, "2026-01-01T00:00:00.000000+00:00", reason)
        db.execute(f"INSERT INTO grades ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    db.commit()
    db.close()
    with Store(tmp_path / "home.db") as home:
        home.import_from(old_store)
        imported = home.grades.latest(run, grader="judge")
        counted = home.grades.counts(run, "judge")
    with Store(old_store) as store:
        opened = store.grades.latest(run, grader="judge")
        assert store.grades.counts(run, "judge") == counted
    assert imported == opened
    by_key = {record.key: record for record in opened}
    assert [(by_key[key].state, by_key[key].naming, by_key[key].reason) for key in keys] == [
        ("scored", None, "it says so"),
        ("abstained", None, "not graded before lunch"),
        ("unscored", None, "no answer in 60 s"),
    ]
    assert sum(count.trials for count in counted if count.graded) == 2


def test_an_old_verdict_that_neither_abstains_nor_does_not_is_refused(old_store: Path, tmp_path: Path) -> None:
    db = sqlite3.connect(old_store)
    db.execute("UPDATE grades SET abstained = 7 WHERE id = (SELECT min(id) FROM grades)")
    db.commit()
    db.close()
    with Store(tmp_path / "home.db") as home, pytest.raises(KnownError, match="table grades, row 1, column state"):
        home.import_from(old_store)


def test_runs_of_the_version_before_are_planned_as_they_were(old_store: Path) -> None:
    """A run that was cut short goes on: every trial has the key and the place that it had."""
    with Store(old_store) as store:
        for run in store.runs.all():
            checked = launch.check(study_of(run))
            with FakeBackend("detector") as backend:
                # The simulated subject is another one since; what a real model is does not change by itself.
                info = replace(backend.info, revision=run.model["revision"])
                study = checked.experiment.plan(checked.study, checked.preset, info, backend.tokenizer)
                keys = [spec.key for spec in study]
            assert len(keys) == run.planned
            trials = list(store.trials.of_run(run.id))
            assert [keys[trial.ordinal] for trial in trials] == [trial.key for trial in trials], run.name
            assert {trial.spec.prompt for trial in trials} <= study.prompts.keys()
