"""Fixtures shared by the tests, made once for all processes that run them."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

# Before the others: it looks through all modules that there are, for every frame that imports it.
import wordfreq  # noqa: F401
from filelock import FileLock

from mlxintro.cli.main import main
from tests.cli import SMALL, Call, Result, mlxintro
from tests.tiny import make_tiny

# Before torch is imported anywhere: its threads wait by spinning, and on a busy machine tiny models then take ten times
# as long as on one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests that share what a module made on one process; all others go wherever there is room.

    The group is the file and the parameters of its module's fixtures, so that a file over six model families is spread
    over the processes, and each family is loaded once.
    """
    for item in items:
        fixtures = getattr(item, "_fixtureinfo", None)
        if not isinstance(item, pytest.Function) or fixtures is None:
            continue
        wide = {name for name, found in fixtures.name2fixturedefs.items() if found[-1].scope == "module"}
        if wide:
            values = item.callspec.params if hasattr(item, "callspec") else {}
            shared = [f"{name}={values[name]}" for name in sorted(wide & values.keys())]
            item.add_marker(pytest.mark.xdist_group(" ".join([item.nodeid.split("::")[0], *shared])))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Search for no garbage while modules are imported: a third of what a process takes to collect the tests."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """Leave what all test modules have imported out of every later search for garbage: a million objects that stay.

    Closed backends ask for such a search, and statsmodels makes one after every adjustment of p values.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """A folder by name, filled by a function in whichever process asks for it first."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder(name: str, fill: Callable[[Path], object]) -> Path:
        path, ready = shared / name, shared / f"{name}.ready"
        with FileLock(shared / f"{name}.lock"):
            if not ready.exists():
                path.mkdir()
                fill(path)
                ready.touch()
        return path

    return folder


@pytest.fixture(scope="session")
def tiny(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Callable[[str], Path]:
    """Folder of a tiny random model, by family."""
    return lambda family: made_once(family, lambda path: make_tiny(family, path))


def _fill(home: Path) -> None:
    assert mlxintro(home, *SMALL, "--name", "first").code == 0


@pytest.fixture(scope="session")
def filled(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A home with one finished run, only copied from."""
    return made_once("filled", _fill)


@pytest.fixture
def home(filled: Path, tmp_path: Path) -> Path:
    """A home with one finished run, to do anything with."""
    return Path(shutil.copytree(filled, tmp_path / "home"))


@pytest.fixture
def call(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Call ``main`` here, which is quicker than a process, with that home."""
    monkeypatch.setenv("MLXINTRO_HOME", str(home))
    monkeypatch.setenv("HF_HOME", str(home / "hub"))

    def run(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["mlxintro", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            main()
        out, err = capsys.readouterr()
        assert isinstance(ending.value.code, int)
        return Result(ending.value.code, out, err)

    return run
