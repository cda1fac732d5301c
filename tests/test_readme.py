"""The README's code runs as it stands, and its commands exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mlxintro.backends.models import embedded

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")


@pytest.mark.skipif(embedded.find_gguf() is None, reason="needs the embedded model: make installs it")
def test_the_notebook_lines_run(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**_environment(), "MLXINTRO_HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any("Proof(layer=20" in line for line in lines)
    assert lines[-1].startswith("(1, ")
    assert lines[-1].endswith(", 576)")


def test_every_command_of_the_readme_exists() -> None:
    commands = set(re.findall(r"^mlxintro ([a-z]+)(?: ([a-z]+))?", README, re.MULTILINE))
    assert len(commands) > 6
    for command, sub in commands:
        words = [command, sub] if command in ("concepts", "models", "presets", "runs") else [command]
        done = subprocess.run(
            [sys.executable, "-m", "mlxintro", *words, "--help"], capture_output=True, text=True, env=_environment()
        )
        assert done.returncode == 0, (words, done.stderr)


def _environment() -> dict[str, str]:
    import os

    return dict(os.environ)
