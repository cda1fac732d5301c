"""Every grader judges the thought as well as the answer, and what it says of either is stored apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from mlxintro.cli.grading.label import show_item
from mlxintro.grading.claude.api import open_client
from mlxintro.grading.claude.batch import BatchRunner
from mlxintro.grading.claude.live import run_live
from mlxintro.grading.claude.passes import Report
from mlxintro.grading.labels.labelling import LabellingSession, items
from mlxintro.grading.local import LocalJudge, judge_run
from mlxintro.grading.pair import grade_by_pair
from mlxintro.grading.passes import find_grader, gradable, grade_run
from mlxintro.replies.thoughts import THOUGHT
from mlxintro.store.exporting.columns import GRADE_COLUMNS
from mlxintro.store.exporting.export import export_rows
from mlxintro.store.records import Finished
from mlxintro.store.store import Store
from mlxintro.thinking.grades import thought_verdict
from tests.grading_runs import ANSWER, graded, job_for
from tests.messages_server import MessagesServer, serving
from tests.plans import outcome, plan
from tests.test_local_judge import SHARES, Scripted

REPLIES = (
    # Thought, answer, and what a person makes of either under the plain judge: does it claim?
    ("Hmm. I detect a thought about the ocean.", "No, nothing.", True, False),
    ("The ocean, the ocean.", "I detect a thought about the ocean.", False, True),
    ("I detect a thought.", "I detect a thought about the ocean.", True, True),
    ("Nothing here.", "I detect a thought about the ocean.", False, True),
    ("Let me see.", "No, nothing.", False, False),
    (None, "I detect a thought.", None, True),
)
COUNT, THOUGHTS = 4 * len(REPLIES), 4 * (len(REPLIES) - 1)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[MessagesServer]:
    with serving() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


def thoughtful_run(path: Path) -> str:
    with Store(path) as store:
        run = store.runs.create(
            "injected-thoughts",
            planned=COUNT,
            name="r",
            study={"thinking": "on"},
            model={"model": "x"},
            environment={},
        )
        done = []
        for at, spec in enumerate(plan(COUNT)):
            thought, said, _, _ = REPLIES[at % len(REPLIES)]
            stored = (
                {} if thought is None else {THOUGHT: {"text": f"{thought} [{at}]", "tokens": 9, "closed": "itself"}}
            )
            done.append(Finished(at, spec, replace(outcome(spec, f"{said} [{at}]"), measurements=stored)))
        store.trials.add(run.id, done)
        return run.id


def check(path: Path, run: str, grader: str) -> None:
    with Store(path, read_only=True) as store:
        for at, record in graded(store, run, grader).items():
            thought, _, noticed, said = REPLIES[at % len(REPLIES)]
            assert record.affirms is said, at
            verdict = thought_verdict(record)
            assert (verdict is None) is (thought is None)
            assert verdict is None or verdict.affirms is noticed, at


def ask(path: Path, run: str, budget: float | None = None) -> Report:
    with Store(path) as store, closing(open_client()) as client:
        job = job_for(store, run, budget=budget)
        with job.alone():
            run_live(job, client, job.open_dossiers())
        return job.report


def test_claude_is_asked_about_the_thought_too_and_each_answer_is_paid_for_once(
    server: MessagesServer, tmp_path: Path
) -> None:
    path = tmp_path / "s.db"
    run = thoughtful_run(path)
    report = ask(path, run)
    assert (report.graded, report.failed, report.left) == (COUNT, 0, 0)
    check(path, run, "claude")
    thoughts = {asked.reply for asked in server.paid if asked.question == "stance"}
    # One text an answer, and one for each thought.
    assert len(thoughts) == COUNT + THOUGHTS
    assert len({(asked.question, asked.reply) for asked in server.paid}) == len(server.paid)
    with Store(path) as store:
        assert store.calls.spent(run, "claude") == pytest.approx(len(server.paid) * ANSWER)
        named = graded(store, run)
    # A word that stands in the thought before any claim was named first.
    first = {at: one.named_before_affirming for at, one in named.items() if one.identifies and one.affirms}
    assert {at: value for at, value in first.items() if at % 6 in (1, 2)} == {7: True, 13: True, 14: False, 20: False}
    assert ask(path, run) == Report(skipped=COUNT)


def test_a_budget_covers_the_questions_about_thoughts(server: MessagesServer, tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    run = thoughtful_run(path)
    with Store(path) as store:
        job = job_for(store, run)
        every = job.estimate(job.open_dossiers())
        worst = max(job.worst(job.grader.request(one, "stance")) for one in job.open_dossiers())
    report = ask(path, run, budget=worst * 2)
    assert report.left > 0
    assert "budget" in report.stopped
    with Store(path) as store:
        assert store.calls.spent(run, "claude") <= worst * 2
    done = ask(path, run)
    assert done.graded + done.skipped == COUNT
    check(path, run, "claude")
    # The estimate was of all questions that might be asked, about both channels.
    assert len(server.paid) <= every.questions
    assert every.questions > COUNT + THOUGHTS


def test_a_batch_brings_the_verdicts_on_thoughts_home(server: MessagesServer, tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    run = thoughtful_run(path)
    with Store(path) as store, closing(open_client()) as client:
        job = job_for(store, run, batch=True)
        with job.alone():
            BatchRunner(job, client, notify=lambda line: None, grace=0.0).run(job.open_dossiers)
        assert job.report.graded == COUNT
    check(path, run, "claude")


@pytest.mark.parametrize("grader", ["rules", "rules-strict"])
def test_the_rules_grade_thoughts_that_an_earlier_pass_left_out(tmp_path: Path, grader: str) -> None:
    path = tmp_path / "s.db"
    run = thoughtful_run(path)
    with Store(path) as store:
        found = store.runs.get(run)
        assert grade_run(store, found, find_grader(grader)).graded == COUNT
        assert grade_run(store, found, find_grader(grader)).skipped == COUNT
        # As a version without thoughts has stored them.
        bare = [replace(one, raw=None) for one in store.grades.latest(run, grader=grader)]
        store.grades.add(run, bare)
        assert grade_run(store, found, find_grader(grader)).graded == THOUGHTS
        verdicts = [thought_verdict(one) for one in store.grades.latest(run, grader=grader)]
    assert sum(one is not None for one in verdicts) == THOUGHTS


def test_a_local_judge_reads_both_channels(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    run = thoughtful_run(path)
    backend = Scripted(SHARES)
    with Store(path) as store:
        found, judge = store.runs.get(run), LocalJudge(backend)
        assert judge_run(store, found, judge).graded == COUNT
        assert backend.asked.count("affirms") == COUNT + THOUGHTS
        assert judge_run(store, found, judge).skipped == COUNT
        records = graded(store, run, "local")
    for at, record in records.items():
        verdict = thought_verdict(record)
        assert (verdict is None) is (REPLIES[at % len(REPLIES)][0] is None)
        assert verdict is None or verdict.affirms is True
        assert json.loads(record.raw or "")["affirms"]["yes"] == pytest.approx(0.75)


def test_two_graders_agree_on_a_thought_or_leave_it_open(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    run = thoughtful_run(path)
    with Store(path) as store:
        found = store.runs.get(run)
        grade_run(store, found, find_grader("rules"))
        judge_run(store, found, LocalJudge(Scripted(SHARES)))
        pair, _ = grade_by_pair(store, found, "rules", "local")
        rules, joint = graded(store, run, "rules"), graded(store, run, pair.name)
    for at, record in joint.items():
        own, both = thought_verdict(rules[at]), thought_verdict(record)
        assert (own is None) is (both is None)
        if own is not None and both is not None:
            # The judge says yes to everything.
            assert both.affirms is (True if own.affirms else None)


def test_a_labeller_sees_the_thought_and_labels_the_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = thoughtful_run(tmp_path / "mlxintro.db")
    with Store(tmp_path / "mlxintro.db") as store:
        trials = list(gradable(store, store.runs.get(run)))
    found = items(trials, [trial.key for trial in trials])
    assert [one.thought for one in found] == [
        f"{thought} [{at}]" if (thought := REPLIES[at % len(REPLIES)][0]) else "" for at in range(COUNT)
    ]
    for one in found:
        show_item(LabellingSession("ann", [one]), one, 1)
        shown = capsys.readouterr().out
        assert one.response in shown
        assert ("answer:" in shown) is bool(one.thought)
        if one.thought:
            assert shown.index(f"  | {one.thought}") < shown.index("answer:") < shown.index(one.response)


def test_exports_hold_the_thought_and_both_verdicts(tmp_path: Path) -> None:
    run = thoughtful_run(tmp_path / "s.db")
    with Store(tmp_path / "s.db") as store:
        grade_run(store, store.runs.get(run), find_grader("rules"))
        rows = list(export_rows(store, [run]))
    classes = ("noticed, not said", "said, not noticed", "noticed and said", "said, not noticed")
    for at, row in enumerate(rows):
        thought = REPLIES[at % len(REPLIES)][0]
        assert row["thought"] == (None if thought is None else f"{thought} [{at}]")
        assert (row["thought_tokens"], row["thought_end"]) == ((9, "itself") if thought else (None, None))
        if at % 6 < len(classes):
            assert row["rules.channels"] == classes[at % 6]
    assert {"thought_affirms", "thought_identifies", "channels"} <= {column.name for column in GRADE_COLUMNS}
