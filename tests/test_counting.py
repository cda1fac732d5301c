"""How far a process is: told as data to the program that started it, and estimated only from what is known."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from mlxintro.cli.running import progress
from mlxintro.cli.running.progress import Bar
from mlxintro.paths import data_home
from mlxintro.running.counting import FILE_VARIABLE, ProgressCount, read_counting
from mlxintro.tui.reading import wording
from mlxintro.tui.running.processes import Processes


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(progress, "time", found)
    return found


def test_what_is_counted_stands_in_a_file_until_it_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    file = tmp_path / "run.progress"
    monkeypatch.setenv(FILE_VARIABLE, str(file))
    with Bar("downloading", unit=" MB") as bar:
        assert read_counting(file) is None
        bar.count(10, 50)
        clock.now += 4
        bar.count(20, 50)
        assert read_counting(file) == ProgressCount("downloading", 20, 50, " MB", seconds_left=12.0)
    assert list(tmp_path.iterdir()) == []


def test_what_is_left_is_told_once_a_batch_is_done_and_counted_from_the_first_look(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sixteen rows at a time, one second each step: the shortest reply of a batch tells nothing of the others."""
    bar = Bar("trials")
    clock.now += 600  # loading the model
    said = []
    for done, seconds in ((0, 0), (1, 30), (15, 28), (16, 2)):
        clock.now += seconds
        bar.count(done, 160, together=16)
        said.append(capsys.readouterr().err)
    assert "left" not in "".join(said[:-1])
    clock.now += 60
    bar.count(32, 160, together=16)
    assert "trials: 32/160, about 8 min left" in capsys.readouterr().err


def test_a_damaged_file_of_progress_is_none(tmp_path: Path) -> None:
    file = tmp_path / "run.progress"
    for text in ("", "[]", '{"what": "x"}', "\x00"):
        file.write_text(text)
        assert read_counting(file) is None


def test_the_app_shows_the_numbers_of_its_process_however_that_words_them(tmp_path: Path) -> None:
    processes = Processes(data_home(tmp_path / "x.db"))
    code = (
        "import time; from mlxintro.cli.running.progress import Bar; bar = Bar('laden', unit=' Teile').__enter__(); "
        "bar.count(1, 4); print('halb geladen', flush=True); time.sleep(60)"
    )
    processes.command = lambda *_: [sys.executable, "-c", code]  # type: ignore[method-assign]
    child = processes.start("one", [])
    try:
        end = time.monotonic() + 30
        while child.counting is None:
            assert time.monotonic() < end
            time.sleep(0.02)
        line = wording.preparation(child.counting, "halb geladen")
        assert line.split("  ") == ["◔ laden 1/4 Teile", "█████···············"]
    finally:
        child.process.kill()
        child.process.wait()
    assert processes.ended() == [child]
    assert child.counting is None, "one that was killed leaves nothing behind"
    assert wording.preparation(None, "loading smollm2 ...") == "◔ loading smollm2 ..."
