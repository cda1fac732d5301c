"""A run goes on with the model it was begun with, or not at all: held field by field against what a trial is."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from mlxintro.backends.base import ModelInfo
from mlxintro.backends.errors import UsageError
from mlxintro.backends.registry import open_backend
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.protocol.study import make_study
from mlxintro.protocol.trials import model_key
from mlxintro.running import launch
from mlxintro.store.records import Run
from mlxintro.store.store import Store
from tests.cli import Call

IDENTITY = ("model", "revision", "backend", "dtype", "quantization", "template_hash", "adapter_revision")
"""What must not change between the sessions of a run, written down by hand."""


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Run, FakeBackend]]:
    study = make_study(model="detector", backend="fake", concepts=("ocean",), strengths=(2.0,), trials=1, controls=1)
    checked = launch.check(study)
    with FakeBackend("detector") as backend, Store(tmp_path_factory.mktemp("store") / "store.db") as store:
        run = launch.begin(store, checked, backend, launch.plan(checked, backend))
        yield store.runs.find(run.name), backend


def other(info: ModelInfo, field: str) -> ModelInfo:
    value: Any = getattr(info, field)
    changed: Any = not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else f"{value}-other"
    return replace(info, **{field: changed})


def loaded(backend: FakeBackend, info: ModelInfo) -> FakeBackend:
    opened = FakeBackend("detector")
    opened.info = info
    return opened


def test_the_same_model_goes_on(begun: tuple[Run, FakeBackend]) -> None:
    launch.check_same_model(*begun)


@pytest.mark.parametrize("field", IDENTITY)
def test_a_model_that_differs_in_one_field_is_refused_and_the_field_named(
    begun: tuple[Run, FakeBackend], field: str
) -> None:
    run, backend = begun
    with pytest.raises(UsageError, match=rf"cannot be resumed: {field} was .*start a new run"):
        launch.check_same_model(run, loaded(backend, other(backend.info, field)))


@pytest.mark.parametrize("field", [field.name for field in fields(ModelInfo)])
def test_what_makes_another_trial_is_what_is_refused(begun: tuple[Run, FakeBackend], field: str) -> None:
    """A field that trials' keys know and the check does not would give a run whose trials are all missing again."""
    run, backend = begun
    info = other(backend.info, field)
    refused = False
    try:
        launch.check_same_model(run, loaded(backend, info))
    except UsageError:
        refused = True
    assert refused == (model_key(info) != model_key(backend.info)) == (field in IDENTITY)


@pytest.mark.parametrize("field", IDENTITY)
def test_a_stored_run_of_another_model_is_not_resumed(home: Path, call: Call, field: str) -> None:
    with closing(sqlite3.connect(home / "mlxintro.db")) as db, db:
        (text,) = db.execute("SELECT model FROM runs").fetchone()
        stored = json.loads(text)
        stored[field] += "-other"
        db.execute("UPDATE runs SET model = ?", (json.dumps(stored),))
    done = call("run", "--resume", "first")
    assert done.code != 0
    assert f"{field} was " in done.err


@pytest.fixture(scope="module")
def dated(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose chat template writes the day."""
    folder = shutil.copytree(tiny("llama"), tmp_path_factory.mktemp("dated") / "model")
    template = folder / "chat_template.jinja"
    template.write_text("{{ strftime_now('%d %b %Y') }}" + template.read_text())
    return folder


def test_a_run_that_is_resumed_on_another_day_asks_what_it_asked(dated: Path, tmp_path: Path) -> None:
    study = make_study(model=str(dated), backend="torch", concepts=("ocean",), strengths=(2.0,), trials=1, controls=1)
    checked = launch.check(study)
    with Store(tmp_path / "store.db") as store:
        with open_backend(str(dated), "torch", device="cpu") as backend:
            backend.set_date(date(2024, 2, 28))
            planned = launch.plan(checked, backend)
            run = launch.begin(store, checked, backend, planned)
            vectors = set(planned.recipes)
        with open_backend(str(dated), "torch", device="cpu") as backend:
            assert backend.date != date(2024, 2, 28)
            with pytest.raises(UsageError, match=r"prompts are not those.*start a new run"):
                launch.check_same_plan(store, run, launch.plan(checked, backend))
            with pytest.raises(UsageError, match="template_hash was"):
                launch.check_same_model(run, backend)
            launch.take_date(run, backend)
            launch.check_same_model(run, backend)
            again = launch.plan(checked, backend)
            launch.check_same_plan(store, run, again)
            assert [spec.key for spec in again] == [spec.key for spec in planned]
            assert set(again.recipes) == vectors
            assert "28 Feb 2024" in next(iter(again.prompts.values())).text
