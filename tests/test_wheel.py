"""What is installed lies inside one namespace and is complete, whatever the folder it is used from."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        check=True,
        cwd=ROOT,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_has_one_top_level_package(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"mlxintro"}


def test_the_wheel_holds_every_file_of_the_three_folders(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "mlxintro", "backends", "tui"], check=True, cwd=ROOT, capture_output=True, text=True
    )
    for line in tracked.stdout.splitlines():
        if (ROOT / line).is_file():
            installed = line if line.startswith("mlxintro/") else f"mlxintro/{line}"
            assert installed in names


def test_a_project_with_folders_of_our_names_can_import_us(wheel: Path, tmp_path: Path) -> None:
    installed, project = tmp_path / "installed", tmp_path / "project"
    zipfile.ZipFile(wheel).extractall(installed)
    for name in ("backends", "tui"):
        (project / name).mkdir(parents=True)
        (project / name / "__init__.py").touch()
    environment = {**os.environ, "PYTHONPATH": str(installed), "MLXINTRO_HOME": str(tmp_path / "home")}
    program = "import mlxintro as mi, backends, tui; print(mi.__file__, backends.__file__); mi.Injection, mi.load"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    ours, theirs = done.stdout.split()
    assert Path(ours).is_relative_to(installed)
    assert Path(theirs).is_relative_to(project)
    for command in (["run", "injected-thoughts", "--explain"], ["models", "list"]):
        done = subprocess.run(
            [sys.executable, "-m", "mlxintro", *command], cwd=project, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
