"""The environment that make sets up, with an interpreter that only says what it is asked for."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
INTERPRETER = """#!/bin/sh
case "$1" in
  -c) echo "VERSION" ;;
  -m)
    if [ "$2" = venv ]; then mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; exit; fi
    echo "installs with VERSION"
    printf '#!/bin/sh\\necho "runs under VERSION"\\n' > .venv/bin/mlxintro
    chmod +x .venv/bin/mlxintro ;;
esac
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    for version in ("3.11.7", "3.12.1", "old"):
        path = tmp_path / f"python-{version}"
        path.write_text(INTERPRETER.replace("VERSION", version))
        path.chmod(0o755)
    return tmp_path


def make(project: Path, version: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "demo", f"PYTHON=./python-{version}"]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=60)


def test_another_interpreter_makes_a_new_environment_that_is_complete(project: Path) -> None:
    first, again, other = (make(project, version) for version in ("3.11.7", "3.11.7", "3.12.1"))
    assert first.returncode == again.returncode == other.returncode == 0, other.stderr
    assert "runs under 3.11.7" in first.stdout
    assert "installs" not in again.stdout
    assert "installs with 3.12.1" in other.stdout
    assert "runs under 3.12.1" in other.stdout


def test_an_interpreter_that_is_too_old_is_one_line_and_removes_nothing(project: Path) -> None:
    make(project, "3.11.7")
    refused = make(project, "old")
    assert refused.returncode != 0
    assert "needs Python 3.11 or newer" in refused.stderr.splitlines()[0]
    assert (project / ".venv/bin/mlxintro").exists()


def test_what_runs_before_a_commit_formats_as_make_check_does() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    pinned = re.search(r"^ruff==(.+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)
    assert pinned is not None
    assert f"ruff-pre-commit\n    rev: v{pinned[1]}\n" in hooks
