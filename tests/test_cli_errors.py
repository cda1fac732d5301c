"""What a user does wrong, or what goes wrong around a user: one line, the right exit code, and a store left alone."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli import RUN, SMALL, Call, Result, code_started, content, ended, environment, mlxintro, started

FAKE = ("--backend", "fake")


def complaint(done: Result, code: int = 2) -> str:
    """The one line a failed command says; that a model was being loaded may stand before it."""
    *before, last = done.err.splitlines()
    assert [line for line in before if not line.startswith(("loading ", "loaded on "))] == []
    assert last.startswith("mlxintro: "), done.err
    assert len(last) < 400
    assert (done.code, done.out) == (code, "")
    return last


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--concepts", "oceen"), "did you mean 'ocean'? Any word works with --any-word"),
        (("--concepts", "xyzzy"), "no concept called 'xyzzy': any word works with --any-word"),
        (("--concepts", ""), "the list is empty"),
        (("--concepts", " , "), "the list is empty"),
        (("--concepts", "set:nobody"), "choose one of blueprint"),
        (("--concepts", "category:nobody"), "choose one of nature"),
        (("--concepts", "a\nb", "--any-word"), "is no concept"),
        (("--layers", "8"), "layer 8 is out of range: detector has layers 0 to 7"),
        (("--layers", "-1"), "layers: -1 is no layer: an index is a whole number from 0"),
        (("--layers", "1.5"), "a depth fraction lies between 0 and 1"),
        (("--layers", "abc"), "'abc' is not a layer: give an index (20), a range"),
        (("--layers", "nan"), "'nan' is not a layer"),
        (("--layers", "5-2"), "the list is empty"),
        (("--layers", "0-7:0"), "is not a layer"),
        (("--layers", "0-99999999999"), "is not a layer"),
        (("--strengths", "nan"), "strengths: nan is not a finite number"),
        (("--strengths", "1,inf"), "strengths: inf is not a finite number"),
        (("--strengths", "1e999"), "not a finite number"),
        (("--strengths", ""), "the list is empty"),
        (("--strengths", "two"), "'two' is not a number"),
        (("--trials", "0"), "'--trials'"),
        (("--controls", "-1"), "'--controls'"),
        (("--trials", "2", "--temperature", "0"), "use --trials 1"),
        (("--temperature", "nan"), "temperature: "),
        (("--top-p", "0"), "'--top-p'"),
        (("--max-tokens", "0"), "'--max-tokens'"),
        (("--max-tokens", "8192"), "exceed detector's context of 8192: use --max-tokens"),
        (("--seed", "-1"), "'--seed'"),
        (("--preset", "nobody"), "no preset called 'nobody': choose one of ablation, "),
        (("--backend", "cuda"), "'cuda' is not one of 'auto', 'mlx', 'torch', 'fake'"),
        (("-m", "nobody"), "no simulated subject 'nobody': use one of detector"),
        (("-m", "detector?hit=often"), "hit"),
        (("--device", "cuda"), "leave out --device"),
        (("--name", "first"), "already a run called 'first'"),
        (("--name", ""), "cannot be empty: leave --name out"),
        (("--name", " padded"), "one line of 1 to 80 characters"),
        (("--name", "a\nb"), "one line of 1 to 80 characters"),
        (("--name", "\x1b[2J"), "one line of 1 to 80 characters"),
        (("--name", "\udcff"), "one line of 1 to 80 characters"),
        (("--name", "x" * 100_000), "one line of 1 to 80 characters"),
        (("--name", "-x"), "read as an option"),
        (("--frobnicate",), "No such option '--frobnicate'"),
    ],
    ids=lambda value: " ".join(value)[:40].encode("ascii", "replace").decode() if isinstance(value, tuple) else "",
)
def test_wrong_settings_of_a_run(call: Call, home: Path, flags: tuple[str, ...], says: str) -> None:
    before = content(home)
    assert says in complaint(call(*RUN, *flags))
    assert content(home) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("presets", "show", "macar", "a\nb"), "unexpected extra argument (a b)"),
        (("frobnicate",), "no command called 'frobnicate'"),
        (("rnu",), "Did you mean 'run'?"),
        (("runs", "lst"), "Did you mean 'list'?"),
        (("run",), "say which experiment"),
        (
            ("run", "injected-thouhgts"),
            "no experiment called 'injected-thouhgts' (did you mean injected-thoughts?): choose",
        ),
        (("presets", "show", "lindsay"), "no preset called 'lindsay' (did you mean lindsey?): choose one of ablation"),
        (
            ("concepts", "list", "set:blueprnt"),
            "no set of concepts called 'blueprnt' (did you mean blueprint?): choose",
        ),
        (("concepts", "list", "category:natur"), "no category called 'natur' (did you mean nature?): choose one of"),
        (
            ("run", "telepathy", *FAKE),
            "no experiment called 'telepathy': choose one of ablation, ",
        ),
        (("run", "injected-thoughts", "--backend", "torch", "-m", "nobody"), "no model called 'nobody'"),
        (("run", "injected-thoughts", "--backend", "torch", "-m", "./nobody"), "there is no folder ./nobody"),
        (("run", "--resume", "nobody"), "no run called 'nobody'"),
        (("run", "--resume", "first", "--trials", "4"), "leave the other settings out"),
        (("run", "--resume", "first", "--backend", "fake"), "leave the other settings out"),
        (("run", "injected-thoughts", "--resume", "first"), "leave the other settings out"),
        (("runs", "show", "nobody"), "no run called 'nobody'"),
        (("runs", "show", "frist"), "did you mean first?"),
        (("runs", "show", ""), "no run called ''"),
        (("runs", "show", "'; DROP TABLE runs; --"), "no run called"),
        (("runs", "show", "%"), "no run called '%'"),
        (("runs", "show", "🌊"), "no run called"),
        (("runs", "show", "--", "-x"), "no run called '-x'"),
        (("runs", "show", "-x"), "No such option '-x'"),
        (("runs", "show", "first", "zzz"), "no trial starts with 'zzz'"),
        (("runs", "show", "first", ""), "several trials start with ''"),
        (("runs", "rm", "nobody", "--yes"), "no run called 'nobody'"),
        (("runs", "pause", "first"), "first is done: there is nothing to pause"),
        (("runs", "resume", "first"), "first is done"),
        (("runs", "cancel", "first"), "first is done: there is nothing to cancel"),
        (("runs", "import", "nowhere.db"), "there is no store at"),
        (("runs", "export", "first", "--format", "xml"), "'xml' is not one of"),
        (("grade", "nobody"), "no run called 'nobody'"),
        (("grade", "first", "--grader", "nobody"), "'nobody' is not"),
        (("stats", "nobody"), "no run called 'nobody'"),
        (("stats", "first", "--grader", "nobody"), "'nobody' has not graded first: choose one of rules"),
        (("extract", "oceen", *FAKE), "did you mean 'ocean'?"),
        (("extract", *FAKE), "Missing argument 'CONCEPTS...'"),
        (("extract", "ocean", *FAKE, "--layers", "9"), "layer 9 is out of range"),
        (("extract", "", *FAKE, "--any-word"), "is no concept"),
        (("steer", "ocean", *FAKE, "--strength", "nan"), "finite"),
        (("steer", "ocean", *FAKE, "--strength", "0"), "changes nothing that could be tested"),
        (("steer", "ocean", *FAKE, "--prompt", "\udcff"), "--prompt is not UTF-8"),
        (("steer", "ocean", *FAKE, "--layer", "1,2"), "--layer takes one layer"),
        (("steer", "set:blueprint", *FAKE), "steer takes one concept, and set:blueprint is 5"),
        (("steer", "ocean", *FAKE, "--max-tokens", "9000"), "exceed detector's context"),
        (("check", *FAKE, "-m", "nobody"), "no simulated subject 'nobody'"),
        (("models", "fetch", "nobody"), "no model called 'nobody'"),
        (("--db", "", "runs", "list"), "--db takes the path of a file"),
        (("--db", "/", "runs", "list"), "--db takes the path of a file"),
        (("--db", "nowhere.db", "runs", "list"), "there is no store at"),
    ],
    ids=lambda value: " ".join(value)[:40].encode("ascii", "replace").decode() if isinstance(value, tuple) else "",
)
def test_wrong_commands(call: Call, home: Path, arguments: tuple[str, ...], says: str) -> None:
    before = content(home)
    assert says in complaint(call(*arguments))
    assert content(home) == before


def test_a_group_without_a_command_shows_its_help(call: Call) -> None:
    for arguments in ((), ("runs",), ("models",)):
        done = call(*arguments)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith("Usage: mlxintro")


def test_the_start_of_two_names_lists_both(call: Call) -> None:
    assert call(*RUN, "--concepts", "ocean", "--strengths", "2", "--name", "fir").code == 0
    assert "first (" in (line := complaint(call("runs", "show", "fi")))
    assert "fir (" in line


def test_a_run_of_another_model_is_not_resumed(call: Call, home: Path) -> None:
    edit(home, "UPDATE runs SET model = json_set(model, '$.revision', 'older')")
    line = complaint(call("run", "--resume", "first"))
    assert "first cannot be resumed: revision was older, is fake:" in line


def edit(home: Path, sql: str) -> None:
    with closing(sqlite3.connect(home / "mlxintro.db")) as db:
        db.execute(sql)
        db.commit()


ANY = [("runs", "list"), ("runs", "show", "first"), ("stats", "first"), ("run", "--resume", "first"), SMALL]


@pytest.mark.parametrize("command", ANY, ids=lambda command: " ".join(command[:2]))
def test_a_store_from_a_newer_version_is_left_alone(call: Call, home: Path, command: tuple[str, ...]) -> None:
    edit(home, "INSERT INTO migrations (name, applied) VALUES ('m999_from_the_future', '2030-01-01')")
    before = content(home)
    assert "newer mlxintro" in complaint(call(*command), 1)
    assert content(home) == before


@pytest.mark.parametrize("command", ANY, ids=lambda command: " ".join(command[:2]))
def test_a_file_that_is_no_store_is_left_alone(call: Call, home: Path, command: tuple[str, ...]) -> None:
    (home / "mlxintro.db").write_bytes(b"trial,reply\n" * 1000)
    assert "it is not a database" in complaint(call(*command), 1)
    assert (home / "mlxintro.db").read_bytes() == b"trial,reply\n" * 1000


def test_a_damaged_store_is_one_line(call: Call, home: Path) -> None:
    with (home / "mlxintro.db").open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom((home / "mlxintro.db").stat().st_size - 4096))
    assert "the file is damaged" in complaint(call("runs", "list"), 1)


@pytest.mark.parametrize(
    "command", [("steer", "ocean", "--layer", "99"), ("extract", "ocean", "--layers", "99"), ("dose", "--layers", "99")]
)
def test_a_layer_that_is_not_there_is_told_before_any_word_is_read(call: Call, command: tuple[str, ...]) -> None:
    done = call(*command, *FAKE)
    assert complaint(done, 2) == "mlxintro: layer 99 is out of range: detector has layers 0 to 7"


@pytest.mark.parametrize("where", ["none/out.csv", "."])
def test_an_export_that_cannot_be_written_is_one_line(call: Call, home: Path, where: str) -> None:
    done = call("runs", "export", "first", "--format", "csv", "-o", str(home / where))
    assert done.code in (1, 2)
    complaint(done, done.code)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full exists on Linux only")
@pytest.mark.parametrize("command", [("runs", "list"), ("runs", "export", "first"), ("--help",)], ids=" ".join)
def test_a_full_disk_behind_stdout_is_one_line(home: Path, command: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        done = mlxintro(home, *command, stdout=full)
    assert complaint(done, 1) == "mlxintro: the disk is full: free some space and try again"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk (run as root on Linux)")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_fills_up_ends_the_run_in_one_line_and_space_lets_it_go_on(small_disk: Path) -> None:
    full = mlxintro(small_disk, *RUN, "--strengths", "1,2,3,4", "--trials", "10", "--controls", "none", "--name", "big")
    assert full.code == 1
    assert full.err.splitlines()[-1].startswith("mlxintro: ")
    assert "space" in full.err.splitlines()[-1]
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    (found,) = mlxintro(small_disk, "runs", "list", "--json").lines
    assert found["done"] < found["planned"] == 200
    assert mlxintro(small_disk, "run", "--resume", "big").code == 0
    keys = [row["trial_key"] for row in mlxintro(small_disk, "runs", "export", "big").lines]
    assert len(keys) == len(set(keys)) == 200


UNPRIVILEGED = """
import os, sys
from importlib import import_module
for name in ("main", "running.run", "running.runs", "results.stats", "grading.grade", "output", "options"):
    import_module("mlxintro.cli." + name)
