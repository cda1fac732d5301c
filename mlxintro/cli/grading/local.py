"""``mlxintro grade --grader local``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlxintro.cli.grading.claude import open_keys
from mlxintro.cli.options import load_backend
from mlxintro.cli.output import chatter, shell
from mlxintro.cli.running.progress import Bar

if TYPE_CHECKING:
    from mlxintro.store.records import Run
    from mlxintro.store.store import Store


def grade_by_rules(store: Store, run: Run, name: str, *, again: bool) -> None:
    """Grade a run by the rules, and say how many replies wait for somebody else."""
    from mlxintro.grading.passes import find_grader, grade_run

    done = grade_run(store, run, find_grader(name), again=again)
    chatter(
        f"{run.name}: {done.graded} graded ({done.abstained} abstained), "
        f"{done.skipped} were graded before; see mlxintro stats {shell(run.name)}"
    )
    if done.abstained:
        chatter(
            f"what is open goes to a person (mlxintro label {shell(run.name)}) or to a judge "
            f"(mlxintro grade claude {shell(run.name)} --open {shell(name)}; openai and local likewise)"
        )


def grade_by_two(store: Store, run: Run, names: str) -> None:
    """Store what two graders agree on.

    Raises:
        UsageError: not two graders that have graded the run.
    """
    from mlxintro.backends.errors import UsageError
    from mlxintro.grading.pair import grade_by_pair

    parts = [name.strip() for name in names.split(",") if name.strip()]
    if len(parts) != 2:
        raise UsageError(f"--of {names!r} does not name two graders: write --of rules,claude")
    pair, done = grade_by_pair(store, run, *parts)
    chatter(
        f"{run.name}: {done.graded - done.abstained} of {done.graded} settled by {pair.name}, {done.abstained} open, "
        f"{done.skipped} not graded by both; see mlxintro stats {shell(run.name)} --grader {shell(pair.name)}"
    )
    if done.abstained:
        chatter(f"go on with mlxintro label {shell(run.name)} --open {shell(pair.name)}")


def grade_by_judge(
    store: Store, run: Run, model: str | None, backend: str, name: str, *, again: bool, open_of: str | None = None
) -> None:
    """Grade a run by a model on this machine. Loading checks that it fits beside whatever else is in memory."""
    from mlxintro.grading.local import LocalJudge, estimate_time, judge_run
    from mlxintro.rendering.quantities import duration

    keys = open_keys(store, run, open_of)
    with load_backend(model, backend) as loaded, Bar("grading", unit=" replies") as bar:
        judge = LocalJudge(loaded, name=name)
        timed = estimate_time(store, run, judge, again=again, keys=keys)
        if timed is not None:
            each = timed.seconds / timed.sample
            total = duration(timed.total)
            bar.say(f"{timed.replies} replies at about {each:.1f} s each: about {total}; Ctrl-C stops, and keeps them")
        done = judge_run(store, run, judge, again=again, keys=keys, progress=lambda graded: bar.count(graded, run.done))
    chatter(
        f"{run.name}: {done.graded} graded ({done.abstained} abstained), {done.skipped} were graded before by "
        f"{judge.version}; see mlxintro stats {shell(run.name)} --grader {shell(name)}"
    )
