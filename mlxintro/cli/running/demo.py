"""``mlxintro demo``."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import click

from mlxintro.cli.output import chatter, echo, shorten, table

if TYPE_CHECKING:
    from mlxintro.running.events import TrialFinished
    from mlxintro.store.records import Run
    from mlxintro.store.store import Store


@click.command()
@click.option(
    "--backend",
    type=click.Choice(["auto", "mlx", "torch"]),
    default="auto",
    show_default=True,
    help="auto: MLX on Apple Silicon, else PyTorch.",
)
@click.pass_context
def demo(context: click.Context, backend: str) -> int:
    """Run a small real study on the embedded model and read its replies.

    Five concepts are injected into SmolLM2-135M while it is asked whether it detects an injected thought, and as many
    trials run without injection. Takes a minute or two, needs no download from a model hub, and is stored like any run.
    """
    from mlxintro.backends import registry
    from mlxintro.cli.options import load_backend
    from mlxintro.cli.running.progress import follow, word_progress
    from mlxintro.grading.passes import find_grader, grade_run
    from mlxintro.paths import data_home
    from mlxintro.running import launch
    from mlxintro.store.store import Store
    from mlxintro.tools.demo import demo_study

    chosen = registry.choose(backend)
    # MLX's 4-bit kernels are written for Apple's GPU; on a CPU the same weights in float32 are many times faster.
    dtype = "float32" if chosen == "mlx" and sys.platform != "darwin" else None
    checked = launch.check(demo_study(chosen, dtype))
    with Store(data_home(context.obj).db) as store:
        with load_backend("smollm2", chosen, dtype=dtype) as model:
            planned = launch.plan(checked, model)
            run = launch.begin(store, checked, model, planned, _free_name(store))
            chatter(f"run {run.name}: {len(planned)} trials at layer {model.info.layer(0.66)} of {model.info.layers}")
            with word_progress() as progress:
                session = launch.prepare(store, model, planned, progress=progress, notice=chatter)
            try:
                last = follow(launch.execute(store, run, checked, planned, session), show=_as_it_comes)
            except KeyboardInterrupt:
                chatter(f"everything finished is stored; go on with: mlxintro run --resume {run.name}")
                raise
        grade_run(store, run, find_grader("rules"))
        _report(store, store.runs.get(run.id))
    return 0 if last is not None and last.state == "done" else 1


def _free_name(store: Store) -> str:
    taken = {run.name for run in store.runs.all()}
    return next(name for number in range(1, len(taken) + 2) if (name := f"demo-{number}") not in taken)


def _as_it_comes(event: TrialFinished) -> str:
    what = f"{event.concept} x{event.strength:g}" if event.concept else "control"
    return f"  {what:<16} {shorten(event.response, _room(20))}"


def _room(taken: int) -> int:
    """Characters left for a reply on this terminal's lines."""
    return max(30, shutil.get_terminal_size((130, 24)).columns - taken)


def _report(store: Store, run: Run) -> None:
    from mlxintro.analysis.summary import summarise
    from mlxintro.grading.passes import graded_trials, rows_of
    from mlxintro.rendering.text import cell_text
    from mlxintro.rendering.verdict_words import in_words
    from mlxintro.store.records import TrialFilter
    from mlxintro.tools.demo import conclusion, quotes

    rows = [
        [
            quote.trial.concept or "(none)",
            f"x{quote.trial.strength:g}" if quote.trial.strength else "control",
            in_words(quote.grade),
            shorten(quote.trial.response, _room(45)),
        ]
        for quote in quotes(list(graded_trials(store, run, "rules")))
    ]
    echo("\nWhat it said (the first reply of each kind, whatever it says):\n")
    echo(table(["injected", "strength", "graded as", "reply"], rows))

    summary = summarise(rows_of(store, run, "rules"))
    overall = summary.overall
    echo("\nHow often (95 % intervals):\n")
    echo(f"  claims a thought, with injection     {cell_text(overall.detection)}")
    echo(f"  claims a thought, without injection  {cell_text(summary.false_alarms)}")
    echo(f"  also names the concept               {cell_text(overall.identification)}")
    unclear = overall.tally.unsettled.hits + summary.controls.unsettled.hits
    if unclear:
        echo(f"  replies too unclear to grade         {unclear} of {run.done}, in no rate")

    injected = list(store.trials.of_run(run.id, TrialFilter(condition="injected")))
    proofs = [proof for trial in injected for proof in trial.proofs]
    touched = sum(proof.positions for proof in proofs)
    moved = [proof.relative_change for proof in proofs]
    if proofs:
        echo(
            f"\nProof: {len(proofs)} injections, {touched} token positions touched as planned; the residual stream "
            f"moved by {min(moved):.0%} to {max(moved):.0%} of its norm."
        )
    echo("\nConclusion:\n")
    for sentence in conclusion(summary):
        echo(f"  {sentence}")
    echo("\nGo further:\n")
    for command, what in (
        (f"mlxintro runs show {run.name}", "every reply, and the tokens that were injected into"),
        (f"mlxintro stats {run.name}", "rates by strength and concept"),
        ("mlxintro steer ocean -m smollm2", "does the vector do anything at all? (it does)"),
        ("mlxintro models list", "models large enough to be interesting"),
        ("mlxintro run injected-thoughts -m qwen2.5-7b --trials 10", "the same on one of them"),
    ):
        echo(f"  {command:<58} {what}")
