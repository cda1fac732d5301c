"""``mlxintro runs``: what the store holds."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from mlxintro.cli.output import chatter, json_line, shell, shorten, table, visible
from mlxintro.verdicts import in_words

_PORTION, _GAP = 1_000, 0.02
"""Replies that are indexed in one transaction (a tenth of a second), and seconds between two of them."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def runs() -> None:
    """List, show, export, import and delete runs; pause or cancel one.

    RUN is a name, an id, or the start of one.
    """


def _store(context: click.Context, *, write: bool = False) -> Any:
    from mlxintro.paths import data_home
    from mlxintro.store.store import Store

    return Store(data_home(context.find_root().obj).db, read_only=not write)


@runs.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@click.pass_context
def list_(context: click.Context, as_json: bool) -> None:
    """All runs, the latest last."""
    with _store(context) as store:
        found = store.runs()[::-1]
        if as_json:
            for one in found:
                click.echo(json_line(asdict(one)))
            return
        if not found:
            chatter(f"no runs in {store.path} yet; `mlxintro demo` makes a first one")
            return
        rows = [
            [one.name, one.id, one.state, f"{one.done}/{one.planned}", str(one.errors), _model(one), one.created[:16]]
            for one in found
        ]
        click.echo(table(["name", "id", "state", "trials", "failed", "model", "created (UTC)"], rows, right=(3, 4)))


@runs.command()
@click.argument("run")
@click.argument("trial", required=False)
@click.option("--condition", type=click.Choice(["injected", "control"]), help="Only these trials.")
@click.option("--concept", help="Only trials of this concept.")
@click.option("--contains", metavar="TEXT", help="Only replies that contain this text.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many trials.")
@click.option("--toml", "as_toml", is_flag=True, help="The run's study as TOML; running it gives the same trials.")
@click.option("--json", "as_json", is_flag=True, help="The run as one JSON object, or the trial.")
@click.pass_context
def show(
    context: click.Context,
    run: str,
    trial: str | None,
    condition: str | None,
    concept: str | None,
    contains: str | None,
    limit: int,
    as_toml: bool,
    as_json: bool,
) -> None:
    """A run with its replies, or one TRIAL (the start of its key) with prompt, window, proof and grades."""
    from mlxintro.store.records import TrialFilter

    with _store(context) as store:
        found = store.find_run(run)
        if as_toml:
            from mlxintro.run_analysis import study_of
            from mlxintro.study_file import write

            click.echo(write(study_of(found)), nl=False)
            return
        if trial is not None:
            _show_trial(store, found, store.trial(found.id, trial), as_json)
            return
        if as_json:
            click.echo(json_line(asdict(found)))
            return
        _show_head(store, found)
        where = TrialFilter(condition=condition, concept=concept, text=contains)
        grades = {grade.key: grade for grade in store.latest_grades(found.id, grader="rules")}
        rows = [_row(one, grades.get(one.key)) for one in store.trials(found.id, where, limit=limit)]
        if rows:
            header = ["trial", "concept", "layer", "strength", "grade", "reply"]
            click.echo("\n" + table(header, rows, right=(2, 3)))
        total = store.count_trials(found.id, where)
        if total > len(rows):
            chatter(f"\n{len(rows)} of {total} trials; --limit shows more")
        if rows:
            chatter(f"\none trial in full: mlxintro runs show {shell(found.name)} {rows[0][0]}")


def _show_head(store: Any, run: Any) -> None:
    study, model = run.study, run.model
    click.echo(f"{run.name} ({run.id}): {run.experiment}, {run.state}, {run.done} of {run.planned} trials")
    if run.error:
        click.echo(f"  error      {run.error}")
    click.echo(
        f"  model      {model.get('model')} @ {model.get('revision')}, {model.get('backend')} {model.get('device')}, "
        f"{model.get('dtype')}, quantisation {model.get('quantization')}"
    )
    click.echo(
        f"  settings   preset {study.get('preset')}, window {study.get('window')}, temperature "
        f"{study.get('temperature')}, {study.get('max_tokens')} tokens, seed {study.get('seed')}"
    )
    prompts = store.prompts(run.id)
    example = next(iter(store.trials(run.id, _injected(), limit=1)), None)
    if example is not None and example.spec.prompt in prompts:
        from mlxintro.strips import strip

        click.echo(
            "\nprompt, token by token; marked tokens are injected into (and every token of the reply, if the window"
        )
        click.echo("goes on to the end):\n")
        for line in strip(prompts[example.spec.prompt], example.spec.injections):
            click.echo("  " + line)


def _injected() -> Any:
    from mlxintro.store.records import TrialFilter

    return TrialFilter(condition="injected")


