"""The arrows between the folders, and what a start-up may load."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("backends", "mlxintro", "tui")
ALLOWED = {"backends": {"backends"}, "mlxintro": {"backends", "mlxintro"}, "tui": {"backends", "mlxintro", "tui"}}
FRAMEWORKS = {"torch", "mlx", "mlx_lm", "transformers"}


# Tests that read all of the product run in one process, which parses each file once.
pytestmark = pytest.mark.xdist_group("product code")


@cache
def tree_of(path: Path) -> ast.Module:
    """Return a file's parsed code; not to be changed."""
    return ast.parse(path.read_text("utf-8"))


def files(folder: str) -> list[Path]:
    """Product files of a top-level folder; ``mlxintro/backends`` and ``mlxintro/tui`` are links to the other two."""
    return sorted(path for path in (ROOT / folder).rglob("*.py") if path.is_relative_to((ROOT / folder).resolve()))


def module_of(path: Path) -> str:
    """The dotted name under which a product file is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return name if parts[0] == "mlxintro" else f"mlxintro.{name}"


MODULES = {module_of(path): path for folder in FOLDERS for path in files(folder)}


def imports(module: str) -> set[str]:
    """Dotted names of everything a module imports, anywhere in it; relative ones resolved."""
    path = MODULES[module]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                found.add(inner if inner in MODULES else source)
    return found


def folder_of(name: str) -> str | None:
    """The top-level folder a dotted name lies in; ``None`` for other people's packages."""
    parts = name.split(".")
    if parts[0] in ("backends", "tui"):
        return "outside"
    if parts[0] != "mlxintro":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in ("backends", "tui") else "mlxintro"


@pytest.mark.parametrize("folder", ALLOWED)
def test_arrows_between_the_folders_point_one_way(folder: str) -> None:
    wrong = {}
    for path in files(folder):
        seen = imports(module_of(path))
        bad = {name for name in seen if folder_of(name) not in {None, *ALLOWED[folder]}}
        roots = {name.split(".")[0] for name in seen}
        if folder != "backends":
            bad |= roots & FRAMEWORKS
        if folder != "tui":
            bad |= roots & {"textual"}
        # The `tui` command imports the terminal app inside its function: the one exception.
        if path.relative_to(ROOT) == Path("mlxintro/cli/tui.py"):
            bad = {name for name in bad if folder_of(name) != "tui"}
        if bad:
            wrong[str(path.relative_to(ROOT))] = bad
    assert not wrong


def test_modules_that_are_imported_or_named_in_prose_exist() -> None:
    wrong = []
    for module, path in MODULES.items():
        named = re.findall(r"``((?:mlxintro|backends|tui)(?:\.[a-z_]+)+)", path.read_text("utf-8"))
        wrong += [(module, name) for name in named if not _exists(name)]
        ours = {name for name in imports(module) if name.startswith("mlxintro.")}
        wrong += [(module, name) for name in sorted(ours - MODULES.keys())]
    assert wrong == []


def _exists(name: str) -> bool:
    """Say whether a dotted name that begins with its folder is a module, or a function of one."""
    full = name if name.startswith("mlxintro.") else f"mlxintro.{name}"
    module, _, function = full.rpartition(".")
    return full in MODULES or (module in MODULES and f"def {function}(" in MODULES[module].read_text("utf-8"))


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {module: imports(module) & MODULES.keys() - {module} for module in MODULES}
    # Removing modules that import nothing left, again and again, leaves the circles and what imports them.
    while leaves := {module for module, targets in graph.items() if not targets}:
        graph = {module: targets - leaves for module, targets in graph.items() if module not in leaves}
    while roots := set(graph) - {name for targets in graph.values() for name in targets}:
        graph = {module: targets for module, targets in graph.items() if module not in roots}
    assert not graph


def test_the_command_line_starts_without_heavy_libraries() -> None:
    heavy = FRAMEWORKS | {"textual", "numpy", "scipy", "pydantic", "anthropic", "huggingface_hub", "rich"}
    code = f"import sys, mlxintro.cli.main; print(sorted(set(sys.modules) & {heavy!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
