"""The arrows between the folders, and what a start-up may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "backends": {"backends"},
    "mlxintro": {"backends", "mlxintro"},
    "tui": {"backends", "mlxintro", "tui"},
}
FRAMEWORKS = {"torch", "mlx", "mlx_lm", "transformers"}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("folder", ALLOWED)
def test_arrows_between_the_folders_point_one_way(folder: str) -> None:
    wrong = {}
    for path in (ROOT / folder).rglob("*.py"):
        seen = imports(path)
        bad = (seen & set(ALLOWED)) - ALLOWED[folder]
        if folder != "backends":
            bad |= seen & FRAMEWORKS
        if folder != "tui":
            bad |= seen & {"textual"}
        # The `tui` command imports the terminal app inside its function: the one exception.
        if path.relative_to(ROOT) == Path("mlxintro/cli/tui.py"):
            bad -= {"tui"}
        if bad:
            wrong[str(path.relative_to(ROOT))] = bad
    assert not wrong


def test_the_command_line_starts_without_heavy_libraries() -> None:
    heavy = FRAMEWORKS | {"textual", "numpy", "scipy", "pydantic", "anthropic", "huggingface_hub", "rich"}
    code = f"import sys, mlxintro.cli.main; print(sorted(set(sys.modules) & {heavy!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
