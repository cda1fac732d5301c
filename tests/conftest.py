"""Fixtures shared by the tests: tiny models are built once per session."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tiny import make_tiny

# Before torch is imported anywhere: its threads wait by spinning, and on a busy machine tiny models then take ten times
# as long as on one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a tiny random model, by family."""
    folders: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in folders:
            folders[family] = make_tiny(family, tmp_path_factory.mktemp(family))
        return folders[family]

    return folder
