from __future__ import annotations

import dataclasses
import json
import math
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mlxintro.backends.base import Proof
from mlxintro.backends.errors import KnownError, UsageError
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.protocol.hashing import tagged_hash
from mlxintro.protocol.trials import Dose, Outcome
from mlxintro.running.environment import describe_environment
from mlxintro.store import Finished, GradeRecord, Label, Store, Trial, TrialFilter
from tests.plans import outcome, prompt_of, spec
from tests.stores import counted, filled


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


def _edit(store: Store, sql: str, *values: object) -> None:
    with sqlite3.connect(store.path) as db:
        db.execute(sql, values)
    db.close()
