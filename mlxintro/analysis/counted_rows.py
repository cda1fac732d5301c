"""A run's rows without a row for every trial: the store's counts, and the few trials that an analysis reads.

Nearly all replies of a large study claim nothing and are alike in everything that a figure looks at. The store counts
those by cell and verdict as they come in (``store.schema.standing``), so a million of them take as long as a thousand.
Trials that an analysis reads keep a row of their own:

- replies that claim a thought: what they name is looked at;
- trials of the arms that the experiment says it reads (``Experiment.reads_every``);
- trials of other arms without a verdict, which are measured rather than graded.

Uninjected replies are read one by one as well, where no other arm says how often a concept is named by luck, but only
counted: by their verdict, and by whether they name the concept of their pair.

What comes out of it is what comes out of one row for every trial; tests compare the two.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import islice
from typing import NamedTuple

from mlxintro import experiments
from mlxintro.analysis.results import PairedTrial, Row
from mlxintro.grading.base import Grade
from mlxintro.grading.passes import counted, row_of, rows_of
from mlxintro.ladder.case import names_concept
from mlxintro.protocol import controls
from mlxintro.protocol.concepts import Library
from mlxintro.protocol.words.own_concepts import library_of
from mlxintro.store.grades import VerdictCount
from mlxintro.store.records import GRADE_FIELDS, Run, Trial, TrialFilter
from mlxintro.store.searching.verdict_code import verdict_of
from mlxintro.store.store import Store
from mlxintro.store.trials import PAGE

_POOL = TrialFilter(arm="", condition="control", status="done")


def analysed_rows(store: Store, run: Run, grader: str) -> list[Row]:
    """Return all finished trials as the experiment analyses them, alike ones in one row where it allows that.

    Args:
        store: open.
        run: whose trials.
        grader: whose verdicts.
    """
    read = experiments.find(run.experiment).reads_every
    return rows_of(store, run, grader) if read is None else _Counting(store, run, grader, read).rows()


def example_rows(store: Store, run: Run, grader: str, rows: Sequence[Row], each: int) -> Sequence[Row]:
    """Return rows with replies that hold the first of every class of verdict, in the order of the plan.

    Args:
        store: open.
        run: whose trials.
        grader: whose verdicts.
        rows: as they were analysed; returned where each of them is a single trial.
        each: how many replies of a class are wanted.
    """
    if experiments.find(run.experiment).reads_every is None:
        return rows
    found = []
    for class_ in store.grades.classes_of_run(run.id, grader):
        for condition in ("injected", "control"):
            where = TrialFilter(arm="", condition=condition, status="done")
            spoken = (one for one in store.trials.of_class(run.id, grader, class_, where) if one.response)
            found += [(trial, class_) for trial in islice(spoken, each)]
    found.sort(key=lambda item: (item[0].ordinal, item[0].key))
    library = library_of(run.study)
    return [row_of(trial, grade_of_class(class_), library) for trial, class_ in found]


@cache
def grade_of_class(class_: str) -> Grade | None:
    """Return the verdict of a class of the store; ``None`` where the grader failed."""
    return counted(verdict_of(class_))


class _Alike(NamedTuple):
    """Holds what uninjected replies have in common that are counted together."""

    concept: str | None
    layer: int | None
    strength: float | None
    class_: str | None
    pair: PairedTrial


class _Counting:
    """Counts one run's rows by one grader's verdicts."""

    def __init__(self, store: Store, run: Run, grader: str, read: frozenset[str]) -> None:
        self._store = store
        self._run = run.id
        self._library = library_of(run.study)
        self._grader = grader
        self._counts = store.grades.counts_by_concept(run.id, grader)
        arms = {count.arm for count in self._counts}
        self._read = (read & arms) | {count.arm for count in self._counts if count.arm and not count.graded}
        """Arms of which every trial has a row."""
        self._luck = arms.isdisjoint(controls.ELSEWHERE)
        """Whether uninjected replies are searched for the concept of their pair."""

    def rows(self) -> list[Row]:
        """Return the rows of single trials in the order of the plan, arm by arm; then counted ones."""
        return [*self._claims(), *self._of_arms(), *self._counted(), *(self._pool() if self._luck else ())]

    def _is_pool(self, one: Trial | VerdictCount) -> bool:
        return self._luck and not one.arm and one.condition == "control"

    def _claims(self) -> Iterator[Row]:
        """Replies that claim something, outside the arms that are read anyway."""
        classes = self._store.grades.classes_of_run(self._run, self._grader)
        found = [self._of_class(class_) for class_ in classes if (one := grade_of_class(class_)) and one.detects]
        for trial, class_ in heapq.merge(*found, key=lambda item: (item[0].ordinal, item[0].key)):
            if trial.arm not in self._read and not self._is_pool(trial):
                yield row_of(trial, grade_of_class(class_), self._library)

    def _of_class(self, class_: str) -> Iterator[tuple[Trial, str]]:
        for trial in self._store.trials.of_class(self._run, self._grader, class_, TrialFilter(status="done")):
            yield trial, class_

    def _of_arms(self) -> Iterator[Row]:
        """Every trial of the arms that are read."""
        pairs = self._pairs(TrialFilter(arm=controls.MATCHED)) if controls.MATCHED in self._read else {}
        for arm in sorted(self._read):
            for trial, class_ in self._with_classes(TrialFilter(arm=arm, status="done")):
                row = row_of(trial, grade_of_class(class_) if class_ else None, self._library)
                if arm == controls.MATCHED:
                    row = replace(row, pair=PairedTrial(*pairs.get(row.trial, (None, None))))
                yield row

    def _counted(self) -> Iterator[Row]:
        for count in self._counts:
            grade = None
            if count.graded:
                grade = Grade(**{name: getattr(count, name) for name in (*GRADE_FIELDS, "state", "naming")})
            single = count.arm in self._read or (grade is not None and grade.detects)
            if not single and not self._is_pool(count):
                yield _row_like(count, count.condition, count.arm, grade, count.trials, self._library)

    def _pool(self) -> Iterator[Row]:
        """Uninjected replies: claims one by one, the others counted."""
        pairs = self._pairs(_POOL)
        alike: Counter[_Alike] = Counter()
        claims: dict[str, tuple[Grade, PairedTrial]] = {}
        for reply in self._store.trials.replies(self._run, self._grader, _POOL):
            grade = grade_of_class(reply.class_) if reply.class_ else None
            detected = grade.detects if grade else None
            word, _ = pairs.get(reply.number, (None, None))
            named = None if detected is None or word is None else names_concept(reply.response, word, self._library)
            pair = PairedTrial(word, None, named)
            if grade and detected:
                claims[reply.key] = (grade, pair)
            else:
                alike[_Alike(reply.concept, reply.layer, reply.strength, reply.class_, pair)] += 1
        for trial in self._store.trials.by_keys(self._run, list(claims)):
            grade, pair = claims[trial.key]
            yield replace(row_of(trial, grade, self._library), pair=pair)
        for one, trials in alike.items():
            grade = grade_of_class(one.class_) if one.class_ else None
            yield replace(_row_like(one, "control", "", grade, trials, self._library), pair=one.pair)

    def _pairs(self, where: TrialFilter) -> dict[int, tuple[str | None, float | None]]:
        """Concept and strength of the injected trials that have the numbers of some others."""
        return self._store.trials.last_of_numbers(self._run, where)

    def _with_classes(self, where: TrialFilter) -> Iterator[tuple[Trial, str | None]]:
        """Trials with the class of their latest verdict; ``None`` where there is no verdict."""
        trials = self._store.trials.of_run(self._run, where)
        while page := list(islice(trials, PAGE)):
            classes = self._store.grades.classes(self._run, self._grader, [trial.key for trial in page])
            for trial in page:
                yield trial, classes.get(trial.key)


def _row_like(
    one: VerdictCount | _Alike, condition: str, arm: str, grade: Grade | None, trials: int, library: Library
) -> Row:
    """A row for several trials; the number -1 is no trial's."""
    place = (one.concept, one.layer, one.strength)
    return Row("", condition, arm, *place, -1, "", {}, {}, grade, times=trials, library=library)
