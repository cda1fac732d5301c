"""The app starts where nothing can be written: it shows what is there, and its log goes elsewhere."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from mlxintro.backends.errors import KnownError
from mlxintro.paths import DataHome
from mlxintro.store.store import Store
from mlxintro.tui import app as module


def refusing(path: Path, read_only: bool = False) -> Store:
    """Open a store as on a medium that cannot be written."""
    if not read_only:
        raise KnownError("it cannot be written")
    return Store(path, read_only=True)


def test_a_store_that_cannot_be_written_is_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Store", refusing)
    module._check_store(DataHome(home / "mlxintro.db", home / "cache"))


def test_a_store_that_can_be_neither_made_nor_read_is_told_by_the_first_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "Store", refusing)
    with pytest.raises(KnownError, match="cannot be written"):
        module._check_store(DataHome(tmp_path / "none" / "mlxintro.db", tmp_path / "cache"))


def test_the_log_goes_elsewhere_where_it_cannot_be_written(tmp_path: Path) -> None:
    # A file stands where the folder of logs would be.
    (tmp_path / "logs").write_text("")
    log, handler = module._log_of(DataHome(tmp_path / "mlxintro.db", tmp_path / "cache"))
    try:
        handler.emit(logging.makeLogRecord({"msg": "hello"}))
        assert "hello" in log.read_text()
        assert not log.is_relative_to(tmp_path / "logs")
    finally:
        handler.close()
        log.unlink()
