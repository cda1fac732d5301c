"""``mlxintro compare``."""

from __future__ import annotations

import click

from mlxintro.cli.output import echo, json_line


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN|STUDY...")
@click.option("--grader", default="rules", show_default=True, help="Whose verdicts.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def compare(context: click.Context, runs: tuple[str, ...], grader: str, as_json: bool) -> None:
    """Put runs or a study side by side, with differences from the first and where their protocols differ."""
    from mlxintro.analysis.comparison import model_differences, protocol_differences, side_by_side
    from mlxintro.analysis.run import analysis_of
    from mlxintro.paths import data_home
    from mlxintro.rendering.text import cell_data, table_lines
    from mlxintro.store.store import Store

    with Store(data_home(context.obj).db, read_only=True) as store:
        found = list({one.id: one for run in runs for one in store.studies.runs_of(run)}.values())
        if len(found) < 2:
            raise click.UsageError("name two runs at least, or a study of several: `mlxintro compare first second`")
        analysed = [(run, analysis_of(store, run, grader)) for run in found]
    table = side_by_side(analysed)
    protocol, models = protocol_differences(found), model_differences(found)
    verdicts = {run.name: analysis.verdict.kind if analysis.verdict else None for run, analysis in analysed}
    if as_json:
        rows = [dict(zip(table.columns, map(cell_data, row), strict=True)) for row in table.rows]
        record = {"runs": [run.id for run in found], "verdicts": verdicts, "figures": rows}
        echo(json_line({**record, "protocol_differences": protocol, "model_differences": models}))
        return
    for name, kind in verdicts.items():
        echo(f"{name}: {kind or 'no verdict'}")
    for title, lines in (("the protocols differ", protocol), ("the models differ", models)):
        if lines:
            echo(f"\n{title}:")
            for line in lines:
                echo(f"  {line}")
    echo()
    for line in table_lines(table):
        echo(line)
