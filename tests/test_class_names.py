"""The name of a class or type has one meaning in the whole product, so that search and "go to definition" find one."""

from __future__ import annotations

import ast
import re
from collections import defaultdict

import pytest

from tests.test_layers import MODULES, tree_of

pytestmark = pytest.mark.xdist_group("product code")


def types_by_name() -> dict[str, set[str]]:
    """The modules that define each class or type alias at their top level; an underscore makes no other name."""
    found: dict[str, set[str]] = defaultdict(set)
    for module, path in MODULES.items():
        for node in tree_of(path).body:
            if isinstance(node, ast.ClassDef):
                found[node.name.removeprefix("_")].add(module)
            elif isinstance(node, ast.Assign):
                # Constants are written in capitals, type variables too: what is left is a name for a type.
                names = [target.id for target in node.targets if isinstance(target, ast.Name)]
                for name in filter(re.compile(r"[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*").fullmatch, names):
                    found[name].add(module)
    return found


def test_no_class_or_alias_is_defined_twice() -> None:
    types = types_by_name()
    assert len(types) > 250
    assert {"Row", "Place", "RunEvent"} <= types.keys()
    assert {name: modules for name, modules in types.items() if len(modules) > 1} == {}
