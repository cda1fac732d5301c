"""Grading a stored run, and reading the grades back. A second pass: nothing is generated, and it can be repeated.

A trial that fails to be graded stays ungraded. Grades are only ever added; the latest of each grader counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from sys import intern
from typing import Any, Protocol

from mlxintro.analysis.results import Row
from mlxintro.backends.entry_points import load_outside, outside_names
from mlxintro.backends.errors import PrerequisiteError, UsageError
from mlxintro.grading.base import Evidence, Grade, Grader
from mlxintro.grading.rules.grader import RulesGrader
from mlxintro.protocol.concepts import Library
from mlxintro.protocol.concepts import library as shipped_library
from mlxintro.protocol.hashing import canonical_json
from mlxintro.protocol.words.own_concepts import library_of
from mlxintro.replies.grade_terms import GradeState
from mlxintro.replies.thoughts import thought_of
from mlxintro.store import records
from mlxintro.store.records import Run, Trial, TrialFilter
from mlxintro.store.store import Store
from mlxintro.store.trials import PAGE
from mlxintro.thinking.grades import as_raw, both_graded, grade_channels

GRADERS: dict[str, Callable[[], Grader]] = {"rules": RulesGrader, "rules-strict": partial(RulesGrader, strict=True)}
_CHUNK = 500


class Named(Protocol):
    """Says what a stored grade keeps of its grader."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Pass:
    """Says what one grading pass did."""

    graded: int
    abstained: int
    skipped: int
    """Already graded by the same version of the grader."""


def find_grader(name: str) -> Grader:
    """Find a grader by its name: one that ships, or one of another package.

    Raises:
        UsageError: there is none.
        PrerequisiteError: it is another package's, and does not load.
    """
    if name in GRADERS:
        return GRADERS[name]()
    try:
        made = load_outside("mlxintro.graders", name)
    except LookupError:
        known = [*GRADERS, *outside_names("mlxintro.graders")]
        raise UsageError(f"no grader called {name!r}: choose one of {', '.join(known)}") from None
    grader = made()
    if not isinstance(grader, Grader) or grader.name != name:
        raise PrerequisiteError(f"the entry point {name!r} of mlxintro.graders makes no grader of that name")
    return grader


def check_has_graded(store: Store, run: Run, name: str) -> None:
    """Refuse to count verdicts of somebody who has none.

    Raises:
        UsageError: neither a grader there is nor one that has graded this run.
    """
    known = sorted({*GRADERS, *outside_names("mlxintro.graders"), *store.grades.graders(run.id)})
    if name not in known:
        raise UsageError(f"{name!r} has not graded {run.name}: choose one of {', '.join(known)}")


def grade_run(store: Store, run: Run, grader: Grader, *, again: bool = False) -> Pass:
    """Grade every finished trial this version of the grader has not graded yet.

    Args:
        again: grade all of them anew.
    """
    library = library_of(run.study)
    graded = abstained = skipped = 0
    waiting: list[records.GradeRecord] = []
    for trial, last in _with_verdicts(store, run, grader.name, gradable(store, run)):
        if last is not None and both_graded(trial, last) and last.version == grader.version and not again:
            skipped += 1
            continue
        related = library.related(trial.concept)
        verdict, noticed = grade_channels(
            grader, trial.response, trial.concept, related, thought_of(trial.measurements)
        )
        graded += 1
        abstained += verdict.abstained
        waiting.append(replace(to_record(trial.key, grader, verdict), raw=as_raw(noticed)))
        if len(waiting) == _CHUNK:
            store.grades.add(run.id, waiting)
            waiting = []
    if waiting:
        store.grades.add(run.id, waiting)
    return Pass(graded, abstained, skipped)


def gradable(store: Store, run: Run) -> Iterator[Trial]:
    """Return the finished trials that have a reply; those that are read out otherwise have none."""
    for trial in store.trials.of_run(run.id, TrialFilter(status="done")):
        if trial.response or trial.spec.readout == "text":
            yield trial


