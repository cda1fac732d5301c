"""``mlxintro runs``: what the store holds."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlxintro.backends.errors import UsageError
from mlxintro.cli.output import chatter, echo, json_line, table
from mlxintro.cli.running.show import open_store, show
from mlxintro.rendering.cleaning import visible

if TYPE_CHECKING:
    from mlxintro.store.records import Control, Imported, Run

_FORMATS = ["jsonl", "csv", "parquet", "datasets", "inspect"]
_PORTION, _GAP = 1_000, 0.02
"""Replies that are indexed in one transaction (a tenth of a second), and seconds between two of them."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def runs() -> None:
    """List, show, export, import and delete runs; pause or cancel one.

    RUN is a name, an id, or the start of one.
    """


@runs.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@click.pass_context
def list_(context: click.Context, as_json: bool) -> None:
    """List all runs, the latest last."""
    with open_store(context) as store:
        found = store.runs.all()[::-1]
        if as_json:
            for one in found:
                echo(json_line(asdict(one)))
            return
        if not found:
            chatter(f"no runs in {store.path} yet; `mlxintro demo` makes a first one")
            return
        rows = [
            [
                one.name,
                one.id,
                "damaged" if one.damage else one.state,
                f"{one.done}/{one.planned}",
                str(one.errors),
                _model(one),
                one.created[:16],
            ]
            for one in found
        ]
        echo(table(["name", "id", "state", "trials", "failed", "model", "created (UTC)"], rows, right=(3, 4)))
        for one in found:
            if one.damage:
                chatter(f"{one.name}: {one.damage}: import it anew, or delete it with `mlxintro runs rm {one.id}`")


runs.add_command(show)


@runs.command()
@click.argument("run")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def rm(context: click.Context, run: str, yes: bool) -> int:
    """Delete a run with its trials, grades and labels."""
    with open_store(context, write=True) as store:
        found = store.runs.find(run, damaged=True)
        if not yes and not click.confirm(visible(f"delete {found.name} with {found.done} trials?"), err=True):
            chatter("nothing is deleted")
            return 1
        store.runs.delete(found.id)
    chatter(f"{found.name} is deleted")
    return 0


@runs.command()
@click.argument("run")
@click.argument("name")
@click.pass_context
def rename(context: click.Context, run: str, name: str) -> None:
    """Give a run another NAME."""
    from mlxintro.running.launch import check_name

    with open_store(context, write=True) as store:
        found = store.runs.find(run)
        check_name(store, name)
        store.runs.rename(found.id, name)
    chatter(f"{found.name} is called {name} now")


@runs.command()
@click.argument("run")
@click.argument("text")
@click.pass_context
def note(context: click.Context, run: str, text: str) -> None:
    """Note a line of TEXT with a run; empty text takes the note away."""
    with open_store(context, write=True) as store:
        found = store.runs.find(run)
        store.runs.note(found.id, " ".join(text.split()))
    chatter(f"noted with {found.name}" if text.strip() else f"{found.name} has no note now")


@runs.command()
@click.argument("runs", metavar="RUN|STUDY...", nargs=-1, required=True)
@click.option("--format", "format_", type=click.Choice(_FORMATS), default="jsonl", show_default=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Default: stdout. For datasets a folder, for inspect a .json file.",
)
@click.option(
    "--formulas", is_flag=True, help="In CSV, leave text that a spreadsheet would run (=, +, -, @) as it is, too."
)
@click.pass_context
def export(context: click.Context, runs: tuple[str, ...], format_: str, output: Path | None, formulas: bool) -> None:
    """Write one row per trial of runs or studies, with model, reply, dose, proof, grades and labels.

    docs/reference/columns.md says what each column holds. In CSV, text that a spreadsheet would take for a formula gets
    an apostrophe in front, unless --formulas is given. datasets: a folder that Hugging Face `datasets` loads.
    inspect: one run as a log for `inspect view`.
    """
    from mlxintro.rendering.exporting import write_dataset, write_rows
    from mlxintro.rendering.inspect_log import write_log
    from mlxintro.store.exporting.export import export_rows

    with open_store(context) as store:
        found = list({found.id: found for run in runs for found in store.studies.runs_of(run)}.values())
        target = None if output == Path("-") else output
        rows = export_rows(store, [run.id for run in found])
        if format_ in ("datasets", "inspect"):
            if target is None:
                raise UsageError(f"{format_} is not written to stdout: name a file or a folder with -o")
            if format_ == "inspect" and len(found) > 1:
                raise UsageError("a log of Inspect holds one run: export each run of the study by itself")
            count = write_dataset(rows, target) if format_ == "datasets" else write_log(store, found[0], target)
        else:
            if target is not None and target.is_dir():
                raise UsageError(f"{target} is a folder: name a file with -o")
            count = write_rows(rows, format_, target, defuse=not formulas)
    if target is not None:
        chatter(f"{count} trials of {', '.join(run.name for run in found)} written to {output}")