import mlxintro.running.launch, mlxintro.store.store, mlxintro.grading.passes, mlxintro.experiments.injected_thoughts
import mlxintro.backends.simulated.backend, mlxintro.backends.registry, mlxintro.backends.models.sources
import platformdirs, psutil, sqlite3
import mlxintro.protocol.concepts, mlxintro.protocol.presets
mlxintro.protocol.concepts.library()
mlxintro.protocol.presets.load = lambda name, preset=mlxintro.protocol.presets.load("lindsey"): preset
mlxintro.protocol.presets.names = lambda names=mlxintro.protocol.presets.names(): names
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
from mlxintro.cli.main import main
main()
"""


@pytest.mark.parametrize("command", [SMALL, ("runs", "rm", "first", "--yes"), ("grade", "first", "--again")])
def test_a_store_that_cannot_be_written_is_one_line_and_can_still_be_read(
    filled: Path, command: tuple[str, ...]
) -> None:
    folder = Path(tempfile.mkdtemp(prefix="archive-"))
    try:
        shutil.copy(filled / "mlxintro.db", folder)
        (folder / "mlxintro.db").chmod(0o444)
        folder.chmod(0o555)

        def unprivileged(*arguments: str) -> Result:
            # Rights are dropped after loading, because Python's own files may be root's.
            called = f"import sys; sys.argv = {['mlxintro', *arguments]}"
            return ended(code_started(f"{called}\n{UNPRIVILEGED}", environment(folder)))

        assert "18/18" in unprivileged("runs", "list").out
        assert "cannot be written" in complaint(unprivileged(*command), 1)
        assert "18/18" in unprivileged("runs", "list").out
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_ctrl_c_before_anything_has_started_is_130_without_a_traceback(tmp_path: Path) -> None:
    process = started(tmp_path, *SMALL, "-m", "detector?delay=5")
    assert process.stderr is not None
    first = process.stderr.readline()
    assert first.startswith("loading ")
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.rstrip().endswith("mlxintro: interrupted")
    assert "Traceback" not in err
