from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlxintro.backends.base import Proof
from mlxintro.backends.errors import KnownError, UsageError
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.paths import data_home
from mlxintro.protocol.hashing import tagged_hash
from mlxintro.protocol.trials import Dose, Outcome
from mlxintro.replies.grade_terms import GradeState
from mlxintro.running.environment import describe_environment, git_commit
from mlxintro.store import Finished, GradeRecord, Label, Store, Trial, TrialFilter, VectorRecord
from mlxintro.store import database as database_module
from mlxintro.store.columns import GRADE_COLUMNS, TRIAL_COLUMNS
from mlxintro.store.export import export_rows
from mlxintro.vectors import cache
from mlxintro.vectors.vector import content_hash
from tests.plans import outcome, plan, prompt_of, spec


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store.db") as opened:
        yield opened


def filled(store: Store, count: int = 30, *, name: str = "first", failing: tuple[int, ...] = ()) -> str:
    run = store.runs.create("injected-thoughts", planned=count, name=name).id
    store.trials.add(
        run,
        [
            Finished(i, s, outcome(s, f"Reply {i} about {s.concept}", error="broke" if i in failing else None))
            for i, s in enumerate(plan(count))
        ],
    )
    return run


def counted(store: Store, run: str) -> tuple[int, int]:
    """Done and failed, counted from the rows."""
    with sqlite3.connect(store.path) as db:
        found = dict(db.execute("SELECT status, count(*) FROM trials WHERE run = ? GROUP BY status", (run,)).fetchall())
    db.close()
    return found.get("done", 0), found.get("error", 0)


# Runs


def test_a_run_is_found_by_name_by_id_and_by_the_start_of_either(store: Store) -> None:
    run = store.runs.create("latent", planned=1, name="night")
    assert {store.runs.find(t).id for t in ("night", "ni", run.id, run.id[:9])} == {run.id}


def test_an_exact_name_wins_over_a_longer_one_that_starts_alike(store: Store) -> None:
    store.runs.create("latent", planned=1, name="night-2")
    assert store.runs.find("night-2").id != store.runs.create("latent", planned=1, name="night").id
    assert store.runs.find("night").name == "night"


def test_an_ambiguous_name_lists_what_it_could_be(store: Store) -> None:
    for name in ("grid-a", "grid-b"):
        store.runs.create("latent", planned=1, name=name)
    with pytest.raises(UsageError, match=r"2 runs: grid-\w .*grid-\w"):
        store.runs.find("grid")


def test_a_misspelt_name_gets_the_close_one(store: Store) -> None:
    store.runs.create("latent", planned=1, name="ocean-sweep")
    with pytest.raises(UsageError, match="did you mean ocean-sweep"):
        store.runs.find("ocaen-sweep")


@pytest.mark.parametrize("text", ["", "zzz"])
def test_an_unknown_name_is_one_line(store: Store, text: str) -> None:
    with pytest.raises(UsageError, match="no run called"):
        store.runs.find(text)


def test_runs_without_a_name_are_numbered_and_names_are_unique(store: Store) -> None:
    assert [store.runs.create("latent", planned=1).name for _ in range(3)] == ["latent-1", "latent-2", "latent-3"]
    with pytest.raises(UsageError, match="already a run called 'latent-2'"):
        store.runs.create("latent", planned=1, name="latent-2")
    assert len(store.runs.all()) == 3


