"""Fixtures shared by the tests, made once for all processes that run them."""

from __future__ import annotations

import functools
import gc
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Before the others: it looks through all modules that there are, for every frame that imports it.
import wordfreq  # noqa: F401
from filelock import FileLock

from mlxintro.cli.main import main
from mlxintro.store import Store
from tests.cli import SMALL, Call, Result, mlxintro
from tests.tiny import FAMILIES, TORCH_DEVICE, make_tiny

if TYPE_CHECKING:
    from mlxintro.backends.base import Backend
    from tests.contract import Subject
    from tests.reference import Reference

# Before torch is imported anywhere: its threads wait by spinning, and on a busy machine tiny models then take ten times
# as long as on one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests that share what was made for several on one process; all others go wherever there is room.

    The group is the file and the parameters of its module's fixtures, so that a file over six model families is spread
    over the processes, and each family is loaded once. What is made for the session by parameter is shared by files.
    """
    for item in items:
        fixtures = getattr(item, "_fixtureinfo", None)
        if not isinstance(item, pytest.Function) or fixtures is None:
            continue
        values = item.callspec.params if hasattr(item, "callspec") else {}
        scopes = {name: found[-1].scope for name, found in fixtures.name2fixturedefs.items() if found}
        file = [item.nodeid.split("::")[0]] if "module" in scopes.values() else []
        shared = [f"{name}={values[name]}" for name in sorted(values) if scopes.get(name) in ("module", "session")]
        if file or shared:
            item.add_marker(pytest.mark.xdist_group(" ".join([*file, *shared])))


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


@pytest.fixture(scope="session")
def references(tiny: Callable[[str], Path]) -> Callable[[str], Reference]:
    """The independent truth about a tiny model, by family."""
    from tests.reference import Reference

    @functools.cache
    def reference(family: str) -> Reference:
        return Reference(tiny(family), family)

    return reference


@pytest.fixture(
    scope="session", params=[(name, family) for name in ("torch", "mlx") for family in FAMILIES], ids="-".join
)
def subject(
    request: pytest.FixtureRequest, tiny: Callable[[str], Path], references: Callable[[str], Reference]
) -> Iterator[Subject]:
    """Every backend with a tiny model of every family, beside the truth about that model."""
    from mlxintro.backends.models.sources import read_folder
    from tests.contract import Subject

    name, family = request.param
    source = read_folder(tiny(family), name=family, repository=str(tiny(family)))
    backend: Backend
    if name == "torch":
        from mlxintro.backends.pytorch import backend as torch_backend

        backend = torch_backend.load(source, device=TORCH_DEVICE, dtype="float32")
    else:
        if importlib.util.find_spec("mlx") is None:
            pytest.skip("the mlx library does not exist for this platform")
        from mlxintro.backends.mlxlm import backend as mlx_backend

        backend = mlx_backend.load(source, dtype="float32")
    with backend:
        yield Subject(name, backend, references(family))


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
def store(tmp_path: Path) -> Iterator[Store]:
    """A store that is open and empty."""
    with Store(tmp_path / "store.db") as opened:
        yield opened


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