def is_graded(store: Store, run: Run, grader: str) -> bool:
    """Tell whether a grader has said something of every finished reply, be it that it failed."""
    if all(count.graded for count in store.grades.counts_by_concept(run.id, grader)):
        return True
    replies = gradable(store, run)
    while page := list(islice(replies, PAGE)):
        keys = [trial.key for trial in page]
        if len(store.grades.latest(run.id, grader=grader, keys=keys)) < len(keys):
            return False
    return True


def to_record(key: str, grader: Named, grade: Grade) -> records.GradeRecord:
    return records.GradeRecord(
        key=key,
        grader=grader.name,
        version=grader.version,
        state=grade.state,
        naming=grade.naming,
        reason=grade.reason,
        evidence=canonical_evidence(grade.evidence),
        **{name: getattr(grade, name) for name in records.GRADE_FIELDS},
    )


def canonical_evidence(evidence: Evidence) -> dict[str, list[int]]:
    """Return the spans as plain data, those that exist."""
    spans = {"affirmation": evidence.affirmation, "mention": evidence.mention, "denial": evidence.denial}
    return {name: list(span) for name, span in spans.items() if span}


def from_record(record: records.GradeRecord) -> Grade:
    spans = {name: (int(start), int(stop)) for name, (start, stop) in (record.evidence or {}).items()}
    return Grade(
        **{name: getattr(record, name) for name in records.GRADE_FIELDS},
        state=record.state,
        naming=record.naming,
        reason=record.reason,
        evidence=Evidence(**spans),
    )


def counted(record: records.GradeRecord | None) -> Grade | None:
    """Return a stored verdict as rates count it: nothing where there is none or the grader failed."""
    return None if record is None or record.state is GradeState.UNSCORED else from_record(record)


def graded_trials(store: Store, run: Run, grader: str) -> Iterator[tuple[Trial, Grade | None]]:
    """Return every finished trial with what one grader last said of it; nothing where it failed to say anything."""
    trials = store.trials.of_run(run.id, TrialFilter(status="done"))
    for trial, record in _with_verdicts(store, run, grader, trials):
        yield trial, counted(record)


def _with_verdicts(
    store: Store, run: Run, grader: str, trials: Iterator[Trial]
) -> Iterator[tuple[Trial, records.GradeRecord | None]]:
    """Trials with what one grader last said of each, a page in memory at a time."""
    while page := list(islice(trials, PAGE)):
        keys = [trial.key for trial in page]
        found = {record.key: record for record in store.grades.latest(run.id, grader=grader, keys=keys)}
        for trial in page:
            yield trial, found.get(trial.key)


def rows_of(store: Store, run: Run, grader: str) -> list[Row]:
    """Return every finished trial as an experiment's ``analyse`` takes it, with one grader's verdicts."""
    library = library_of(run.study)
    details: dict[str, Mapping[str, Any]] = {}
    found = []
    for trial, grade in graded_trials(store, run, grader):
        row = row_of(trial, grade, library)
        # Trials of one question have equal details: kept once, a large run takes half of the memory.
        detail = details.setdefault(canonical_json(row.detail), row.detail)
        measured = {intern(name): _interned(value) for name, value in row.measurements.items()}
        found.append(replace(row, detail=detail, measurements=measured))
    return found


def _interned(value: Any) -> Any:
    """Return the same with one copy of each key of a table."""
    return {intern(name): one for name, one in value.items()} if isinstance(value, dict) else value


def row_of(trial: Trial, grade: Grade | None, library: Library | None = None) -> Row:
    """Return one finished trial as an analysis sees it.

    Args:
        trial: as it is stored.
        grade: the chosen grader's verdict.
        library: the concepts that its run knows; those that ship when ``None``.
    """
    spec = trial.spec
    return Row(
        key=trial.key,
        condition=trial.condition,
        arm=trial.arm,
        concept=trial.concept,
        layer=trial.layer,
        strength=trial.strength,
        trial=spec.trial,
        response=trial.response,
        measurements=trial.measurements,
        detail=spec.detail,
        grade=grade,
        injected=tuple(injection.concept for injection in spec.injections),
        library=library or shipped_library(),
    )
