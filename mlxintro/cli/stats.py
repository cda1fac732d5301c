"""``mlxintro stats``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from mlxintro.cli.output import chatter, difference, json_line, rate, shell, table


@click.command()
@click.argument("run")
@click.option("--grader", default="rules", show_default=True, help="Whose verdicts.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def stats(context: click.Context, run: str, grader: str, as_json: bool) -> None:
    """Rates of a run with their intervals.

    Detection: a readable reply that says it noticed something. Identification: it also names the concept, not before
    saying so. Net: minus the false-alarm rate of the controls, in points. Intervals are 95 %: Wilson's for rates,
    Newcombe's for differences. Trials a grader could not judge are counted beside the rates, never in them.
    """
    from mlxintro.paths import data_home
    from mlxintro.store.store import Store

    with Store(data_home(context.obj).db, read_only=True) as store:
        show_stats(store, store.find_run(run), grader, as_json)


def show_stats(store: Any, run: Any, grader: str, as_json: bool) -> None:
    """Print the summary of a run."""
    from mlxintro.grading.passes import check_has_graded, summary_of

    check_has_graded(store, run, grader)
    summary = summary_of(store, run, grader)
    if as_json:
        click.echo(json_line({"run": run.id, "name": run.name, "state": run.state, "grader": grader, **_data(summary)}))
        return
    injected, controls = summary.overall.tally, summary.controls
    click.echo(f"{run.name}: {run.model.get('model')} on {run.model.get('backend')}, graded by {grader}")
    click.echo(f"  detection       {rate(summary.overall.detection)}")
    click.echo(f"  false alarms    {rate(summary.false_alarms)}")
    click.echo(f"  identification  {rate(summary.overall.identification)}")
    click.echo(f"  net detection   {difference(summary.overall.net)} points")
    click.echo(
        f"  injected replies: {injected.refused} refused, {injected.incoherent} incoherent, "
        f"{injected.denied_but_named} named the concept while denying, {injected.named_first} named it first"
    )
    if summary.cells:
        rows = [
            [
                str(cell.layer),
                f"{cell.strength:g}",
                str(cell.tally.trials),
                rate(cell.detection),
                rate(cell.identification),
                str(cell.tally.incoherent),
            ]
            for cell in summary.cells
        ]
        header = ["layer", "strength", "trials", "detection", "identification", "incoherent"]
        click.echo("\n" + table(header, rows, right=(0, 1, 2, 5)))
    if len(summary.concepts) > 1:
        rows = [
            [str(one.concept), str(one.tally.trials), rate(one.detection), rate(one.identification)]
            for one in summary.concepts
        ]
        click.echo("\n" + table(["concept", "trials", "detection", "identification"], rows, right=(1,)))
    _remarks(run, grader, injected, controls)


def _remarks(run: Any, grader: str, injected: Any, controls: Any) -> None:
    abstained, unscored = injected.abstained + controls.abstained, injected.unscored + controls.unscored
    if abstained:
        chatter(f"\nthe grader abstained on {abstained} replies; they are in no rate")
    if unscored:
        chatter(f"\n{unscored} replies are not graded: mlxintro grade {shell(run.name)} --grader {shell(grader)}")
    if run.errors:
        chatter(f"\n{run.errors} trials failed and are in no rate: mlxintro run --resume {shell(run.name)}")
    if run.remaining and run.state != "done":
        chatter(f"\n{run.remaining} of {run.planned} trials are still to come")
    if controls.graded < 20 and not controls.unscored:
        chatter(f"\nonly {controls.graded} controls: the false-alarm rate is hardly known; add some with --controls")


def _data(summary: Any) -> dict[str, Any]:
    """The summary as JSON: rates with their values, tallies as counts."""

    def group(one: Any) -> dict[str, Any]:
        return {
            "layer": one.layer,
            "strength": one.strength,
            "concept": one.concept,
            "counts": asdict(one.tally),
            "detection": one.detection.as_dict(),
            "identification": one.identification.as_dict(),
            "net_detection": one.net.as_dict(),
            "net_identification": one.net_identification.as_dict(),
        }

    return {
        "overall": group(summary.overall),
        "controls": asdict(summary.controls),
        "false_alarms": summary.false_alarms.as_dict(),
        "cells": [group(cell) for cell in summary.cells],
        "concepts": [group(concept) for concept in summary.concepts],
    }