def _row(trial: Any, grade: Any) -> list[str]:
    return [
        trial.key.removeprefix("b2:")[:10],
        trial.concept or "(control)",
        "" if trial.layer is None else str(trial.layer),
        "" if trial.strength is None else f"{trial.strength:g} {trial.unit}",
        in_words(grade) if trial.error is None else "failed",
        shorten(trial.error or trial.response, 90),
    ]


def _show_trial(store: Any, run: Any, trial: Any, as_json: bool) -> None:
    from mlxintro.strips import strip, window_in_words

    spec = trial.spec
    prompt = store.prompt(spec.prompt)
    grades = store.latest_grades(run.id, key=trial.key)
    if as_json:
        record = {
            "trial_key": trial.key,
            "spec": asdict(spec),
            "response": trial.response,
            "error": trial.error,
            "proofs": [asdict(proof) for proof in trial.proofs],
            "doses": [asdict(dose) for dose in trial.doses],
            "grades": [asdict(grade) for grade in grades],
        }
        click.echo(json_line(record))
        return
    click.echo(f"trial {trial.key} of {run.name}: {spec.condition}, seed {spec.seed}, {trial.tokens} tokens")
    for sentence in window_in_words(prompt, spec.injections):
        click.echo(f"  injected   {sentence}")
    for dose in trial.doses:
        click.echo(
            f"  dose       {dose.raw:.3g} x the vector = norm {dose.norm:.3g} = {dose.resid:.1%} of the residual norm "
            f"({dose.resid_norm:.3g})"
        )
    for proof in trial.proofs:
        click.echo(
            f"  proof      {proof.positions} positions touched, {proof.first} to {proof.last}; the residual moved by "
            f"{proof.change:.3g}, {proof.relative_change:.1%} of its norm there"
        )
    click.echo("\nprompt (marked tokens are injected into):\n")
    for line in strip(prompt, spec.injections):
        click.echo("  " + line)
    click.echo("\nreply:\n")
    click.echo(visible(trial.response) if trial.error is None else f"failed: {trial.error}")
    for grade in grades:
        click.echo(f"\n{grade.grader}: {in_words(grade)}; {grade.reason}")


@runs.command()
@click.argument("run")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def rm(context: click.Context, run: str, yes: bool) -> int:
    """Delete a run with its trials, grades and labels."""
    with _store(context, write=True) as store:
        found = store.find_run(run)
        if not yes and not click.confirm(f"delete {found.name} with {found.done} trials?", err=True):
            chatter("nothing is deleted")
            return 1
        store.delete_run(found.id)
    chatter(f"{found.name} is deleted")
    return 0


@runs.command()
@click.argument("run")
@click.option("--format", "format_", type=click.Choice(["jsonl", "csv", "parquet"]), default="jsonl", show_default=True)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True), help="Default: stdout."
)
@click.pass_context
def export(context: click.Context, run: str, format_: str, output: Path | None) -> None:
    """One row per trial, with reply, dose, proof, grades and labels."""
    from mlxintro.exporting import write_rows

    with _store(context) as store:
        found = store.find_run(run)
        target = None if output == Path("-") else output
        count = write_rows(store.export_rows(found.id), format_, target)
    if target is not None:
        chatter(f"{count} trials of {found.name} written to {output}")


@runs.command()
@click.pass_context
def index(context: click.Context) -> int:
    """Take the replies of an older or imported store into the index that searches use; new ones are taken in by runs.

    Other programs can use the store meanwhile. Stopping loses nothing; the terminal app starts this by itself.
    """
    import time

    with _store(context, write=True) as store:
        left = waiting = store.unindexed()
        while left:
            left = store.index_replies(_PORTION)
            # Whoever waits to write comes in between.
            time.sleep(_GAP)
    chatter(f"{waiting} replies are indexed" if waiting else "every reply is indexed")
    return 0


@runs.command("import")
@click.argument("store_file", type=click.Path(path_type=Path, dir_okay=False))
@click.pass_context
def import_(context: click.Context, store_file: Path) -> None:
    """Bring in the runs of another store, e.g. one that comes home from a GPU. Doing it twice changes nothing."""
    with _store(context, write=True) as store:
        done = store.import_from(store_file)
    chatter(f"{done.runs} runs, {done.trials} trials, {done.grades} grades and {done.labels} labels are new here")


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


def _control(context: click.Context, run: str, control: Any, what: str) -> None:
    with _store(context, write=True) as store:
        found = store.find_run(run)
        store.set_control(found.id, control)
    chatter(f"{found.name} {what}")


def _model(run: Any) -> str:
    return f"{run.model.get('model', '?')} ({run.model.get('backend', '?')})"
