"""The README's code runs as it stands, and its commands exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mlxintro.backends.models import embedded
from tests.tiny import make_tiny

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.skipif(embedded.find_gguf() is None, reason="needs the embedded model: make installs it")
def test_the_notebook_lines_run(tmp_path: Path) -> None:
    notebook_lines_run(notebook_lines(), 576, tmp_path)


def test_the_notebook_lines_run_with_a_smaller_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With as many layers as they name, and a folder in the place of the embedded model."""
    monkeypatch.setenv("MLXINTRO_HOME", str(tmp_path))
    folder = make_tiny("llama", tmp_path / "tiny", layers=24)
    code = notebook_lines()
    assert code.count('"smollm2"') == 1
    exec(compile(code.replace('"smollm2"', repr(str(folder))), "README.md", "exec"), {})
    check_said(capsys.readouterr().out, 64)


def notebook_lines() -> str:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    return str(code)


def notebook_lines_run(code: str, width: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**_environment(), "MLXINTRO_HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    check_said(done.stdout, width)


def check_said(said: str, width: int) -> None:
    lines = said.splitlines()
    assert any("Proof(layer=20" in line for line in lines)
    assert lines[-1].startswith("(1, ")
    assert lines[-1].endswith(f", {width})")


def _environment() -> dict[str, str]:
    import os

    return dict(os.environ)
