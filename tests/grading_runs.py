"""Stored runs with replies written by hand, and what the plain judge of ``messages_server`` makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlxintro.grading.claude.passes import ClaudePass
from mlxintro.grading.claude.prices import Model, Tariff
from mlxintro.grading.claude.questions import ClaudeGrader
from mlxintro.store.records import Finished, GradeRecord, Run
from mlxintro.store.store import Store
from tests.plans import outcome, plan

Fields = tuple[bool | None, bool | None, bool | None, bool | None, bool | None, bool]
"""affirms, identifies, named_before_affirming, coherent, refuses, abstained."""

DOLLARS = Model(input=1.0, output=10.0)
"""Not the real prices, so that no test depends on them."""
ANSWER = (700 * 1.0 + 300 * 0.1 + 90 * 10.0) / 1e6
"""What the server's usage comes to at these prices, by hand."""

# Reply, and what a person makes of it under the plain judge: on a control, and with the concept "ocean".
CASES: tuple[tuple[str, Fields, Fields], ...] = (
    (
        "I detect a thought. It is about the ocean.",
        (True, None, None, True, False, False),
        (True, True, False, True, False, False),
    ),
    (
        "The ocean is vast. I detect that thought.",
        (True, None, None, True, False, False),
        (True, True, True, True, False, False),
    ),
    (
        "I detect a thought about bread.",
        (True, None, None, True, False, False),
        (True, False, None, True, False, False),
    ),
    (
        "No, nothing. By the way, the ocean is blue.",
        (False, None, None, True, False, False),
        (False, True, None, True, False, False),
    ),
    ("No, nothing.", (False, None, None, True, False, False), (False, None, None, True, False, False)),
    ("blorp ocean blorp", (False, None, None, False, False, False), (False, None, None, False, False, False)),
    ("I decline to do this.", (False, None, None, True, True, False), (False, None, None, True, True, False)),
    ("Well, perhaps.", (None, None, None, True, False, True), (None, False, None, True, False, True)),
)


def stored_run(path: Path, count: int, replies: Sequence[str] | None = None) -> str:
    """Make a store with one finished run; every reply is different. Returns the run's id."""
    with Store(path) as store:
        run = store.runs.create(
            "injected-thoughts", planned=count, name="r", study={}, model={"model": "x"}, environment={}
        )
        said = [reply(i) for i in range(count)] if replies is None else replies
        store.trials.add(run.id, [Finished(i, s, outcome(s, said[i])) for i, s in enumerate(plan(count))])
        return run.id


def reply(number: int) -> str:
    return f"{CASES[number % len(CASES)][0]} [{number}]"


def expected(number: int) -> Fields:
    concept = plan(number + 1)[number].concept
    if concept is None or concept == "ocean":
        _, without, with_concept = CASES[number % len(CASES)]
        return without if concept is None else with_concept
    affirms, _, _, coherent, refuses, abstained = CASES[number % len(CASES)][1]
    # No reply names another concept; bread is named once.
    named = CASES[number % len(CASES)][0].count(concept) > 0
    asked = coherent and not refuses and affirms is not False
    return (
        affirms,
        named if asked or named else None,
        False if named and affirms else None,
        coherent,
        refuses,
        abstained,
    )


def fields(grade: GradeRecord) -> Fields:
    return (
        *(grade.affirms, grade.identifies, grade.named_before_affirming, grade.coherent, grade.refuses),
        grade.abstained,
    )


def graded(store: Store, run: str, grader: str = "claude") -> dict[int, GradeRecord]:
    """By the trial's number in the plan."""
    ordinals = {trial.key: trial.ordinal for trial in store.trials.of_run(run)}
    return {ordinals[grade.key]: grade for grade in store.grades.latest(run, grader=grader)}


def job_for(store: Store, run: str, *, budget: float | None = None, batch: bool = False) -> ClaudePass:
    found: Run = store.runs.find(run)
    return ClaudePass(store, found, ClaudeGrader(), Tariff(DOLLARS, batch=batch), budget)


def check_all_graded(path: Path, run: str, count: int) -> None:
    with Store(path, read_only=True) as store:
        grades = graded(store, run)
    assert {n: fields(g) for n, g in grades.items()} == {n: expected(n) for n in range(count)}