def test_ids_sort_by_the_second_of_creation(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = []
    for moment in (1_700_000_000, 1_700_000_031, 1_800_000_000, 2_600_000_000):
        monkeypatch.setattr("time.time", lambda moment=moment: moment)
        ids.append(store.runs.create("latent", planned=1).id)
    assert ids == sorted(ids)
    assert {len(i) for i in ids} == {10}


def test_what_a_run_was_made_with_is_kept(store: Store) -> None:
    with FakeBackend("detector") as backend:
        run = store.runs.create(
            "latent", planned=4, study={"layers": [1, 2]}, model=backend.info, environment=describe_environment()
        )
        assert run.model == dataclasses.asdict(backend.info)
    assert run.study == {"layers": [1, 2]}
    assert run.environment["packages"]["numpy"]
    assert run.environment["argv"] == sys.argv


def test_a_run_whose_process_is_gone_is_interrupted(store: Store) -> None:
    run = store.runs.create("latent", planned=1).id
    code = (
        f"import sys; from mlxintro.store import Store; s = Store({str(store.path)!r}); "
        f"s.runs.claim({run!r}, batch_size=4); print(s.runs.get({run!r}).state)"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "running"
    assert store.runs.get(run).state == "interrupted"
    assert [r.state for r in store.runs.all()] == ["interrupted"]


def test_a_process_number_that_was_given_to_another_process_does_not_keep_a_run_alive(store: Store) -> None:
    run = store.runs.create("latent", planned=1).id
    store.runs.claim(run, batch_size=4)
    assert store.runs.get(run).state == "running"
    _edit(store, "UPDATE runs SET heartbeat = '2026-01-01T00:00:00.000000+00:00'")
    assert store.runs.get(run).state == "running", "a machine that slept"
    _edit(store, "UPDATE runs SET pid = 1")
    assert store.runs.get(run).state == "interrupted"


def test_a_run_on_another_machine_is_alive_as_long_as_its_heart_beats(store: Store) -> None:
    run = store.runs.create("latent", planned=1).id
    store.runs.claim(run, batch_size=4)
    _edit(store, "UPDATE runs SET host = 'elsewhere', pid = 1")
    assert store.runs.get(run).state == "running"
    _edit(store, "UPDATE runs SET heartbeat = '2026-01-01T00:00:00.000000+00:00'")
    assert store.runs.get(run).state == "interrupted"


def test_a_run_is_claimed_once(store: Store) -> None:
    run = store.runs.create("latent", planned=1, name="night").id
    store.runs.claim(run, batch_size=4)
    with pytest.raises(KnownError, match=rf"night is being run by process {os.getpid()}"):
        store.runs.claim(run, batch_size=4)
    store.runs.set_state(run, "interrupted")
    assert store.runs.claim(run, batch_size=99).batch_size == 4, "the first batch size stays"


def test_only_a_run_that_is_being_worked_on_can_be_paused(store: Store) -> None:
    run = store.runs.create("latent", planned=1, name="night").id
    with pytest.raises(UsageError, match="planned: there is nothing to pause"):
        store.runs.set_control(run, "pause")
    store.runs.claim(run, batch_size=1)
    assert store.runs.set_control(run, "pause").control == "pause"
    store.runs.set_state(run, "interrupted")
    with pytest.raises(UsageError, match="--resume night"):
        store.runs.set_control(run, "run")
    assert store.runs.set_control(run, "cancel").state == "cancelled"
    assert store.runs.claim(run, batch_size=1).control == "run", "an old request does not stop the next session"


def test_a_run_in_progress_is_not_deleted(store: Store) -> None:
    run = store.runs.create("latent", planned=1).id
    store.runs.claim(run, batch_size=1)
    with pytest.raises(KnownError, match="cancel it first"):
        store.runs.delete(run)


def test_deleting_a_run_takes_everything_of_it_and_only_that(store: Store) -> None:
    with FakeBackend("detector") as backend:
        shared = prompt_of(backend)
    own = dataclasses.replace(shared, prefill="Yes")
    kept, gone = filled(store, 5, name="kept"), filled(store, 5, name="gone")
    store.prompts.add(kept, [shared])
    store.prompts.add(gone, [shared, own])
    for run in (kept, gone):
        store.grades.add(run, [GradeRecord(key=spec(1).key, grader="rules", version="1")])
        store.labels.add(run, [Label(key=spec(1).key, labeller="ada")])
    assert store.prompts.of_run(gone) == {shared.key: shared, own.key: own}
    store.runs.delete(gone)
    assert [run.name for run in store.runs.all()] == ["kept"]
    assert store.prompts.get(shared.key) == shared
    with pytest.raises(UsageError, match="no prompt"):
        store.prompts.get(own.key)
    with sqlite3.connect(store.path) as db:
        tables = ("trials", "grades", "labels", "run_prompts", "prompts")
        assert [db.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in tables] == [5, 1, 1, 1, 1]
    db.close()


# Trials


def test_a_trial_comes_back_as_it_went_in(store: Store) -> None:
    run = store.runs.create("latent", planned=1).id
    planned = spec(1)
    proof = Proof(5, "resid_post", "add", 3, 2, 4, 1.25, 0.1)
    dose = Dose(1.0, 2.0, 0.3, 4.0, 5.5)
    went = Outcome(planned.key, "“Öcean” 🌊", "stop", 7, (proof,), (dose,), {"p_yes": 0.1 + 0.2, "nested": [1, None]})
    store.trials.add(run, [Finished(0, planned, went)])
    trial = store.trials.find(run, planned.key[3:9])
    assert trial.spec == planned
    assert trial.spec.key == trial.key == tagged_hash(json.loads(trial.spec_json))
    assert (trial.response, trial.finish, trial.tokens) == ("“Öcean” 🌊", "stop", 7)
    assert (trial.proofs, trial.doses, trial.measurements) == ((proof,), (dose,), went.measurements)
    assert (trial.condition, trial.concept, trial.layer, trial.strength, trial.unit) == (
        *("injected", planned.concept),
        *(planned.injections[0].layer, planned.injections[0].strength, "resid"),
    )


def test_numbers_that_are_not_finite_do_not_lose_the_trial(store: Store) -> None:
    run = store.runs.create("latent", planned=1).id
    proof = Proof(5, "resid_post", "replace", 1, 2, 2, 1.0, math.inf)
    went = Outcome(spec(1).key, "x", "stop", 1, (proof,), (), {"logit": math.nan})
    store.trials.add(run, [Finished(0, spec(1), went)])
    trial = store.trials.find(run, spec(1).key)
    assert math.isnan(trial.proofs[0].relative_change)
    assert trial.proofs[0].change == 1.0
    assert trial.measurements == {"logit": None}


@pytest.mark.parametrize(("reply", "kept"), [("half \ud83c pair", "half ? pair"), ("nul \0 inside", "nul \0 inside")])
def test_any_reply_can_be_stored(store: Store, reply: str, kept: str) -> None:
    run = store.runs.create("latent", planned=1).id
    store.trials.add(run, [Finished(0, spec(1), outcome(spec(1), reply))])
    assert store.trials.find(run, spec(1).key).response == kept


def test_an_outcome_of_another_trial_is_refused(store: Store) -> None:
    run = store.runs.create("latent", planned=1).id
    with pytest.raises(ValueError, match="handed over"):
        store.trials.add(run, [Finished(0, spec(1), outcome(spec(2)))])


def test_a_failure_gives_way_to_a_result_and_a_result_to_nothing(store: Store) -> None:
    run = filled(store, 6, failing=(2, 4))
    assert (store.runs.get(run).done, store.runs.get(run).errors) == counted(store, run) == (4, 2)
    assert store.trials.finished_keys(run, [spec(i).key for i in range(5)]) == {spec(i).key for i in (0, 1, 3)}
    store.trials.add(run, [Finished(i, spec(i), outcome(spec(i), "second")) for i in (2, 3)])
    store.trials.add(run, [Finished(4, spec(4), outcome(spec(4), error="broke again"))])
    assert [t.response for t in store.trials.of_run(run)][2:4] == ["second", "Reply 3 about None"]
    assert store.trials.find(run, spec(2).key).error is None
    assert store.trials.find(run, spec(4).key).error == "broke again"
    assert (store.runs.get(run).done, store.runs.get(run).errors) == counted(store, run) == (5, 1)
    assert store.runs.get(run).remaining == 1


def test_outcomes_are_stored_together_or_not_at_all(store: Store) -> None:
    run = store.runs.create("latent", planned=2).id
    broken = dataclasses.replace(spec(2), condition=None)  # type: ignore[arg-type]
    with pytest.raises(sqlite3.IntegrityError):
        store.trials.add(run, [Finished(i, s, outcome(s)) for i, s in enumerate((spec(1), broken))])
    assert counted(store, run) == (0, 0)
    assert store.runs.get(run).done == 0


FILTERS: list[tuple[TrialFilter, Callable[[Trial], bool]]] = [
    (TrialFilter(), lambda t: True),
    (TrialFilter(condition="control"), lambda t: t.condition == "control"),
    (TrialFilter(concept="ocean"), lambda t: t.concept == "ocean"),
    (TrialFilter(layer=5), lambda t: t.layer == 5),
    (TrialFilter(strength=2.0), lambda t: t.strength == 2.0),
    (
        TrialFilter(concept="bread", layer=6, strength=1.0),
        lambda t: (t.concept, t.layer, t.strength) == ("bread", 6, 1),
    ),
    (TrialFilter(status="error"), lambda t: t.error is not None),
    (TrialFilter(text="ABOUT OCEAN"), lambda t: "about ocean" in t.response.lower()),
    (TrialFilter(text="100%"), lambda t: "100%" in t.response),
]


@pytest.mark.parametrize(("where", "keep"), FILTERS)
def test_filters_keep_what_a_plain_loop_keeps(
    store: Store, where: TrialFilter, keep: Callable[[Trial], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlxintro.store.trials.PAGE", 7)
    filled(store, 50, name="another")
    run = filled(store, 200, failing=(3, 50))
    everything = list(store.trials.of_run(run))
    assert [t.ordinal for t in everything] == list(range(200))
    expected = [t for t in everything if keep(t)]
    assert list(store.trials.of_run(run, where)) == expected
    assert store.trials.count(run, where) == len(expected)
    for limit, offset in [(5, 0), (20, 13), (7, 7), (1, 0), (500, 199), (3, 1000)]:
        assert list(store.trials.of_run(run, where, limit=limit, offset=offset)) == expected[offset : offset + limit]


def test_a_trial_is_found_by_the_start_of_its_key(store: Store) -> None:
    run = filled(store, 40)
    with pytest.raises(UsageError, match="several trials"):
        store.trials.find(run, "b2:")
    with pytest.raises(UsageError, match="no trial starts with"):
        store.trials.find(run, "b2:xyz")


def test_reading_slowly_does_not_stop_anyone_from_writing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    # A grader reads trials and stores grades on one connection while the runner writes on another.
    monkeypatch.setattr("mlxintro.store.trials.PAGE", 10)
    run = filled(store, 40)
    with Store(store.path) as runner:
        for trial in store.trials.of_run(run):
            late = spec(1000 + trial.ordinal)
            runner.trials.add(run, [Finished(trial.ordinal - 5000, late, outcome(late))])
            store.grades.add(run, [GradeRecord(key=trial.key, grader="rules", version="1", affirms=False)])
    assert len(store.grades.latest(run)) == 40


def test_several_writers_lose_nothing(tmp_path: Path) -> None:
    # They also all create the file at the same moment.
    path = tmp_path / "new" / "store.db"
    barrier = threading.Barrier(6)
    failures: list[BaseException] = []

    def write(worker: int) -> None:
        try:
            barrier.wait()
            with Store(path) as mine:
                run = mine.runs.create("latent", planned=50, name=f"run-{worker}").id
                for i in range(50):
                    mine.trials.add(run, [Finished(i, spec(i), outcome(spec(i)))])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with Store(path) as store:
        assert [(r.done, *counted(store, r.id)) for r in store.runs.all()] == [(50, 50, 0)] * 6


# Grades and labels


def test_the_latest_grade_of_each_grader_counts_and_all_are_kept(store: Store) -> None:
    run = filled(store, 3)
    key, other = spec(0).key, spec(1).key
    verdict = GradeRecord(
        key=key, grader="rules", version="1", affirms=True, evidence={"span": [0, 3]}, reason="says yes"
    )
    store.grades.add(
        run, [verdict, GradeRecord(key=key, grader="claude", version="7", refuses=True, raw="GRADE: refuses")]
    )
    store.grades.add(run, [GradeRecord(key=other, grader="rules", version="1", state=GradeState.ABSTAINED)])
    store.grades.add(run, [dataclasses.replace(verdict, version="2", affirms=False)])
    latest = {(g.key, g.grader): g for g in store.grades.latest(run)}
    assert latest.keys() == {(key, "rules"), (key, "claude"), (other, "rules")}
    assert (latest[key, "rules"].affirms, latest[key, "rules"].version) == (False, "2")
    assert (latest[key, "claude"].refuses, latest[key, "claude"].affirms) == (True, None)
    assert (latest[other, "rules"].abstained, latest[other, "rules"].affirms) == (True, None)
    history = store.grades.history(run, key)
    assert [g.version for g in history] == ["1", "7", "2"]
    assert history[0] == dataclasses.replace(verdict, created=history[0].created)
    assert store.grades.graders(run) == ["claude", "rules"]
    assert store.grades.latest(run, grader="claude", key=other) == []


def test_of_two_grades_stored_at_once_the_second_counts(store: Store) -> None:
    run = filled(store, 1)
    store.grades.add(
        run, [GradeRecord(key=spec(0).key, grader="rules", version=v, affirms=v == "2") for v in ("1", "2")]
    )
    assert [g.version for g in store.grades.latest(run)] == ["2"]


def test_filtering_by_verdict_looks_at_the_latest_only(store: Store) -> None:
    run = filled(store, 4)
    for affirms in ((True, True, False), (True, False, True)):
        store.grades.add(
            run,
            [GradeRecord(key=spec(i).key, grader="rules", version="1", affirms=a) for i, a in enumerate(affirms)],
        )
    store.grades.add(run, [GradeRecord(key=spec(3).key, grader="claude", version="1", affirms=True)])

    def kept(where: TrialFilter) -> list[int]:
        return [t.ordinal for t in store.trials.of_run(run, where)]

    assert kept(TrialFilter(affirms=True)) == [0, 2, 3]
    assert kept(TrialFilter(grader="rules", affirms=True)) == [0, 2]
    assert kept(TrialFilter(grader="rules", affirms=False)) == [1]
    assert kept(TrialFilter(grader="rules")) == [0, 1, 2]
    assert kept(TrialFilter(affirms=True, refuses=True)) == []


def test_a_verdict_on_a_trial_of_another_run_is_refused_whole(store: Store) -> None:
    run = filled(store, 2)
    grades = [GradeRecord(key=key, grader="rules", version="1") for key in (spec(0).key, "b2:nothing")]
    with pytest.raises(UsageError, match="not in this run"):
        store.grades.add(run, grades)
    assert store.grades.latest(run) == []


def test_labels_are_per_person_and_the_latest_counts(store: Store) -> None:
    run = filled(store, 2)
    key = spec(1).key
    for person, affirms in (("ada", True), ("bob", True), ("ada", False)):
        store.labels.add(run, [Label(key=key, labeller=person, fields={"affirms": affirms}, note=f"by {person}")])
    assert [(x.labeller, x.fields["affirms"]) for x in store.labels.latest(run)] == [("ada", False), ("bob", True)]
    assert [t.ordinal for t in store.trials.of_run(run, TrialFilter(labelled=True))] == [1]
    assert [t.ordinal for t in store.trials.of_run(run, TrialFilter(labelled=False))] == [0]


def test_vectors_are_found_by_their_recipe(store: Store) -> None:
    assert store.vectors.get("b2:x") is None
    store.vectors.add(VectorRecord("b2:x", {"concept": "ocean"}, "x.safetensors", "b2:c1"))
    store.vectors.add(VectorRecord("b2:x", {"concept": "ocean"}, "x.safetensors", "b2:c2"))
    found = store.vectors.get("b2:x")
    assert found is not None
    assert (found.recipe, found.content) == ({"concept": "ocean"}, "b2:c2")
    assert store.vectors.all() == [found]


# Export and import


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


def test_a_second_connection_sees_that_something_was_written(store: Store) -> None:
    with Store(store.path, read_only=True) as viewer:
        before = viewer.database.data_version()
        assert viewer.database.data_version() == before
        filled(store, 1)
        assert viewer.database.data_version() != before


# What can go wrong with a file


def one_line(error: pytest.ExceptionInfo[KnownError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_reading_does_not_create_a_store(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mlxintro run"):
        Store(tmp_path / "none" / "store.db", read_only=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_that_is_not_a_database_is_one_line(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "store.db"
    path.write_text("trial,reply\n" * 1000)
    with pytest.raises(KnownError, match="not a database") as error:
        Store(path, read_only=read_only)
    assert str(path) in one_line(error)
    assert path.read_text() == "trial,reply\n" * 1000


@pytest.mark.parametrize("read_only", [False, True])
def test_another_programs_database_is_left_alone(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "places.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE migrations (name TEXT)")
    db.close()
    with pytest.raises(KnownError, match="another program"):
        Store(path, read_only=read_only)


@pytest.mark.parametrize("read_only", [False, True])
def test_a_store_from_a_newer_version_is_refused(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "store.db"
    with Store(path) as store:
        filled(store, 3)
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO migrations (name, applied) VALUES ('m999_from_the_future', '2030-01-01')")
    db.close()
    with pytest.raises(KnownError, match=r"newer mlxintro .*m999_from_the_future.*update") as error:
        Store(path, read_only=read_only)
    one_line(error)


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with Store(path) as store:
        run = filled(store, 300)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(size - 8192))
    with pytest.raises(KnownError, match="damaged") as error, Store(path) as store:
        list(store.trials.of_run(run))
    one_line(error)


def test_a_locked_store_is_one_line(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.2)
    blocker = sqlite3.connect(store.path, isolation_level=None)
    with Store(store.path) as other:
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(KnownError, match="locked") as error:
            other.runs.create("latent", planned=1)
        one_line(error)
        blocker.execute("ROLLBACK")
        other.runs.create("latent", planned=1)
    blocker.close()


@pytest.mark.parametrize("where", ["folder", "below a file"])
def test_a_path_that_cannot_hold_a_store_is_one_line(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KnownError) as error:
        Store(tmp_path if where == "folder" else tmp_path / "file" / "store.db")
    assert "--db" in one_line(error)


def fill_up(store: Store, run: str) -> None:
    for i in range(100, 4000):
        store.trials.add(run, [Finished(i, spec(i), outcome(spec(i), "word " * 100))])


def test_a_full_database_is_one_line_and_keeps_what_it_has(store: Store) -> None:
    run = filled(store, 10)
    (pages,) = store.database.connection.execute("PRAGMA page_count").fetchone()
    store.database.connection.execute(f"PRAGMA max_page_count = {pages + 4}")
    with pytest.raises(KnownError, match=r"disk is full.*free some space") as error:
        fill_up(store, run)
    one_line(error)
    added = store.runs.get(run).done - 10
    assert added > 0
    assert counted(store, run) == (10 + added, 0)
    store.database.connection.execute(f"PRAGMA max_page_count = {pages + 4000}")
    store.trials.add(run, [Finished(1, spec(999), outcome(spec(999)))])
    assert (store.runs.get(run).done, 0) == counted(store, run)


def test_a_full_disk_is_one_line_and_keeps_what_it_has(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk (run as root on Linux)")
    try:
        with Store(disk / "store.db") as store:
            run = filled(store, 5)
            with pytest.raises(KnownError, match=r"free some space|has space") as error:
                fill_up(store, run)
            one_line(error)
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        with Store(disk / "store.db") as store:
            assert (store.runs.get(run).done, 0) == counted(store, run)
            assert store.runs.get(run).done > 5
            assert store.database.connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture
def archive() -> Iterator[Path]:
    """A store in a place that other users may read; pytest's own folders are private."""
    folder = Path(tempfile.mkdtemp(prefix="archive-"))
    folder.chmod(0o755)
    with Store(folder / "store.db") as store:
        filled(store, 7)
    yield folder / "store.db"
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)
    shutil.rmtree(folder)


def without_rights(code: str) -> subprocess.CompletedProcess[str]:
    """Run as somebody whom file permissions bind, which root is not.

    Rights are dropped after Python has loaded, because its own files may be root's.
    """
    drop = "import os, psutil, mlxintro.store, mlxintro.protocol.hashing\n"
    drop += "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    root = Path(__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-c", (drop if os.geteuid() == 0 else "") + code], capture_output=True, text=True, cwd=root
    )


READ = """
from mlxintro.store import Store
store = Store({path!r}, read_only=True)
run = store.runs.all()[0]
print(run.done, len(list(store.trials.of_run(run.id))))
"""
WRITE = """
from mlxintro.store import Store
from mlxintro.backends.errors import KnownError
try:
    Store({path!r}).runs.create("latent", planned=1)
except KnownError as error:
    print(error)
"""


@pytest.mark.parametrize(("file", "folder"), [(0o444, 0o555), (0o444, 0o755), (0o644, 0o555)])
def test_a_read_only_store_can_be_read_and_says_so_when_written(archive: Path, file: int, folder: int) -> None:
    archive.chmod(file)
    archive.parent.chmod(folder)
    read = without_rights(READ.format(path=str(archive)))
    assert read.stdout.split() == ["7", "7"], read.stderr
    if os.geteuid() != 0 and (file, folder) == (0o444, 0o755):
        return  # The owner of the folder may still add files to it, but then SQLite's answer is the same as below.
    written = without_rights(WRITE.format(path=str(archive)))
    assert written.stdout.count("\n") == 1, written.stderr
    assert "--db" in written.stdout


def test_changes_that_cannot_be_merged_are_not_silently_left_out(archive: Path) -> None:
    # A copy that was taken while a run was writing, put on a disk that cannot be written.
    with Store(archive) as live:
        filled(live, 9, name="second")
        copy = archive.parent / "copy"
        copy.mkdir()
        shutil.copy(archive, copy / "store.db")
        shutil.copy(f"{archive}-wal", copy / "store.db-wal")
    copy.chmod(0o555)
    read = without_rights(READ.format(path=str(copy / "store.db")))
    assert "copy both files elsewhere" in read.stderr
    copy.chmod(0o755)
    shutil.copytree(copy, archive.parent / "elsewhere")
    with Store(archive.parent / "elsewhere" / "store.db", read_only=True) as followed:
        assert [run.done for run in followed.runs.all()] == [9, 7]
    shutil.rmtree(archive.parent / "elsewhere")
    shutil.rmtree(copy)


def test_a_store_opened_for_reading_refuses_to_write(store: Store) -> None:
    run = filled(store, 1)
    with Store(store.path, read_only=True) as viewer, pytest.raises(KnownError, match="for reading only"):
        viewer.runs.set_state(run, "done")


# Where things live


def test_the_store_is_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLXINTRO_HOME", str(tmp_path / "home"))
    home = data_home()
    assert home.db == tmp_path / "home" / "mlxintro.db"
    assert (home.vectors, home.logs) == (tmp_path / "home" / "vectors", tmp_path / "home" / "logs")
    assert data_home(tmp_path / "a.db").db == tmp_path / "a.db"
    assert data_home(tmp_path / "a.db").vectors == tmp_path / "vectors"
    monkeypatch.delenv("MLXINTRO_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert data_home().db.is_relative_to(tmp_path)
    assert list(tmp_path.iterdir()) == [], "asking creates nothing"


def test_a_checkout_around_installed_packages_is_not_this_programs_commit(tmp_path: Path) -> None:
    installed = tmp_path / "venv" / "mlxintro"
    installed.mkdir(parents=True)
    (installed / "module.py").touch()
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    assert git_commit(installed) is None
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "y"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert git_commit(installed) == {"commit": head, "dirty": False}
    (installed / "module.py").write_text("changed")
    assert git_commit(installed) == {"commit": head, "dirty": True}


def _edit(store: Store, sql: str, *values: object) -> None:
    with sqlite3.connect(store.path) as db:
        db.execute(sql, values)
    db.close()


def test_a_clock_that_was_set_back_does_not_let_an_older_verdict_win(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = filled(store, 3)
    key = spec(1).key

    class Earlier(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Earlier:
            return cls.fromtimestamp(datetime.now(tz).timestamp() - 3600, tz)

    store.labels.add(run, [Label(key=key, labeller="ann", fields={"affirms": True})])
    store.grades.add(run, [GradeRecord(key=key, grader="rules", version="1", affirms=True)])
    monkeypatch.setattr("mlxintro.store.latest.datetime", Earlier)
    store.labels.add(run, [Label(key=key, labeller="ann", fields={"affirms": False})])
    store.grades.add(run, [GradeRecord(key=key, grader="rules", version="2", affirms=False)])
    assert [label.fields for label in store.labels.latest(run)] == [{"affirms": False}]
    assert [(grade.version, grade.affirms) for grade in store.grades.latest(run)] == [("2", False)]
    assert [count.affirms for count in store.grades.counts(run, "rules") if count.graded] == [False]
