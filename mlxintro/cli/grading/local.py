"""``mlxintro grade --grader local``."""

from __future__ import annotations

from typing import Any

from mlxintro.cli.options import load_backend
from mlxintro.cli.output import chatter, shell
from mlxintro.cli.running.progress import Bar


def grade_by_judge(store: Any, run: Any, model: str | None, backend: str, name: str, *, again: bool) -> None:
    """Grade a run by a model on this machine. Loading checks that it fits beside whatever else is in memory."""
    from mlxintro.grading.local import LocalJudge, judge_run

    with load_backend(model, backend) as loaded, Bar("grading", unit=" replies") as bar:
        judge = LocalJudge(loaded, name=name)
        done = judge_run(store, run, judge, again=again, progress=lambda graded: bar.count(graded, run.done))
    chatter(
        f"{run.name}: {done.graded} graded ({done.abstained} abstained), {done.skipped} were graded before by "
        f"{judge.version}; see mlxintro stats {shell(run.name)} --grader {shell(name)}"
    )
