"""A study of several runs, conducted from the first check to the last grade; the same line goes on where it stopped."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlxintro.backends.errors import KnownError, UsageError
from mlxintro.cli.output import chatter, echo, shell, shorten, table

if TYPE_CHECKING:
    from mlxintro.protocol.study_parts import StudyManner
    from mlxintro.running.study_order import OrderedPart, StudyOrder
    from mlxintro.store.records import Run
    from mlxintro.store.store import Store
    from mlxintro.store.studies import StoredPart, StoredStudy


def conduct(path: Path, order: StudyOrder, flags: dict[str, Any]) -> int:
    """Run every part of a study that is not done yet; return the exit code.

    Args:
        path: of the store.
        flags: ``name``, ``batch_size``, ``no_grade``, ``freeze`` and ``as_json`` of ``mlxintro run``.

    Raises:
        KnownError: nothing can be run, or the store cannot be written.
    """
    from mlxintro.running.preview.preflight import check_grader, problems_of, warnings_of
    from mlxintro.running.study_choice import stored_study
    from mlxintro.store.store import Store

    if not flags["no_grade"]:
        check_grader(order.manner.grader)
    for warning in warnings_of(path, [part.asked for part in order.parts]):
        chatter(f"warning: {warning}")
    problems = problems_of(order.parts)
    _refuse_hopeless(order, problems)
    with Store(path) as store:
        study = stored_study(store, order, flags["name"])
        work = _StudyWork(store, order, flags, study.id)
        waiting = _waiting(study, order, problems, work)
        _tell(study, waiting)
        try:
            for part, problem in waiting:
                work.part(part, problem)
        finally:
            with suppress(KnownError):
                work.leave()
        if len(order.parts) > 1 or not waiting:
            conclude(store.studies.get(study.id), as_json=flags["as_json"])
    return work.code


def _refuse_hopeless(order: StudyOrder, problems: Sequence[str | None]) -> None:
    """Raise the first problem where every part has one, before anything is stored."""
    if None not in problems:
        with order.told():
            raise UsageError(str(problems[0]), setting="model")


def _waiting(
    study: StoredStudy, order: StudyOrder, problems: Sequence[str | None], work: _StudyWork
) -> list[tuple[StoredPart, str | None]]:
    """Parts of which something is to be run or graded, each with what is known against it.

    Raises:
        KnownError: another process works on one of them.
    """
    against = {part.key: problem for part, problem in zip(order.parts, problems, strict=True)}
    for part in study.parts:
        if part.run is not None and (part.run.state in ("running", "paused") or part.run.preparing):
            raise KnownError(
                f"{part.run.name} is being run by process {part.run.pid} on {part.run.host}: wait for it, or stop it "
                "in the terminal app"
            )
    return [
        # What is run needs no model any more.
        (part, None if part.settled else against.get(part.key))
        for part in study.parts
        if not part.settled or work.is_to_be_graded(part)
    ]


def _tell(study: StoredStudy, waiting: Sequence[tuple[StoredPart, str | None]]) -> None:
    """Say how much is to be done, and what cannot be done now, before the first model is loaded."""
    count, left = len(study.parts), len(waiting)
    if count > 1 and left:
        done = f", {count - left} are done already" if left < count else ""
        chatter(f"study {study.name} ({study.id}): {left} of {count} runs to do{done}")
    for part, problem in waiting:
        if problem is not None:
            chatter(f"  cannot be run now: {part.label}: {problem}")


@dataclass
class _StudyWork:
    """Does the work of one session."""

    store: Store
    order: StudyOrder
    flags: dict[str, Any]
    study: str
    code: int = 0

    def part(self, part: StoredPart, problem: str | None) -> None:
        """Run or go on with one part, and grade it. What is wrong with it is recorded, and the others go on.

        Raises:
            KnownError: the store cannot be written, or it is the only part.
        """
        alone = len(self.order.parts) == 1
        if problem is not None:
            self._failed(part, problem)
            return
        if not alone:
            chatter(f"\n{part.label}:")
        try:
            self.code = max(self.code, self._run(part))
        except KnownError as error:
            if alone or hasattr(error.__cause__, "sqlite_errorname"):
                raise
            self._failed(part, str(error))
        except Exception as error:
            if alone:
                raise
            chatter("".join(traceback.format_exception(error)))
            self._failed(part, f"{type(error).__name__}: {error}")

    def is_to_be_graded(self, part: StoredPart) -> bool:
        """Tell whether a finished part lacks verdicts of the study's grader: money had run out, or it was killed."""
        from mlxintro.grading.passes import is_graded

        grader, run = self.order.manner.grader, part.run
        if grader is None or grader.name == "rules" or self.flags["no_grade"] or run is None or run.state != "done":
            return False
        return not is_graded(self.store, run, grader.name)

    def leave(self) -> None:
        """Forget a study of which nothing has begun, so that what was wrong with it leaves no trace."""
        study = self.store.studies.get(self.study)
        if len(study.parts) == 1 and not study.runs:
            self.store.studies.delete(study.id, with_runs=False)

    def _failed(self, part: StoredPart, problem: str) -> None:
        self.code = max(self.code, 1)
        problem = " ".join(problem.split())
        chatter(f"{part.label}: {problem}")
        self.store.studies.failed(self.study, part.ordinal, problem)

    def _run(self, part: StoredPart) -> int:
        from mlxintro.cli.running.executing import go_on_with

        code = 0
        if part.run is None:
            code = self._begin(part)
        elif not part.settled:
            code = go_on_with(self.store, part.run, self.flags)
        self.store.studies.failed(self.study, part.ordinal, None)
        now = self.store.studies.get(self.study).parts
        run = next(one.run for one in now if one.ordinal == part.ordinal)
        if run is not None and run.state == "done" and not self.flags["no_grade"]:
            grade_part(self.store, self.order.manner, run, [one.run for one in now if one.run is not None])
        return code

    def _begin(self, part: StoredPart) -> int:
        from mlxintro.cli.running.executing import execute, planned_on
        from mlxintro.running import launch
        from mlxintro.running.study_choice import run_name

        study = self.store.studies.get(self.study)
        name = run_name(study.name, part.ordinal, len(study.parts))
        asked = self._asked(part)
        with planned_on(self.order.told, asked.checked, self.flags["batch_size"]) as (backend, planned):
            place = (self.study, part.ordinal)
            freeze = self.flags["freeze"]
            run = launch.begin(self.store, asked.checked, backend, planned, name, freeze=freeze, part=place)
            return execute(self.store, run, asked.checked, backend, planned, self.flags)

    def _asked(self, part: StoredPart) -> OrderedPart:
        return next(one for one in self.order.parts if one.key == part.key)


