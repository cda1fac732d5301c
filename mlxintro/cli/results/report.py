"""``mlxintro report``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlxintro.backends.errors import UsageError
from mlxintro.cli.output import chatter

if TYPE_CHECKING:
    from mlxintro.analysis.results import Table
    from mlxintro.rendering.figures.panels import PaperFigure
    from mlxintro.rendering.report import ReportContent
    from mlxintro.store.records import Run
    from mlxintro.store.store import Store


@click.command()
@click.argument("runs", metavar="RUN|STUDY...", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="FILE.html (plots inline, loads nothing) or FILE.md.",
)
@click.option("--grader", default="rules", show_default=True, help="Whose verdicts.")
@click.pass_context
def report(context: click.Context, runs: tuple[str, ...], output: Path, grader: str) -> None:
    """Write a run as one document: verdict, figures, plots, tables, example replies, and the study.

    Of several runs, the document begins with all of them side by side, as `compare` has them.
    """
    from mlxintro.paths import data_home
    from mlxintro.rendering.report import html, markdown, study_html, study_markdown
    from mlxintro.rendering.whole_file import write_whole
    from mlxintro.store.store import Store

    is_page = {".html": True, ".htm": True, ".md": False}.get(output.suffix.lower())
    if is_page is None:
        raise UsageError(f"{output} is neither .html nor .md: choose one of these endings")
    with Store(data_home(context.obj).db, read_only=True) as store:
        found = list({one.id: one for run in runs for one in store.studies.runs_of(run)}.values())
        made = [report_of(store, one, grader) for one in found]
        if len(found) == 1:
            title, text = found[0].name, (html if is_page else markdown)(made[0])
        else:
            title = ", ".join(runs)
            tables, figure = beside_each_other(store, found, made, grader)
            text = (study_html if is_page else study_markdown)(title, tables, figure, made)
    write_whole(output, text)
    chatter(f"{title} written to {output}")


def beside_each_other(
    store: Store, found: Sequence[Run], made: Sequence[ReportContent], grader: str
) -> tuple[list[Table], PaperFigure | None]:
    """Compare runs in tables and, where they have anything to draw, in a figure."""
    from mlxintro.analysis.across.comparison import side_by_side
    from mlxintro.analysis.across.tables import across_tables, compared
    from mlxintro.analysis.counted_rows import analysed_rows
    from mlxintro.rendering.figures.building import drawn_runs, kinds_of, paper_figure

    first = side_by_side([(one, content.analysis) for one, content in zip(found, made, strict=True)])
    rows = [(one, analysed_rows(store, one, grader)) for one in found]
    drawn = drawn_runs(store, found, grader)
    figure = paper_figure(drawn) if kinds_of(drawn) else None
    return [first, *across_tables(compared(rows), by_concept=True)], figure


def report_of(store: Store, found: Run, grader: str) -> ReportContent:
    """Collect what the report of one run says."""
    from mlxintro import experiments
    from mlxintro.analysis.counted_rows import analysed_rows, example_rows
    from mlxintro.analysis.run import analysis_of, display_of, study_of
    from mlxintro.protocol import study_file
    from mlxintro.rendering.methods import methods
    from mlxintro.rendering.report import PER_CLASS, ReportContent, examples_of

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
    )
    analysis = analysis_of(store, found, grader, rows)
    examples = examples_of(example_rows(store, found, grader, rows, PER_CLASS), display_of(found))
    words = methods(store, found, grader)
    return ReportContent(found.name, facts, analysis, examples, study_file.write(study), words)
