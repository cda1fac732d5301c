"""``mlxintro grade``."""

from __future__ import annotations

import click

from mlxintro.cli.output import chatter, shell


@click.command()
@click.argument("run")
@click.option("--grader", type=click.Choice(["rules"]), default="rules", show_default=True)
@click.option("--again", is_flag=True, help="Grade anew what this grader has graded before.")
@click.pass_context
def grade(context: click.Context, run: str, grader: str, again: bool) -> None:
    """Grade the replies of a run. Nothing is generated; earlier grades are kept.

    The grader reads the reply and the name of the concept; it does not know whether anything was injected.
    """
    from mlxintro.grading.passes import find_grader, grade_run
    from mlxintro.paths import data_home
    from mlxintro.store.store import Store

    with Store(data_home(context.obj).db) as store:
        found = store.find_run(run)
        done = grade_run(store, found, find_grader(grader), again=again)
    chatter(
        f"{found.name}: {done.graded} graded ({done.abstained} abstained), "
        f"{done.skipped} were graded before; see mlxintro stats {shell(found.name)}"
    )