def grade_part(store: Store, manner: StudyManner, run: Run, runs: Sequence[Run]) -> None:
    """Grade a run by the grader of its study, with what the other runs have left of the budget.

    Args:
        runs: all of the study's.

    Raises:
        KnownError: not everything is graded; the same line goes on.
    """
    grader = manner.grader
    if grader is None or grader.name == "rules":
        return
    if grader.name == "rules-strict":
        from mlxintro.cli.grading.local import grade_by_rules

        grade_by_rules(store, run, grader.name, again=False)
        return
    if grader.name == "local":
        from mlxintro.cli.grading.local import grade_by_judge

        grade_by_judge(store, run, grader.judge, grader.judge_backend, grader.name, again=False)
        return
    from mlxintro.cli.grading.asking import Asking
    from mlxintro.cli.grading.claude import grade_by_claude
    from mlxintro.cli.grading.compatible import grade_by_endpoint

    spent = sum(store.calls.spent(one.id, grader.name) for one in runs if one.id != run.id)
    left = None if manner.budget is None else max(0.0, manner.budget - spent)
    how = Asking(False, False, 4, left, grader.price, False, False, batch=grader.batch)
    if grader.name == "claude":
        grade_by_claude(store, run, grader.model, grader.name, how)
    else:
        grade_by_endpoint(store, run, grader.base_url, grader.model, grader.name, how)


def conclude(study: StoredStudy, *, as_json: bool) -> None:
    """Print how every part stands, and how to go on."""
    write = chatter if as_json else echo
    rows = parts_table(study)
    write("\n" + table(["run", "model", "state", "trials", "failed", "note"], rows, right=(3, 4)))
    left = sum(not part.settled or part.error is not None for part in study.parts)
    name = shell(study.name)
    if left:
        count = len(study.parts)
        said = f"{left} of {count} runs are not done or not graded"
        chatter(f"\n{said}: the same line goes on, or mlxintro studies resume {name}")
    else:
        chatter(
            f"\nstudy {study.name} is done: mlxintro compare {name}, mlxintro report {name} -o {name}.html; "
            "the same line with another --name runs it anew"
        )


def parts_table(study: StoredStudy) -> list[list[str]]:
    """Return one row for every part.

    Its run, what it varies, how it stands, trials, failed trials, and what is wrong.
    """
    rows = []
    for part in study.parts:
        run = part.run
        rows.append(
            [
                run.name if run else "",
                part.label,
                part.state,
                f"{run.done}/{run.planned}" if run else "",
                str(run.errors) if run else "",
                shorten(part.error or (run.error if run else None) or "", 100),
            ]
        )
    return rows
