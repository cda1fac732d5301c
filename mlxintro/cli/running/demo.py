"""``mlxintro demo``."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import click

from mlxintro.cli.output import chatter, echo, shorten, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlxintro.analysis.results import Analysis
    from mlxintro.protocol.study import Study
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
    """Ask a plain model and one trained to notice, with the same study, and read what they say.

    Fifty concepts that neither was trained on are injected into SmolLM2-135M while it is asked whether it detects an
    injected thought, beside uninjected trials, random vectors and unrelated questions; first as it is, then with the
    adapter that ships as a positive control. Takes a few minutes, needs no download from a model hub, and is stored
    like any run.
    """
    from mlxintro.analysis.run import analysis_of
    from mlxintro.backends import registry
    from mlxintro.grading.passes import find_grader, grade_run
    from mlxintro.paths import data_home
    from mlxintro.store.store import Store
    from mlxintro.tools.demo import ADAPTERS, demo_study

    chosen = registry.choose(backend)
    # MLX's 4-bit kernels are written for Apple's GPU; on a CPU the same weights in float32 are many times faster.
    dtype = "float32" if chosen == "mlx" and sys.platform != "darwin" else None
    runs: dict[str, Run] = {}
    done = True
    with Store(data_home(context.obj).db) as store:
        for name, adapter in ADAPTERS.items():
            run, finished = _ask(store, demo_study(chosen, dtype, adapter), name)
            grade_run(store, run, find_grader("rules"))
            runs[name] = store.runs.get(run.id)
            done = done and finished
        _report(store, runs, {name: analysis_of(store, run, "rules") for name, run in runs.items()})
    return 0 if done else 1


def _ask(store: Store, study: Study, name: str) -> tuple[Run, bool]:
    """Run the study of one subject; the run, and whether every trial was done."""
    from mlxintro.cli.options import load_backend
    from mlxintro.cli.running.progress import follow, word_progress
    from mlxintro.running import launch

    checked = launch.check(study)
    assert study.backend is not None, "the demo has chosen"
    with load_backend(study.model, study.backend, dtype=study.dtype, adapter=study.adapter) as model:
        planned = launch.plan(checked, model)
        run = launch.begin(store, checked, model, planned, _free_name(store, name))
        chatter(f"run {run.name}: {len(planned)} trials at layer {model.info.layer(0.66)} of {model.info.layers}")
        with word_progress() as progress:
            session = launch.prepare(store, model, planned, progress=progress, notice=chatter)
        try:
            last = follow(launch.execute(store, run, checked, planned, session), show=_as_it_comes)
        except KeyboardInterrupt:
            chatter(f"everything finished is stored; go on with: mlxintro run --resume {run.name}")
            raise
    return run, last is not None and last.state == "done"


def _free_name(store: Store, name: str) -> str:
    taken = {run.name for run in store.runs.all()}
    numbered = (f"demo-{name}-{number}" for number in range(1, len(taken) + 2))
    return next(one for one in numbered if one not in taken)


def _as_it_comes(event: TrialFinished) -> str:
    what = f"{event.concept} x{event.strength:g}" if event.concept else "control"
    return f"  {what:<16} {shorten(event.response, _room(20))}"


def _room(taken: int) -> int:
    """Characters left for a reply on this terminal's lines."""
    return max(30, shutil.get_terminal_size((130, 24)).columns - taken)


def _report(store: Store, runs: Mapping[str, Run], analyses: Mapping[str, Analysis]) -> None:
    from mlxintro.grading.passes import graded_trials
    from mlxintro.rendering.verdict_words import in_words
    from mlxintro.tools.demo import conclusion, quotes

    shown = [
        [name, quote.trial.concept or "(nothing)", in_words(quote.grade), shorten(quote.trial.response, _room(62))]
        for name, run in runs.items()
        for quote in quotes(list(graded_trials(store, run, "rules")))
    ]
    echo("\nWhat they said (concepts chosen beforehand, replies whatever they say):\n")
    echo(table(["model", "injected", "graded as", "reply"], shown))
    echo("\nHow often (95 % intervals), and which rival explanations are left:\n")
    echo(table(["", *runs], [*_rates(analyses), *_rungs(analyses)]))
    _proofs(store, runs)
    echo("\nConclusion:\n")
    for sentence in conclusion(analyses["plain"], analyses["trained"]):
        echo(f"  {sentence}")
    echo("\nGo further:\n")
    for command, what in (
        (f"mlxintro runs show {runs['trained'].name}", "every reply, and the tokens that were injected into"),
        (f"mlxintro stats {runs['trained'].name}", "every figure, and the arms of the rungs not tested"),
        ("mlxintro certify -m smollm2 --adapter smollm2-control", "all arms of the ladder"),
        ("mlxintro models list", "models large enough to be interesting"),
        ("mlxintro run injected-thoughts -m qwen2.5-7b --trials 10", "the same on one of them"),
    ):
        echo(f"  {command:<58} {what}")


def _rates(analyses: Mapping[str, Analysis]) -> list[list[str]]:
    """Head figures, a column per subject."""
    from mlxintro.rendering.text import cell_text

    names = ("detection", "false_alarms", "random_detection", "identification")
    found = []
    for name in names:
        figures = [analysis.figure(name) for analysis in analyses.values()]
        label = next((figure.label for figure in figures if figure is not None), None)
        if label is None:  # an arm that did not run
            continue
        found.append([label, *(cell_text(figure.value) if figure else "" for figure in figures)])
    return found


def _rungs(analyses: Mapping[str, Analysis]) -> list[list[str]]:
    """States of the ladder's rungs that were tested, a column per subject."""
    ladders = [analysis.ladder for analysis in analyses.values()]
    states = [{rung.name: rung.state for rung in ladder} if ladder else {} for ladder in ladders]
    tested = [name for name in states[0] if any(one.get(name) != "not tested" for one in states)]
    return [[f"rung: {name}", *(one.get(name, "") for one in states)] for name in tested]


def _proofs(store: Store, runs: Mapping[str, Run]) -> None:
    from mlxintro.store.records import TrialFilter

    trials = [one for run in runs.values() for one in store.trials.of_run(run.id, TrialFilter(condition="injected"))]
    proofs = [proof for trial in trials for proof in trial.proofs]
    if not proofs:
        return
    touched = sum(proof.positions for proof in proofs)
    moved = [proof.relative_change for proof in proofs]
    echo(
        f"\nProof: {len(proofs)} injections, {touched} token positions touched as planned; the stream moved by "
        f"{min(moved):.0%} to {max(moved):.0%} of its norm."
    )
