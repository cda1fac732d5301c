"""``certify`` that is killed in each of its phases, and what going on with it costs."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mlxintro.backends.errors import UsageError
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.ladder.certify.assembly import CertifyOrder, assemble, outline
from mlxintro.ladder.certify.draft import CertifyDraft
from mlxintro.vectors.cache import VectorCache
from tests.cli import Result, mlxintro, started
from tests.matrix import in_slow_tests

ORDER = ("-m", "detector?hit=0.95&delay=0.004", "--backend", "fake", "--max-tokens", "24")
SMALL = ("certify", *ORDER, "--concepts", "ocean,bread,fear", "--repeats", "2", "--json")
NAMED = (*SMALL, "--name", "whole")


class CountingBackend(FakeBackend):
    """Counts what is asked of it."""

    asked = 0

    def _generate(self, *arguments: Any) -> Any:
        self.asked += 1
        return super()._generate(*arguments)

    def _score(self, *arguments: Any) -> Any:
        self.asked += 1
        return super()._score(*arguments)

    def _capture(self, *arguments: Any) -> Any:
        self.asked += 1
        return super()._capture(*arguments)


def order(**settings: Any) -> CertifyOrder:
    wanted: dict[str, Any] = {"concepts": ("ocean", "bread", "fear"), "repeats": 2, **settings}
    return CertifyOrder("detector", {"backend": "fake", "max_tokens": 24}, **wanted)


def ladder_of(result: Result) -> Any:
    assert result.code == 0, result.err
    return result.lines[-1]["ladder"]


def draft_of(home: Path, name: str = "whole") -> dict[str, Any]:
    path = CertifyDraft.named(home / "mlxintro.db", name)
    return dict(json.loads(path.read_text("utf-8"))["found"]) if path.exists() else {}


def finished(home: Path) -> int:
    path = home / "mlxintro.db"
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path)) as db:
        try:
            return int(db.execute("SELECT count(*) FROM trials").fetchone()[0])
        except sqlite3.OperationalError:
            return 0


PHASES: dict[str, Callable[[Path], bool]] = {
    "dose": lambda home: any(name.startswith("dose") for name in draft_of(home)),
    "calibration": lambda home: "impacts" in draft_of(home),
    "main": lambda home: finished(home) > 20,
}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return ladder_of(mlxintro(tmp_path_factory.mktemp("home"), *NAMED))


@pytest.mark.parametrize("phase", [*map(in_slow_tests, ("dose", "calibration")), "main"])
def test_a_command_that_is_killed_goes_on_and_comes_to_the_same_ladder(
    phase: str, uninterrupted: Any, tmp_path: Path
) -> None:
    process = started(tmp_path, *NAMED)
    until = time.monotonic() + 60
    while not PHASES[phase](tmp_path):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    known = draft_of(tmp_path)
    assert bool(known) == (phase != "main")
    again = mlxintro(tmp_path, "certify", "--resume", "whole", "--json")
    assert ladder_of(again) == uninterrupted
    assert not CertifyDraft.named(tmp_path / "mlxintro.db", "whole").exists()
    assert ("looking for a dose" in again.err) == (phase != "main")


def test_nothing_that_was_found_is_sought_again(tmp_path: Path) -> None:
    path = tmp_path / "draft.json"
    backend = CountingBackend("detector")
    first = assemble(backend, VectorCache(tmp_path), order(), lambda line: None, CertifyDraft({}, path))
    sought = backend.asked
    assert sought > 4
    backend.asked = 0
    kept = CertifyDraft.read(path)
    assert kept is not None
    again = assemble(backend, VectorCache(tmp_path), order(), lambda line: None, kept)
    assert backend.asked == 0
    assert again.checked.study == first.checked.study
    assert [spec.key for spec in again.planned] == [spec.key for spec in first.planned]
    # Without one finding only that one is sought.
    del kept.found["matched-other"]
    assemble(backend, VectorCache(tmp_path), order(), lambda line: None, kept)
    assert 0 < backend.asked < sought


def test_a_dose_is_sought_where_it_is_wanted_and_no_further(tmp_path: Path) -> None:
    draft = CertifyDraft({})
    made = assemble(FakeBackend("detector"), VectorCache(tmp_path), order(), lambda line: None, draft)
    layers = {name.split()[1] for name in draft.found if name.startswith("dose")}
    assert layers == {str(made.checked.study.layers[0])}  # type: ignore[index]


def test_a_study_is_outlined_without_asking_the_model_anything() -> None:
    backend = CountingBackend("detector")
    checked, planned = outline(backend, order(repeats=None, trials=600))
    assert backend.asked == 0
    assert len(planned) <= 600
    one_more = order(repeats=(checked.study.trials or 0) + 1)
    assert len(outline(backend, one_more)[1]) > 600
    with pytest.raises(UsageError, match=r"give --trials [0-9]+"):
        outline(backend, order(repeats=None, trials=10))


def test_an_hour_that_is_too_short_names_one_that_is_enough() -> None:
    backend = FakeBackend("detector?delay=0.05")
    with pytest.raises(UsageError, match=r"give --hours ([0-9.]+) or more") as caught:
        outline(backend, order(repeats=None, hours=0.0001))
    enough = float(str(caught.value).split("--hours ")[1].split()[0])
    # Timed again, so with some room.
    assert len(outline(backend, order(repeats=None, hours=3 * enough))[1])


def test_what_was_begun_takes_no_other_settings_and_no_second_beginning(tmp_path: Path) -> None:
    CertifyDraft({"name": "whole"}, CertifyDraft.named(tmp_path / "mlxintro.db", "whole")).save()
    other = mlxintro(tmp_path, "certify", "--resume", "whole", "--repeats", "3")
    assert other.code == 2
    assert "leave the other settings out" in other.err
    again = mlxintro(tmp_path, *NAMED)
    assert again.code == 2
    assert "--resume whole" in again.err
    unknown = mlxintro(tmp_path, "certify", "--resume", "nothing")
    assert unknown.code == 2
    path = CertifyDraft.named(tmp_path / "mlxintro.db", "whole")
    path.write_text("{", "utf-8")
    broken = mlxintro(tmp_path, "certify", "--resume", "whole")
    assert broken.code == 2
    assert "delete it" in broken.err


def test_dry_run_tells_cost_and_power_and_stores_nothing(tmp_path: Path) -> None:
    told = mlxintro(tmp_path, "certify", *ORDER, "--dry-run")
    assert told.code == 0, told.err
    assert "trials, preset lindsey" in told.out
    assert "what it could exclude" in told.out
    assert "short replies to find a dose" in told.out
    assert not (tmp_path / "certify").exists()
    assert not (tmp_path / "mlxintro.db").exists()
