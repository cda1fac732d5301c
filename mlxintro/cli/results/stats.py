"""``mlxintro stats``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mlxintro.backends.errors import UsageError
from mlxintro.cli.output import chatter, echo, json_line, shell, table, terminal_width

if TYPE_CHECKING:
    from mlxintro.analysis.results import Row
    from mlxintro.analysis.summary import Summary
    from mlxintro.store.records import Run
    from mlxintro.store.store import Store


@click.command()
@click.argument("run")
@click.option("--grader", default="rules", show_default=True, help="Whose verdicts.")
@click.option("--published", is_flag=True, help="Beside published figures, with every difference in protocol.")
@click.option("--curves", is_flag=True, help="With curves and further maps, where there are any.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def stats(context: click.Context, run: str, grader: str, published: bool, curves: bool, as_json: bool) -> None:
    """Show what a run comes to: the verdict and what it rests on, rates with intervals, cells, categories, failures.

    Detection: a readable reply that says it noticed something. Identification: it also names the concept, not before
    saying so. Net: minus the false-alarm rate of the controls, in points. Intervals are 95 %: Wilson's for rates,
    Newcombe's for differences. Trials a grader could not judge are counted beside the rates, never in them.
    """
    from mlxintro.paths import data_home
    from mlxintro.store.store import Store

    with Store(data_home(context.obj).db, read_only=True) as store:
        found = store.studies.runs_of(run)
        if len(found) > 1:
            names = ", ".join(one.name for one in found)
            raise UsageError(
                f"{run!r} is a study of {len(found)} runs ({names}): name one of them, or put them side by side with "
                f"`mlxintro compare {run}`"
            )
        show_stats(store, found[0], grader, as_json, published=published, curves=curves)


def show_stats(
    store: Store, run: Run, grader: str, as_json: bool, *, published: bool = False, curves: bool = False
) -> None:
    """Print what a run comes to."""
    from mlxintro import experiments
    from mlxintro.analysis.counted_rows import analysed_rows
    from mlxintro.analysis.run import analysis_of
    from mlxintro.analysis.summary import summarise
    from mlxintro.grading.passes import check_has_graded
    from mlxintro.rendering.text import as_data, cell_text, lines
    from mlxintro.replies.grade_terms import NAMING_LEVELS

    graded = experiments.find(run.experiment).graded
    if graded:
        check_has_graded(store, run, grader)
    rows = analysed_rows(store, run, grader)
    summary = summarise(rows)
    analysis = analysis_of(store, run, grader, rows)
    card = None
    if published:
        from mlxintro.analysis.across.published import compare

        card = compare(run, rows, grader)
    if as_json:
        head = {"run": run.id, "name": run.name, "state": run.state, "experiment": run.experiment, "grader": grader}
        more: dict[str, object] = {} if card is None else {"published": asdict(card)}
        more |= {"open_replies": store.grades.waiting(run.id)} if graded else {}
        echo(json_line({**head, **(summary.as_dict() if graded else {}), **as_data(analysis), **more}))
        return
    by = f", graded by {grader}" if graded else f", {run.experiment}"
    echo(f"{run.name}: {run.model.get('model')} on {run.model.get('backend')}{by}")
    if graded:
        injected = summary.overall.tally.as_dict()
        echo(f"  detection       {cell_text(summary.overall.detection)}")
        echo(f"  false alarms    {cell_text(summary.false_alarms)}")
        echo(f"  identification  {cell_text(summary.overall.identification)}")
        levels = ", ".join(f"{injected[f'named_{level}']} {level}" for level in NAMING_LEVELS)
        least = "category or nearer" if grader == "rules" else "close or nearer"
        echo(f"    named in claims: {levels}; identification counts {least}")
        echo(f"  net detection   {cell_text(summary.overall.net)}")
        echo(
            f"  injected replies: {injected['refused']} refused, {injected['incoherent']} incoherent, "
            f"{injected['denied_but_named']} named the concept while denying, {injected['named_first']} named it first"
        )
        _show_arms(rows)
    echo()
    for line in lines(analysis, curves=curves, width=terminal_width()):
        echo(line)
    if card is not None:
        from mlxintro.analysis.across.published import card_lines

        echo()
        for line in card_lines(card):
            echo(line)
    for remark in analysis.remarks:
        chatter(f"\n{remark}")
    _remarks(run, summary if graded else None, grader, store.grades.waiting(run.id) if graded else 0)


def _show_arms(rows: Sequence[Row]) -> None:
    """Shares of open, incoherent and refused replies, arm beside arm."""
    from mlxintro.analysis.arm_rates import arm_rates
    from mlxintro.rendering.text import cell_text

    shown = [[one.arm, *(cell_text(share) for share in one.shares.values())] for one in arm_rates(rows)]
    for line in table(["arm", "open", "incoherent", "refused"], shown).splitlines():
        echo(f"  {line}")


def _remarks(run: Run, summary: Summary | None, grader: str, open_replies: int) -> None:
    """What is missing; ``summary`` is ``None`` for experiments that graders have no part in."""
    if open_replies:
        name = shell(run.name)
        chatter(
            f"\n{open_replies} replies wait for a decision: mlxintro label {name}, or mlxintro grade claude {name} "
            f"--open {shell(grader)} (openai and local likewise)"
        )
    unscored = summary.unscored if summary else 0
    if unscored:
        chatter(f"\n{unscored} replies are not graded: mlxintro grade {shell(run.name)} --grader {shell(grader)}")
    if run.errors:
        chatter(f"\n{run.errors} trials failed and are in no rate: mlxintro run --resume {shell(run.name)}")
    if run.remaining and run.state != "done":
        chatter(f"\n{run.remaining} of {run.planned} trials are still to come")
