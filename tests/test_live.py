"""What a watcher is shown of a run that goes on, held against what is stored when it has ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from mlxintro.analysis.head_figures import CLAIMS_DISPLAY
from mlxintro.analysis.reply_tally import ReplyTally
from mlxintro.analysis.summary import GroupSummary, summarise
from mlxintro.analysis.tally import CellTally, RunTally
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.experiments.base import Plan
from mlxintro.grading.alongside import graded_alongside
from mlxintro.grading.passes import find_grader, grade_run, rows_of
from mlxintro.protocol.study import make_study
from mlxintro.protocol.trials import TrialSpec
from mlxintro.replies.grade_terms import GradeState
from mlxintro.running import launch, live
from mlxintro.running.events import TokenGenerated, TrialFinished
from mlxintro.running.launch import Checked
from mlxintro.running.live import Writing, live_file, read_live
from mlxintro.running.session import Session
from mlxintro.store.records import GRADE_FIELDS, GradeRecord, Run
from mlxintro.store.store import Store
from tests.grading_runs import CASES, stored_run
from tests.plans import plan

SETTINGS: dict[str, Any] = {
    "concepts": ("ocean", "fear"),
    "strengths": (2.0, 4.0),
    "layers": (2, 4),
    "trials": 2,
    "controls": "standard",
    "max_tokens": 24,
}


@dataclass(frozen=True)
class Begun:
    store: Store
    run: Run
    checked: Checked
    plan: Plan
    session: Session

    def events(self, **more: Any) -> Any:
        return launch.execute(self.store, self.run, self.checked, self.plan, self.session, **more)


@contextmanager
def begun(path: Path, **settings: Any) -> Iterator[Begun]:
    with FakeBackend("detector", batch_size=4) as backend, Store(path / "mlxintro.db") as store:
        study = make_study(model="detector", backend="fake", **{**SETTINGS, **settings})
        checked = launch.check(study)
        planned = launch.plan(checked, backend)
        run = launch.begin(store, checked, backend, planned)
        yield Begun(store, run, checked, planned, launch.prepare(store, backend, planned))


def verdicts(store: Store, run: Run) -> list[GradeRecord]:
    return sorted((replace(g, created="") for g in store.grades.latest(run.id, grader="rules")), key=lambda g: g.key)


def test_a_run_graded_alongside_equals_one_graded_afterwards(tmp_path: Path) -> None:
    with begun(tmp_path / "alongside") as first:
        for _ in graded_alongside(first.store, first.run.id, find_grader("rules"), first.events()):
            pass
        alongside = verdicts(first.store, first.run)
        left = grade_run(first.store, first.run, find_grader("rules"))
        after_all = verdicts(first.store, first.run)
        silent = [t for t in first.store.trials.of_run(first.run.id) if t.spec.readout == "text" and not t.response]
    with begun(tmp_path / "afterwards") as second:
        for _ in second.events():
            pass
        grade_run(second.store, second.run, find_grader("rules"))
        afterwards = verdicts(second.store, second.run)
    assert len(alongside) > 20
    assert left.graded == len(silent)
    assert after_all == afterwards


def test_what_was_finished_before_an_error_is_graded(tmp_path: Path) -> None:
    with begun(tmp_path) as study:
        events = graded_alongside(study.store, study.run.id, find_grader("rules"), study.events())
        seen = []
        for event in events:
            if isinstance(event, TrialFinished) and event.response:
                seen.append(event.key)
            if len(seen) == 5:
                break
        events.close()
        assert study.store.runs.get(study.run.id).state == "interrupted"
        assert {grade.key for grade in verdicts(study.store, study.run)} == set(seen)
        assert not live_file(study.store.path, study.run.id).exists()


Counts = tuple[tuple[int, int], tuple[int, int]]
"""Hits and observations of detection, then of identification."""


def counts_of(tally: CellTally) -> Counts:
    detection, identification = tally.figures
    return (detection.hits, detection.observations), (identification.hits, identification.observations)


def summary_counts(tally: ReplyTally) -> Counts:
    """Return the counts from the summary, which reads every trial."""
    counts = tally.as_dict()
    return (counts["detected"], counts["graded"]), (counts["identified"], counts["graded"] - counts["unidentifiable"])


def check_rates(store: Store, run: Run) -> None:
    found = RunTally.of_counts(CLAIMS_DISPLAY, store.grades.counts(run.id, "rules"))
    summary = summarise(rows_of(store, run, "rules"))

    def group(tally: CellTally, expected: GroupSummary) -> None:
        assert counts_of(tally) == summary_counts(expected.tally)
        assert tally.trials == expected.tally.trials
        assert [one.value for one in tally.figures] == [expected.detection, expected.identification]

    group(found.case, summary.overall)
    assert counts_of(found.baseline)[0] == summary_counts(summary.controls)[0]
    assert found.baseline.figures[0].value == summary.false_alarms
    assert len(found.cells) == len(summary.cells)
    for cell in summary.cells:
        assert cell.layer is not None
        assert cell.strength is not None
        group(found.cells[cell.layer, cell.strength], cell)


def test_rates_from_counts_are_those_of_the_summary(tmp_path: Path) -> None:
    """Every kind of verdict in every cell; some trials graded twice, some by another grader only, some not at all."""
    run_id = stored_run(tmp_path / "s.db", 120, ["text"] * 120)

    def grade(i: int, case: int, grader: str = "rules") -> GradeRecord:
        _, control, injected = CASES[case % len(CASES)]
        *values, abstained = injected if specs[i].condition == "injected" else control
        state = GradeState.ABSTAINED if abstained else GradeState.SCORED
        said: dict[str, Any] = dict(zip(GRADE_FIELDS, values, strict=True))
        return GradeRecord(key=specs[i].key, grader=grader, version="1", state=state, **said)

    specs = plan(120)
    with Store(tmp_path / "s.db") as store:
        run = store.runs.get(run_id)
        check_rates(store, run)
        store.grades.add(run_id, [grade(i, i * 7 // 3) for i in range(120) if i % 11])
        check_rates(store, run)
        store.grades.add(run_id, [grade(i, i + 3) for i in range(0, 120, 4)])
        store.grades.add(run_id, [grade(i, 0, "somebody else") for i in range(120)])
        store.grades.add(
            run_id,
            [GradeRecord(key=specs[7].key, grader="rules", version="1", state=GradeState.UNSCORED, reason="it failed")],
        )
        check_rates(store, run)
        found = RunTally.of_counts(CLAIMS_DISPLAY, store.grades.counts(run_id, "rules"))
    (detected, decided), (identified, _) = counts_of(found.case)
    assert 0 < identified < detected < decided < found.case.trials
    assert 0 < counts_of(found.baseline)[0][0] < found.baseline.trials


def test_rates_of_a_study_with_control_arms_are_those_of_the_summary(tmp_path: Path) -> None:
    with begun(tmp_path) as study:
        for _ in graded_alongside(study.store, study.run.id, find_grader("rules"), study.events()):
            pass
        assert any(spec.arm for spec in study.plan)
        check_rates(study.store, study.run)


def test_newer_grades_name_their_runs(tmp_path: Path) -> None:
    first = stored_run(tmp_path / "s.db", 3, ["a", "b", "c"])
    keys = [spec.key for spec in plan(3)]
    with Store(tmp_path / "s.db") as store:
        second = store.runs.create("injected-thoughts", planned=1, name="second").id
        assert store.grades.graded_since(0) == (0, set())
        store.grades.add(first, [GradeRecord(key=keys[0], grader="rules", version="1", affirms=True)])
        newest, runs = store.grades.graded_since(0)
        assert newest > 0
        assert runs == {first, second}, "nothing known yet: all of them"
        assert store.grades.graded_since(newest) == (newest, set())
        store.grades.add(first, [GradeRecord(key=keys[1], grader="rules", version="1", affirms=True)])
        newer, runs = store.grades.graded_since(newest)
        assert newer > newest
        assert runs == {first}


@pytest.mark.parametrize("window", ["all", "prompt", "generation", "question"])
def test_steered_ranges_are_where_the_forward_pass_was_touched(
    tmp_path: Path, window: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proofs are measured inside the pass: their positions, counted from the reply's first token, must be marked."""
    monkeypatch.setattr(live, "EVERY_SECONDS", 0.0)
    seen: dict[str, Writing] = {}

    with begun(tmp_path, window=window) as study:
        specs: dict[str, TrialSpec] = {spec.key: spec for spec in study.plan}

        def look(token: TokenGenerated) -> None:
            now = read_live(study.store.path, study.run.id)
            if now is not None:
                seen[now.key] = now

        for _ in study.events(tokens=look):
            pass
        trials = {trial.key: trial for trial in study.store.trials.of_run(study.run.id)}

    assert {specs[key].condition for key in seen} == {"injected", "control"}
    for key, now in seen.items():
        trial = trials[key]
        assert "".join(now.pieces) == trial.response[: len("".join(now.pieces))]
        assert (now.condition, now.concept, now.layer, now.strength) == (
            trial.condition,
            trial.concept,
            trial.layer,
            trial.strength,
        )
        begin = len(study.plan.prompts[specs[key].prompt].tokens)
        touched = {
            position - begin
            for proof in trial.proofs
            if proof.first is not None and proof.last is not None
            for position in range(max(begin, proof.first), proof.last + 1)
        }
        end = max(touched, default=len(now.pieces) - 1) + 1
        marked = {i for start, stop in now.steered for i in range(start, end if stop is None else stop)}
        assert marked == touched


def test_a_file_that_cannot_be_written_does_not_hurt_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with begun(tmp_path) as study:
        (study.store.path.parent / "live").write_text("in the way")
        for _ in study.events():
            pass
        run = study.store.runs.get(study.run.id)
        assert run.state == "done"
        assert run.done == len(study.plan)
        assert read_live(study.store.path, run.id) is None
    assert caplog.text.count("replies cannot be watched") == 1


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"pieces": 3}', '{"pieces": [], "steered": [[1]]}'])
def test_a_damaged_live_file_is_as_good_as_none(tmp_path: Path, content: str) -> None:
    path = live_file(tmp_path / "s.db", "r")
    path.parent.mkdir()
    path.write_text(content)
    assert read_live(tmp_path / "s.db", "r") is None


def test_the_last_trial_is_one_that_says_something(tmp_path: Path) -> None:
    with begun(tmp_path) as study:
        assert study.store.trials.last(study.run.id) is None
        for _ in study.events():
            pass
        trials = sorted(study.store.trials.of_run(study.run.id), key=lambda trial: trial.ordinal)
        found = study.store.trials.last(study.run.id)
    assert not trials[-1].response
    assert found is not None
    assert found.key == [trial for trial in trials if trial.response][-1].key
