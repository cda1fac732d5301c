"""Which families a claim is checked on at once, and on which every night.

A claim about what a block computes is checked on every family. One about the decode loop, windows or sampling does not
depend on the block: an ordinary cache (llama) and one with sliding windows (gemma3) show it, the others are slow tests.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.tiny import FAMILIES

AT_ONCE = ("llama", "gemma3")


def some_families(*backends: str) -> list[Any]:
    """Return every pair of backend and family as a parameter, those that can wait marked as slow."""
    return [
        pytest.param((backend, family), id=f"{backend}-{family}", marks=_when(family))
        for backend in backends
        for family in FAMILIES
    ]


def in_slow_tests(value: Any, name: str | None = None) -> Any:
    """Return a value as a parameter of slow tests."""
    return pytest.param(value, marks=pytest.mark.slow, id=name)


def each_family(*families: str) -> list[Any]:
    """Return families as parameters, those that can wait marked as slow."""
    return [pytest.param(family, marks=_when(family)) for family in families or FAMILIES]


def _when(family: str) -> tuple[Any, ...]:
    return () if family in AT_ONCE else (pytest.mark.slow,)