@runs.command()
@click.pass_context
def index(context: click.Context) -> int:
    """Take the replies of an older or imported store into the index that searches use; new ones are taken in by runs.

    Other programs can use the store meanwhile. Stopping loses nothing; the terminal app starts this by itself.
    """
    import time

    with open_store(context, write=True) as store:
        left = waiting = store.trials.unindexed()
        while left:
            left = store.trials.index_replies(_PORTION)
            # Whoever waits to write comes in between.
            time.sleep(_GAP)
    chatter(f"{waiting} replies are indexed" if waiting else "every reply is indexed")
    return 0


@runs.command("import")
@click.argument("store_file", type=click.Path(path_type=Path, dir_okay=False))
@click.pass_context
def import_(context: click.Context, store_file: Path) -> None:
    """Bring in the runs of another store, e.g. one that comes home from a GPU. Doing it twice changes nothing.

    Every row is checked before anything is written: one that is not as it should be refuses the file. Vector files come
    along if their content is what the other store recorded.
    """
    with open_store(context, write=True) as store:
        _tell_imported(store.import_from(store_file))


def _tell_imported(done: Imported) -> None:
    for problem in done.vector_problems:
        chatter(problem)
    chatter(f"{done.runs} runs, {done.trials} trials, {done.grades} grades and {done.labels} labels are new here")


@runs.command()
@click.argument("target", metavar="FILE.zip", type=click.Path(path_type=Path, dir_okay=False))
@click.pass_context
def pack(context: click.Context, target: Path) -> None:
    """Write the whole store with its vectors as one consistent file, also while runs go on."""
    from mlxintro.store.importing.pack import pack as write

    with open_store(context) as store:
        count, vectors = write(store, target)
    size = target.stat().st_size / 1e6
    chatter(f"{count} runs and {vectors} vector files are in {target} ({size:.1f} MB): mlxintro runs unpack {target}")


@runs.command()
@click.argument("source", metavar="FILE.zip", type=click.Path(path_type=Path, dir_okay=False))
@click.pass_context
def unpack(context: click.Context, source: Path) -> None:
    """Bring in a packed store, as `runs import` does. Nothing in it is trusted; doing it twice changes nothing."""
    from mlxintro.store.importing.pack import unpack as read

    with open_store(context, write=True) as store:
        _tell_imported(read(store, source))


@runs.command()
@click.argument("run")
@click.pass_context
def pause(context: click.Context, run: str) -> None:
    """Let a running run pause after the replies at hand."""
    _control(context, run, "pause", "pauses after the replies at hand; `mlxintro runs resume` lets it go on")


@runs.command()
@click.argument("run")
@click.pass_context
def resume(context: click.Context, run: str) -> None:
    """Let a paused run go on (one whose process is gone: `mlxintro run --resume`)."""
    _control(context, run, "run", "goes on")


@runs.command()
@click.argument("run")
@click.pass_context
def cancel(context: click.Context, run: str) -> None:
    """Stop a run for good; what is finished stays."""
    _control(context, run, "cancel", "stops")


def _control(context: click.Context, run: str, control: Control, what: str) -> None:
    with open_store(context, write=True) as store:
        found = store.runs.find(run)
        store.runs.set_control(found.id, control)
    chatter(f"{found.name} {what}")


def _model(run: Run) -> str:
    return f"{run.model.get('model', '?')} ({run.model.get('backend', '?')})"
