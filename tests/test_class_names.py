"""A class name has one meaning in the whole product, so that search and "go to definition" find one place."""

from __future__ import annotations

import ast
from collections import defaultdict

from tests.test_layers import MODULES


def public_classes() -> dict[str, set[str]]:
    """The modules that define each public class name at their top level."""
    found: dict[str, set[str]] = defaultdict(set)
    for module, path in MODULES.items():
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].add(module)
    return found


def test_no_public_class_name_is_defined_twice() -> None:
    classes = public_classes()
    assert len(classes) > 200
    assert {name: modules for name, modules in classes.items() if len(modules) > 1} == {}
