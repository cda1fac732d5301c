"""What can go wrong with a store's file, its folder and its disk; and where things live."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlxintro.backends.errors import KnownError, UsageError
from mlxintro.paths import data_home
from mlxintro.running.environment import git_commit
from mlxintro.store import Finished, Store
from mlxintro.store import database as database_module
from tests.plans import outcome, spec
from tests.stores import counted, filled


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store.db") as opened:
        yield opened


def one_line(error: pytest.ExceptionInfo[KnownError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_reading_does_not_create_a_store(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mlxintro run"):
        Store(tmp_path / "none" / "store.db", read_only=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_that_is_not_a_database_is_one_line(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "store.db"
    path.write_text("trial,reply\n" * 1000)
    with pytest.raises(KnownError, match="not a database") as error:
        Store(path, read_only=read_only)
    assert str(path) in one_line(error)
    assert path.read_text() == "trial,reply\n" * 1000


@pytest.mark.parametrize("read_only", [False, True])
def test_another_programs_database_is_left_alone(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "places.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE migrations (name TEXT)")
    db.close()
    with pytest.raises(KnownError, match="another program"):
        Store(path, read_only=read_only)


@pytest.mark.parametrize("read_only", [False, True])
def test_a_store_from_a_newer_version_is_refused(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "store.db"
    with Store(path) as store:
        filled(store, 3)
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO migrations (name, applied) VALUES ('m999_from_the_future', '2030-01-01')")
    db.close()
    with pytest.raises(KnownError, match=r"newer mlxintro .*m999_from_the_future.*update") as error:
        Store(path, read_only=read_only)
    one_line(error)


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with Store(path) as store:
        run = filled(store, 300)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(size - 8192))
    with pytest.raises(KnownError, match="damaged") as error, Store(path) as store:
        list(store.trials.of_run(run))
    one_line(error)


def test_a_locked_store_is_one_line(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.2)
    blocker = sqlite3.connect(store.path, isolation_level=None)
    with Store(store.path) as other:
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(KnownError, match="locked") as error:
            other.runs.create("latent", planned=1)
        one_line(error)
        blocker.execute("ROLLBACK")
        other.runs.create("latent", planned=1)
    blocker.close()


@pytest.mark.parametrize("where", ["folder", "below a file"])
def test_a_path_that_cannot_hold_a_store_is_one_line(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KnownError) as error:
        Store(tmp_path if where == "folder" else tmp_path / "file" / "store.db")
    assert "--db" in one_line(error)


def fill_up(store: Store, run: str) -> None:
    for i in range(100, 4000):
        store.trials.add(run, [Finished(i, spec(i), outcome(spec(i), "word " * 100))])


def test_a_full_database_is_one_line_and_keeps_what_it_has(store: Store) -> None:
    run = filled(store, 10)
    (pages,) = store.database.connection.execute("PRAGMA page_count").fetchone()
    store.database.connection.execute(f"PRAGMA max_page_count = {pages + 4}")
    with pytest.raises(KnownError, match=r"disk is full.*free some space") as error:
        fill_up(store, run)
    one_line(error)
    added = store.runs.get(run).done - 10
    assert added > 0
    assert counted(store, run) == (10 + added, 0)
    store.database.connection.execute(f"PRAGMA max_page_count = {pages + 4000}")
    store.trials.add(run, [Finished(1, spec(999), outcome(spec(999)))])
    assert (store.runs.get(run).done, 0) == counted(store, run)


def test_a_full_disk_is_one_line_and_keeps_what_it_has(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk (run as root on Linux)")
    try:
        with Store(disk / "store.db") as store:
            run = filled(store, 5)
            with pytest.raises(KnownError, match=r"free some space|has space") as error:
                fill_up(store, run)
            one_line(error)
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        with Store(disk / "store.db") as store:
            assert (store.runs.get(run).done, 0) == counted(store, run)
            assert store.runs.get(run).done > 5
            assert store.database.connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture
def archive() -> Iterator[Path]:
    """A store in a place that other users may read; pytest's own folders are private."""
    folder = Path(tempfile.mkdtemp(prefix="archive-"))
    folder.chmod(0o755)
    with Store(folder / "store.db") as store:
        filled(store, 7)
    yield folder / "store.db"
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)
    shutil.rmtree(folder)


