"""``mlxintro compare``."""

from __future__ import annotations

import click

from mlxintro.cli.options import STRENGTHS
from mlxintro.cli.output import echo, json_line, terminal_width


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN|STUDY...")
@click.option("--grader", default="rules", show_default=True, help="Whose verdicts.")
@click.option("--sizes", type=STRENGTHS, help="Parameters in billions, run by run. Default: as counted at loading.")
@click.option("--by-concept", is_flag=True, help="With the trend over size of every concept.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def compare(
    context: click.Context,
    runs: tuple[str, ...],
    grader: str,
    sizes: tuple[float, ...] | None,
    by_concept: bool,
    as_json: bool,
) -> None:
    """Put runs or a study side by side, with differences from the first and where their protocols differ.

    Then concept by concept, which is the test for a pair such as base and instruct, or plain and with an adapter; by
    depth, where runs have several layers; and the trend over size, where there are three sizes or more.
    """
    from mlxintro.analysis.across.comparison import model_differences, protocol_differences, side_by_side
    from mlxintro.analysis.across.sizes import why_no_trend
    from mlxintro.analysis.across.tables import across_tables, compared
    from mlxintro.analysis.counted_rows import analysed_rows
    from mlxintro.analysis.run import analysis_of
    from mlxintro.paths import data_home
    from mlxintro.rendering.text import cell_data, table_data, table_lines
    from mlxintro.store.store import Store

    with Store(data_home(context.obj).db, read_only=True) as store:
        found = list({one.id: one for run in runs for one in store.studies.runs_of(run)}.values())
        if len(found) < 2:
            raise click.UsageError("name two runs at least, or a study of several: `mlxintro compare first second`")
        read = [(run, analysed_rows(store, run, grader)) for run in found]
        analysed = [(run, analysis_of(store, run, grader, own)) for run, own in read]
    table = side_by_side(analysed)
    sized = compared(read, sizes or ())
    across, missing = across_tables(sized, by_concept=by_concept), why_no_trend(sized, asked=by_concept or bool(sizes))
    protocol, models = protocol_differences(found), model_differences(found)
    verdicts = {run.name: analysis.verdict.kind if analysis.verdict else None for run, analysis in analysed}
    if as_json:
        rows = [dict(zip(table.columns, map(cell_data, row), strict=True)) for row in table.rows]
        record: dict[str, object] = {"runs": [run.id for run in found], "verdicts": verdicts, "figures": rows}
        record |= {"across": [table_data(one) for one in across], "no_trend": missing}
        echo(json_line({**record, "protocol_differences": protocol, "model_differences": models}))
        return
    for name, kind in verdicts.items():
        echo(f"{name}: {kind or 'no verdict'}")
    for title, lines in (("the protocols differ", protocol), ("the models differ", models)):
        if lines:
            echo(f"\n{title}:")
            for line in lines:
                echo(f"  {line}")
    for one in (table, *across):
        echo()
        for line in table_lines(one, terminal_width()):
            echo(line)
    if missing:
        echo(f"\n{missing}")
