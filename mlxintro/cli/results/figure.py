"""``mlxintro figure``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mlxintro.cli.output import chatter, echo, json_line
from mlxintro.rendering.figures.panels import KINDS


@click.command()
@click.argument("runs", metavar="RUN|STUDY...", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="FILE.pdf, FILE.png or FILE.svg; FILE.csv, FILE.tex and FILE.md are written beside it.",
)
@click.option("--kind", type=click.Choice(list(KINDS)), help="Default: what says most about the runs.")
@click.option(
    "--x", type=click.Choice(["depth", "strength", "size"]), help="Axis of rates. Default: depth, where it varies."
)
@click.option("--figure", "figures", multiple=True, metavar="NAME", help="Only this figure, curve or map; repeatable.")
@click.option("--width", type=click.Choice(["column", "page"]), default="column", show_default=True)
@click.option("--grader", default="rules", show_default=True, help="Whose verdicts.")
@click.option("--json", "as_json", is_flag=True, help="What was written, as one JSON object.")
@click.pass_context
def figure(
    context: click.Context,
    /,
    runs: tuple[str, ...],
    output: Path,
    as_json: bool,
    **options: Any,
) -> None:
    """Draw one or more runs for a paper, with the numbers, a table, a caption and the methods beside the picture.

    \b
    rates      by depth or strength, a line for each strength, layer or run
    overall    each run's head figures over all its trials
    heat-maps  rates by layer and strength
    curves     over layers, such as cosines with the concept vector
    maps       of activation patching
    ladder     rival explanations, excluded or not

    Runs of several models share an axis of depth. Bars are 95 % intervals. Needs matplotlib: the extra `plots`.
    """
    from mlxintro.notebook import figure as make
    from mlxintro.rendering.figures.drawing import check_ending

    check_ending(output)
    made = make(*runs, **options, db=context.obj)
    written = made.save(output)
    if as_json:
        files = [str(path) for path in written]
        echo(json_line({"kind": made.shown.kind, "caption": made.caption, "methods": made.methods, "files": files}))
        return
    echo(made.caption)
    chatter(f"{made.shown.kind} written to {', '.join(path.name for path in written)} in {output.resolve().parent}")