def without_rights(code: str) -> subprocess.CompletedProcess[str]:
    """Run as somebody whom file permissions bind, which root is not.

    Rights are dropped after Python has loaded, because its own files may be root's.
    """
    drop = "import os, psutil, mlxintro.store, mlxintro.protocol.hashing\n"
    drop += "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    root = Path(__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-c", (drop if os.geteuid() == 0 else "") + code], capture_output=True, text=True, cwd=root
    )


READ = """
from mlxintro.store import Store
store = Store({path!r}, read_only=True)
run = store.runs.all()[0]
print(run.done, len(list(store.trials.of_run(run.id))))
"""


WRITE = """
from mlxintro.store import Store
from mlxintro.backends.errors import KnownError
try:
    Store({path!r}).runs.create("latent", planned=1)
except KnownError as error:
    print(error)
"""


@pytest.mark.parametrize(("file", "folder"), [(0o444, 0o555), (0o444, 0o755), (0o644, 0o555)])
def test_a_read_only_store_can_be_read_and_says_so_when_written(archive: Path, file: int, folder: int) -> None:
    archive.chmod(file)
    archive.parent.chmod(folder)
    read = without_rights(READ.format(path=str(archive)))
    assert read.stdout.split() == ["7", "7"], read.stderr
    if os.geteuid() != 0 and (file, folder) == (0o444, 0o755):
        return  # The owner of the folder may still add files to it, but then SQLite's answer is the same as below.
    written = without_rights(WRITE.format(path=str(archive)))
    assert written.stdout.count("\n") == 1, written.stderr
    assert "--db" in written.stdout


def test_changes_that_cannot_be_merged_are_not_silently_left_out(archive: Path) -> None:
    # A copy that was taken while a run was writing, put on a disk that cannot be written.
    with Store(archive) as live:
        filled(live, 9, name="second")
        copy = archive.parent / "copy"
        copy.mkdir()
        shutil.copy(archive, copy / "store.db")
        shutil.copy(f"{archive}-wal", copy / "store.db-wal")
    copy.chmod(0o555)
    read = without_rights(READ.format(path=str(copy / "store.db")))
    assert "copy both files elsewhere" in read.stderr
    copy.chmod(0o755)
    shutil.copytree(copy, archive.parent / "elsewhere")
    with Store(archive.parent / "elsewhere" / "store.db", read_only=True) as followed:
        assert [run.done for run in followed.runs.all()] == [9, 7]
    shutil.rmtree(archive.parent / "elsewhere")
    shutil.rmtree(copy)


def test_a_store_opened_for_reading_refuses_to_write(store: Store) -> None:
    run = filled(store, 1)
    with Store(store.path, read_only=True) as viewer, pytest.raises(KnownError, match="for reading only"):
        viewer.runs.set_state(run, "done")


def test_the_store_is_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLXINTRO_HOME", str(tmp_path / "home"))
    home = data_home()
    assert home.db == tmp_path / "home" / "mlxintro.db"
    assert (home.vectors, home.logs) == (tmp_path / "home" / "vectors", tmp_path / "home" / "logs")
    assert data_home(tmp_path / "a.db").db == tmp_path / "a.db"
    assert data_home(tmp_path / "a.db").vectors == tmp_path / "vectors"
    monkeypatch.delenv("MLXINTRO_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert data_home().db.is_relative_to(tmp_path)
    assert list(tmp_path.iterdir()) == [], "asking creates nothing"


def test_a_checkout_around_installed_packages_is_not_this_programs_commit(tmp_path: Path) -> None:
    installed = tmp_path / "venv" / "mlxintro"
    installed.mkdir(parents=True)
    (installed / "module.py").touch()
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    assert git_commit(installed) is None
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "y"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert git_commit(installed) == {"commit": head, "dirty": False}
    (installed / "module.py").write_text("changed")
    assert git_commit(installed) == {"commit": head, "dirty": True}
