"""What leaves a store as rows, and what comes into it from another store."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlxintro.backends.errors import UsageError
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.store import Finished, GradeRecord, Label, Store, VectorRecord
from mlxintro.store.exporting.columns import GRADE_COLUMNS, TRIAL_COLUMNS
from mlxintro.store.exporting.export import export_rows
from mlxintro.vectors import cache
from mlxintro.vectors.vector import content_hash
from tests.plans import outcome, prompt_of, spec
from tests.stores import counted, filled


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store.db") as opened:
        yield opened


def test_exported_rows_have_the_same_columns_and_are_plain_data(store: Store) -> None:
    run = filled(store, 6, failing=(4,))
    store.grades.add(run, [GradeRecord(key=spec(1).key, grader="rules", version="1", affirms=True)])
    store.labels.add(run, [Label(key=spec(2).key, labeller="ada", fields={"affirms": False}, note="hm")])
    rows: list[dict[str, Any]] = [json.loads(json.dumps(row)) for row in export_rows(store, [run])]
    assert len({tuple(row) for row in rows}) == 1
    graded, labelled = len(GRADE_COLUMNS), ("label.ada.affirms", "label.ada.note")
    assert list(rows[0])[: -graded - 2] == [column.name for column in TRIAL_COLUMNS]
    assert list(rows[0])[-graded - 2 :] == [*(f"rules.{column.name}" for column in GRADE_COLUMNS), *labelled]
    assert [row["trial_key"] for row in rows] == [spec(i).key for i in range(6)]
    assert [row["rules.affirms"] for row in rows] == [None, True, None, None, None, None]
    assert [row["label.ada.affirms"] for row in rows] == [None, None, False, None, None, None]
    assert [row["error"] for row in rows] == [None] * 4 + ["broke", None]
    assert [(r["layer"], r["strength"], r["concept"]) for r in rows] == [
        (t.layer, t.strength, t.concept) for t in store.trials.of_run(run)
    ]
    assert rows[1]["injections"][0]["concept"] == spec(1).concept
    assert rows[1]["seed"] == 1


def test_rows_of_two_runs_have_the_same_columns(store: Store) -> None:
    first, second = filled(store, 4, name="first"), filled(store, 3, name="second")
    store.grades.add(first, [GradeRecord(key=spec(1).key, grader="rules", version="1", affirms=True)])
    store.labels.add(second, [Label(key=spec(2).key, labeller="ada", fields={"affirms": False}, note="hm")])
    rows = list(export_rows(store, [second, first]))
    assert len({tuple(row) for row in rows}) == 1
    assert [row["run"] for row in rows] == ["second"] * 3 + ["first"] * 4
    assert [row["rules.affirms"] for row in rows] == [None] * 3 + [None, True, None, None]
    assert [row["label.ada.affirms"] for row in rows] == [None, None, False] + [None] * 4
    assert all((row["category"] is None) == (row["concept"] is None) for row in rows)


def test_a_store_brought_home_twice_adds_everything_once(store: Store, tmp_path: Path) -> None:
    mine = filled(store, 4, name="grid")
    with Store(tmp_path / "cloud" / "mlxintro.db") as cloud, FakeBackend("detector") as backend:
        theirs = filled(cloud, 6, name="grid", failing=(2,))
        cloud.prompts.add(theirs, [prompt_of(backend)])
        cloud.grades.add(theirs, [GradeRecord(key=spec(1).key, grader="rules", version=v) for v in "12"])
        cloud.labels.add(theirs, [Label(key=spec(1).key, labeller="ada", note="odd")])
        numbers = np.ones((2, 3), np.float32), np.ones(2, np.float32)
        cloud.vectors.add(VectorRecord("b2:0", {"concept": "ocean"}, "x.safetensors", content_hash(*numbers)))
        (tmp_path / "cloud" / "vectors").mkdir()
        file = tmp_path / "cloud" / "vectors" / "x.safetensors"
        cache.write(file, "b2:0", dict(zip(("direction", "resid_norms"), numbers, strict=True)), {})
        assert store.import_from(cloud.path) == (1, 6, 2, 1, 1, ())
        assert store.import_from(cloud.path) == (0, 0, 0, 0, 0, ())
        assert store.runs.get(theirs).name == "grid-2"
        assert store.runs.get(mine).name == "grid"
        assert list(store.trials.of_run(theirs)) == list(cloud.trials.of_run(theirs))
        assert store.grades.latest(theirs) == cloud.grades.latest(theirs)
        assert [g.version for g in store.grades.latest(theirs)] == ["2"]
        assert store.labels.latest(theirs) == cloud.labels.latest(theirs)
        assert store.prompts.of_run(theirs) == cloud.prompts.of_run(theirs) != {}
        assert (tmp_path / "vectors" / "x.safetensors").read_bytes() == file.read_bytes()
        assert (store.runs.get(theirs).done, store.runs.get(theirs).errors) == counted(store, theirs) == (5, 1)

        # It goes on over there: the failed trial succeeds, a new grade comes.
        cloud.runs.claim(theirs, batch_size=2)
        cloud.trials.add(theirs, [Finished(2, spec(2), outcome(spec(2), "at last"))])
        cloud.grades.add(theirs, [GradeRecord(key=spec(1).key, grader="rules", version="3")])
        cloud.runs.set_state(theirs, "done")
        assert store.import_from(cloud.path) == (0, 1, 1, 0, 0, ())
        assert store.trials.find(theirs, spec(2).key).response == "at last"
        assert (store.runs.get(theirs).done, store.runs.get(theirs).errors) == counted(store, theirs) == (6, 0)
        assert store.runs.get(theirs).state == "done"
        assert [g.version for g in store.grades.latest(theirs)] == ["3"]

        # And what happened here in the meantime is not undone by an older copy.
        assert cloud.import_from(store.path).runs == 1
        assert cloud.runs.get(theirs).name == "grid"


def test_a_store_is_not_imported_into_itself(store: Store) -> None:
    with pytest.raises(UsageError, match="this store itself"):
        store.import_from(store.path)


def test_importing_a_store_in_an_older_format_leaves_that_file_as_it_was(store: Store, tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    sqlite3.connect(old).close()
    before = old.read_bytes()
    assert store.import_from(old) == (0, 0, 0, 0, 0, ())
    assert old.read_bytes() == before
