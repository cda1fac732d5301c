"""``mlxintro studies``: what was asked for in one file, and how its runs stand."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from mlxintro.cli.output import chatter, echo, json_line, table
from mlxintro.cli.running.show import open_store
from mlxintro.cli.running.workers import check_workers, worker_options
from mlxintro.rendering.cleaning import visible

if TYPE_CHECKING:
    from mlxintro.store.studies import StoredStudy


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def studies() -> None:
    """List, show, resume and delete studies: the runs of one file, as one.

    STUDY is a name, an id, or the start of one. `mlxintro run FILE.toml` begins one; the same line goes on with it.
    """


@studies.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@click.pass_context
def list_(context: click.Context, as_json: bool) -> None:
    """List all studies, the latest last."""
    with open_store(context) as store:
        found = store.studies.all()[::-1]
        path = store.path
    if as_json:
        for one in found:
            echo(json_line(_record(one)))
        return
    if not found:
        chatter(f"no studies in {path} yet; `mlxintro run quick` runs one that ships")
        return
    rows = []
    for one in found:
        done = sum(part.settled for part in one.parts)
        trials = sum(run.done for run in one.runs)
        rows.append([one.name, one.id, f"{done}/{len(one.parts)}", str(trials), _summary(one), one.created[:16]])
    echo(table(["name", "id", "runs done", "trials", "models", "created (UTC)"], rows, right=(2, 3)))


@studies.command()
@click.argument("study")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def show(context: click.Context, study: str, as_json: bool) -> None:
    """Show a study with its parts: each with its run, how that stands, and what is wrong."""
    from mlxintro.cli.running.study import conclude

    with open_store(context) as store:
        found = store.studies.find(study)
    if as_json:
        echo(json_line(_record(found)))
        return
    manner = found.settings
    echo(f"{found.name} ({found.id}), begun {found.created[:16]} UTC")
    if grader := manner.get("grader"):
        budget = manner.get("budget")
        echo(f"  graded by {grader['name']}" + (f", for ${budget:g} at most" if budget is not None else ""))
    conclude(found, as_json=False)


@studies.command()
@click.argument("study")
@click.option("--no-grade", is_flag=True, help="Leave grading to `mlxintro grade`.")
@click.option("--batch-size", type=click.IntRange(1, 4096), help="Trials that run together.")
@worker_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object per event, as `mlxintro run --json`.")
@click.pass_context
def resume(context: click.Context, /, study: str, **flags: Any) -> int:
    """Go on with what is not done of a study. Needs its file no more."""
    from mlxintro.cli.running.study import conduct
    from mlxintro.running.study_order import order_again

    check_workers(flags)
    with open_store(context) as store:
        found = store.studies.find(study)
        path = store.path
    return conduct(path, order_again(path, found), {**flags, "name": found.name, "freeze": False})


@studies.command()
@click.argument("study")
@click.option("--keep-runs", is_flag=True, help="Delete the study alone; its runs stay, each on its own.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def rm(context: click.Context, study: str, keep_runs: bool, yes: bool) -> int:
    """Delete a study with its runs, their trials, grades and labels."""
    with open_store(context, write=True) as store:
        found = store.studies.find(study)
        trials = sum(run.done for run in found.runs)
        what = "and keep its runs" if keep_runs else f"with {len(found.runs)} runs and {trials} trials"
        if not yes and not click.confirm(visible(f"delete {found.name} {what}?"), err=True):
            chatter("nothing is deleted")
            return 1
        store.studies.delete(found.id, with_runs=not keep_runs)
    chatter(f"{found.name} is deleted")
    return 0


def _summary(study: StoredStudy) -> str:
    labels = [part.label for part in study.parts]
    return ", ".join(labels[:3]) + (", ..." if len(labels) > 3 else "")


def _record(study: StoredStudy) -> dict[str, Any]:
    """A study as plain data: its parts with the names of their runs instead of the runs themselves."""
    parts = []
    for part in study.parts:
        run = part.run
        parts.append(
            {
                **asdict(part),
                "run": run and {"id": run.id, "name": run.name, "done": run.done, "planned": run.planned},
                "state": part.state,
            }
        )
    return {**asdict(study), "parts": parts}
