"""``mlxintro runs show``: a run with its trials, or one trial in full."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from mlxintro.cli.output import chatter, echo, json_line, shell, shorten, table
from mlxintro.rendering.verdict_words import in_words

if TYPE_CHECKING:
    from mlxintro.store.records import Run, Trial, TrialFilter
    from mlxintro.store.store import Store


def open_store(context: click.Context, *, write: bool = False) -> Store:
    """Return the store that the command line speaks of."""
    from mlxintro.paths import data_home
    from mlxintro.store.store import Store

    return Store(data_home(context.find_root().obj).db, read_only=not write)


@click.command()
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
    """Show a run with its replies, or one TRIAL (the start of its key) with prompt, window, proof and grades."""
    from mlxintro.store.records import TrialFilter

    with open_store(context) as store:
        found = store.runs.find(run)
        if as_toml:
            from mlxintro.analysis.run import study_of
            from mlxintro.protocol.study_file import write

            echo(write(study_of(found)), nl=False)
            return
        if trial is not None:
            _show_trial(store, found, store.trials.find(found.id, trial), as_json)
            return
        if as_json:
            echo(json_line(asdict(found)))
            return
        _show_head(store, found)
        where = TrialFilter(condition=condition, concept=concept, text=contains)
        rows = _rows(store, found, store.trials.of_run(found.id, where, limit=limit))
        if rows:
            header = ["trial", "concept", "arm", "layer", "strength", "grade", "reply"]
            echo("\n" + table(header, rows, right=(3, 4)))
        total = store.trials.count(found.id, where)
        if total > len(rows):
            chatter(f"\n{len(rows)} of {total} trials; --limit shows more")
        if rows:
            chatter(f"\none trial in full: mlxintro runs show {shell(found.name)} {rows[0][0]}")


def _show_head(store: Store, run: Run) -> None:
    study, model = run.study, run.model
    echo(f"{run.name} ({run.id}): {run.experiment}, {run.state}, {run.done} of {run.planned} trials")
    if run.error:
        echo(f"  error      {run.error}")
    echo(
        f"  model      {model.get('model')} @ {model.get('revision')}, {model.get('backend')} {model.get('device')}, "
        f"{model.get('dtype')}, quantisation {model.get('quantization')}"
    )
    echo(
        f"  settings   preset {study.get('preset')}, window {study.get('window')}, temperature "
        f"{study.get('temperature')}, {study.get('max_tokens')} tokens, seed {study.get('seed')}"
    )
    if study.get("thinking"):
        limit = f", {study.get('thinking_tokens')} tokens at most" if study.get("thinking") == "on" else ""
        echo(f"  thinking   {study['thinking']}{limit}")
    if date := run.environment.get("prompt_date"):
        echo(f"  date       {date}, which the chat template writes into every prompt; resuming writes it again")
    prompts = store.prompts.of_run(run.id)
    example = next(iter(store.trials.of_run(run.id, _injected(), limit=1)), None)
    if example is not None and example.spec.prompt in prompts:
        from mlxintro.rendering.token_strip import strip

        echo("\nprompt, token by token; marked tokens are injected into (and every token of the reply, if the window")
        echo("goes on to the end):\n")
        for line in strip(prompts[example.spec.prompt], example.spec.injections):
            echo("  " + line)


def _injected() -> TrialFilter:
    from mlxintro.store.records import TrialFilter

    return TrialFilter(condition="injected")


def _rows(store: Store, run: Run, trials: Iterable[Trial]) -> list[list[str]]:
    """One line per trial.

    Verdicts are shown of replies that are graded: neither of measurements, nor where the experiment scores replies
    itself.
    """
    from mlxintro import experiments

    graded = experiments.find(run.experiment).graded
    shown = list(trials)
    keys = [trial.key for trial in shown]
    grades = {grade.key: grade for grade in store.grades.latest(run.id, grader="rules", keys=keys)} if graded else {}
    rows = []
    for trial in shown:
        spoken = trial.spec.readout == "text"
        grade = "failed" if trial.error is not None else in_words(grades.get(trial.key)) if graded and spoken else ""
        reply = trial.error or (trial.response if spoken else _measured(trial.spec.readout, trial.measurements))
        rows.append(
            [
                trial.key.removeprefix("b2:")[:10],
                trial.concept or "",
                trial.arm or ("" if trial.condition == "injected" else "control"),
                "" if trial.layer is None else str(trial.layer),
                "" if trial.strength is None else f"{trial.strength:g} {trial.unit}",
                grade,
                shorten(reply, 90),
            ]
        )
    return rows


def _measured(readout: str, measurements: Mapping[str, Any]) -> str:
    """What was read where nothing was said."""
    scores = measurements.get("logprobs")
    if not scores:
        return f"[{readout}: {', '.join(measurements)}]"
    likeliest = sorted(scores, key=scores.__getitem__, reverse=True)[:3]
    return "[" + ", ".join(f"{text!r} {math.exp(scores[text]):.2g}" for text in likeliest) + "]"


def _show_trial(store: Store, run: Run, trial: Trial, as_json: bool) -> None:
    from mlxintro.mechanism.stored import patches_in_words
    from mlxintro.rendering.token_strip import strip, window_in_words
    from mlxintro.replies.thoughts import thought_of
    from mlxintro.thinking.grades import thought_verdict

    spec = trial.spec
    prompt = store.prompts.get(spec.prompt)
    grades = store.grades.latest(run.id, key=trial.key)
    if as_json:
        record = {
            "trial_key": trial.key,
            "spec": asdict(spec),
            "response": trial.response,
            "measurements": trial.measurements,
            "error": trial.error,
            "proofs": [asdict(proof) for proof in trial.proofs],
            "doses": [asdict(dose) for dose in trial.doses],
            "grades": [asdict(grade) for grade in grades],
        }
        echo(json_line(record))
        return
    arm = f", {spec.arm}" if spec.arm else ""
    echo(f"trial {trial.key} of {run.name}: {spec.condition}{arm}, seed {spec.seed}, {trial.tokens} tokens")
    for sentence in window_in_words(prompt, spec.injections):
        echo(f"  injected   {sentence}")
    for dose in trial.doses:
        echo(
            f"  dose       {dose.raw:.3g} x the vector = norm {dose.norm:.3g} = {dose.resid:.1%} of the residual norm "
            f"({dose.resid_norm:.3g})"
        )
    for proof in trial.proofs:
        echo(
            f"  proof      {proof.positions} positions touched, {proof.first} to {proof.last}; the residual moved by "
            f"{proof.change:.3g}, {proof.relative_change:.1%} of its norm there"
        )
    for sentence in patches_in_words(trial.measurements):
        echo(f"  patched    {sentence}")
    echo("\nprompt (marked tokens are injected into):\n")
    for line in strip(prompt, spec.injections):
        echo("  " + line)
    if trial.error is not None:
        echo(f"\nfailed: {trial.error}")
    if thought := thought_of(trial.measurements):
        echo(f"\nthought ({thought.in_words}):\n\n{thought.text}")
    if trial.error is None and spec.readout == "text":
        echo(f"\n{'answer' if thought else 'reply'}:\n\n{trial.response}")
    if scores := trial.measurements.get("logprobs"):
        echo("\nprobability of each continuation:\n")
        for text in sorted(scores, key=scores.__getitem__, reverse=True):
            echo(f"  {math.exp(scores[text]):<10.4g} {text!r}")
    for grade in grades:
        echo(f"\n{grade.grader}: {in_words(grade)}; {grade.reason}")
        if (noticed := thought_verdict(grade)) is not None:
            echo(f"  in the thought: {in_words(noticed)}; {noticed.reason}")
