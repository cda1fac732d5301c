"""What happens to a run whose store goes away under it, and to files that cannot be written to their end."""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from pathlib import Path

import pytest

from mlxintro.backends.errors import KnownError
from mlxintro.rendering.whole_file import whole_file, write_whole
from mlxintro.running.live import live_file
from mlxintro.store import Store

from .cli import RUN, Call, ended, events, mlxintro, started, until

LONG = (*RUN, "--name", "long", "--concepts", "ocean,fear", "--strengths", "2,4", "--trials", "300", "--json")


@pytest.mark.parametrize("loss", ["deleted", "moved", "replaced"])
def test_a_store_that_goes_away_ends_the_run_with_one_line_and_no_new_file(tmp_path: Path, loss: str) -> None:
    elsewhere = tmp_path / "elsewhere.db"
    with Store(elsewhere) as other:
        other.runs.create("latent", planned=1)
    process = started(tmp_path, *LONG)
    until(events(process), "TrialFinished")
    path = tmp_path / "mlxintro.db"
    if loss == "deleted":
        path.unlink()
    else:
        path.rename(tmp_path / "away.db")
    if loss == "replaced":
        # SQLite would read the rest of the old store's log into the new file: whoever moves a store moves these too.
        for side in ("-wal", "-shm"):
            Path(f"{path}{side}").unlink(missing_ok=True)
        elsewhere.rename(path)
    done = ended(process)
    assert done.code == 1
    assert "deleted, moved or replaced" in done.err.splitlines()[-1]
    assert path.exists() == (loss == "replaced")
    if loss == "replaced":
        with Store(path) as other:
            assert [run.experiment for run in other.runs.all()] == ["latent"]


def test_a_heartbeat_opens_a_store_and_never_makes_one(tmp_path: Path) -> None:
    with pytest.raises(KnownError, match="cannot be opened"):
        Store(tmp_path / "none.db", create=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_told_to_end_leaves_no_live_file_and_can_go_on(tmp_path: Path, number: signal.Signals) -> None:
    process = started(tmp_path, *LONG)
    told = until(events(process), "RunStarted")
    live = live_file(tmp_path / "mlxintro.db", told["run"])
    deadline = time.monotonic() + 30
    while not live.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert live.exists()
    process.send_signal(number)
    done = ended(process)
    assert done.code == 130
    assert not live.exists()
    listed = json.loads(mlxintro(tmp_path, "runs", "list", "--json").out)
    assert listed["state"] == "interrupted"
    assert listed["done"] > 0


def test_a_file_that_cannot_be_finished_leaves_the_one_that_was_there(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    target.write_text("earlier")

    def half() -> None:
        with whole_file(target) as place:
            place.write_text("half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(KnownError, match="No space left"):
        half()
    assert target.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [target]
    write_whole(target, "later")
    assert target.read_text() == "later"


def test_a_report_and_labels_on_a_full_disk_keep_the_earlier_files(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, *args: object, **settings: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    files = [tmp_path / "r.html", tmp_path / "labels.jsonl"]
    for file in files:
        file.write_text("earlier")
    monkeypatch.setattr(Path, "write_text", full)
    for command in (("report", "first", "-o", str(files[0])), ("label", "first", "--export", str(files[1]))):
        done = call(*command)
        assert done.code == 1
        assert "No space left" in done.err
    assert [file.read_bytes() for file in files] == [b"earlier", b"earlier"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("[" * 5000, "nested deeper"),
        ('{"trial_key": "b2:0", "affirms": true, "note": "\\ud800"}', "lone surrogate"),
        ('{"trial_key": NaN, "affirms": true}', "NaN"),
        ('{"trial_key": "b2:0", "affirms": true, "note": ' + "9" * 5000 + "}", "64 bits"),
    ],
)
def test_labels_that_cannot_be_read_are_refused_in_one_line(call: Call, tmp_path: Path, line: str, says: str) -> None:
    file = tmp_path / "labels.jsonl"
    file.write_text(line + "\n", "utf-8")
    done = call("label", "first", "--import", str(file))
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "line 1" in done.err
    assert says in done.err
    graded = call("grade", "--file", str(file))
    assert graded.code == 1
    assert says in graded.err


def test_a_file_in_utf16_is_said_to_be_that(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        file.write_bytes('{"response": "a"}\n'.encode(encoding))
        for command in (("label", "first", "--import", str(file)), ("grade", "--file", str(file))):
            done = call(*command)
            assert done.code == 2
            assert done.err.count("\n") == 1
            assert "UTF-16" in done.err
