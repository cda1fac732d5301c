"""The wordings of the rules can be edited line by line."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

RULES = Path(__file__).parents[1] / "mlxintro" / "grading" / "rules"
FILES = sorted(RULES.rglob("*.py"))
_OPAQUE = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]")


def literals(path: Path) -> Iterator[tuple[str, str]]:
    """Yield name and source of every literal that a constant of the module is made of."""
    source = path.read_text("utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(name := node.targets[0], ast.Name):
            called = isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "re.compile"
            literal = node.value.args[0] if called else node.value  # type: ignore[attr-defined]
            text = ast.get_source_segment(source, literal) or ""
            if text.startswith(("r", "f")) and not isinstance(literal, ast.Call):
                yield name.id, text


def crowded(text: str) -> list[str]:
    """Return the lines of a literal that hold two alternatives of a group which the line does not close."""
    found = []
    for line in text.splitlines()[1:]:
        depth = 0
        for sign in _OPAQUE.sub("", line).strip().removeprefix("|"):
            depth = max(0, depth + (sign == "(") - (sign == ")"))
            if sign == "|" and depth == 0:
                found.append(line.strip())
                break
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_pattern_of_several_lines_has_one_alternative_per_line(path: Path) -> None:
    for name, text in literals(path):
        assert "\n" not in text or '"""' in text[:5], f"{name} is put together from pieces"
        assert not crowded(text), f"{name}: {crowded(text)}"


def test_lines_with_two_alternatives_are_found() -> None:
    assert crowded('r"""\n  a | b\n"""')
    assert crowded('r"""\n  | (?:a|b)c | d\n"""')
    assert crowded('r"""\n  )\\ x | d\n"""')
    assert not crowded('r"""\n  | (?:a|b)c\n  | [|)(]\\|\n"""')


def test_the_patterns_are_found() -> None:
    assert sum(1 for path in FILES for _ in literals(path)) > 130
