"""``mlxintro report``."""

from __future__ import annotations

from pathlib import Path

import click

from mlxintro.backends.errors import UsageError
from mlxintro.cli.output import chatter


@click.command()
@click.argument("run")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="FILE.html (plots inline, loads nothing) or FILE.md.",
)
@click.option("--grader", default="rules", show_default=True, help="Whose verdicts.")
@click.pass_context
def report(context: click.Context, run: str, output: Path, grader: str) -> None:
    """Write a run as one document: verdict, figures, plots, tables, example replies, and the study."""
    from mlxintro import experiments
    from mlxintro.analysis.counted_rows import analysed_rows, example_rows
    from mlxintro.analysis.run import display_of, frozen_facts, study_of
    from mlxintro.paths import data_home
    from mlxintro.protocol import study_file
    from mlxintro.rendering.methods import methods
    from mlxintro.rendering.report import PER_CLASS, ReportContent, examples_of, html, markdown
    from mlxintro.rendering.whole_file import write_whole
    from mlxintro.store.store import Store

    makers = {".html": html, ".htm": html, ".md": markdown}
    if output.suffix.lower() not in makers:
        raise UsageError(f"{output} is neither .html nor .md: choose one of these endings")
    with Store(data_home(context.obj).db, read_only=True) as store:
        found = store.runs.find(run)
        rows, study = analysed_rows(store, found, grader), study_of(found)
        model = found.model
        facts = (
            ("experiment", found.experiment),
            ("model", f"{model.get('model')} @ {model.get('revision')}"),
            ("backend", f"{model.get('backend')} {model.get('device')}, {model.get('dtype')}"),
            ("quantisation", str(model.get("quantization", "none"))),
            ("trials", f"{found.done} of {found.planned} done, {found.errors} failed, {found.state}"),
            ("preset", str(study.preset)),
            ("grader", grader if experiments.find(found.experiment).graded else "the experiment's own measure"),
            ("mlxintro", str(found.environment.get("packages", {}).get("mlxintro", "?"))),
            ("begun (UTC)", found.created[:16]),
            *frozen_facts(store, found),
        )
        experiment = experiments.find(found.experiment)
        analysis = experiment.analyse(rows, study, experiment.preset_of(study))
        examples = examples_of(example_rows(store, found, grader, rows, PER_CLASS), display_of(found))
        words = methods(store, found, grader)
        made = ReportContent(found.name, facts, analysis, examples, study_file.write(study), words)
    write_whole(output, makers[output.suffix.lower()](made))
    chatter(f"{found.name} written to {output}")
