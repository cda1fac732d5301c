"""``mlxintro run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlxintro.cli.options import CONCEPT_FILE, CONTROLS, LAYERS, STRENGTHS, WORDS, model_options, thinking_options
from mlxintro.cli.output import chatter, echo
from mlxintro.cli.running.workers import WORKER_FLAGS, check_workers, worker_options
from mlxintro.cli.vectors.extracted import EXTRACTION, given_extraction, recipe_options

if TYPE_CHECKING:
    from mlxintro.running.study_order import StudyOrder


@click.command()
@click.argument("experiment", required=False)
@model_options
@click.option(
    "--concepts",
    type=WORDS,
    help="Words, set:NAME, category:NAME, vector:NAME; comma-separated. Default: set:blueprint.",
)
@click.option("--any-word", is_flag=True, help="Accept words that are not in the concept library.")
@CONCEPT_FILE
@click.option("--layers", type=LAYERS, help="Indices, ranges (10-20:2), depth fractions (0.66), or even:10.")
@click.option("--strengths", type=STRENGTHS, help="Comma-separated, in the unit of --unit.")
@click.option(
    "--unit",
    type=click.Choice(["raw", "norm", "resid"]),
    help="raw: multiples of the vector; norm: length of what is added; resid: fraction of the residual norm.",
)
@click.option(
    "--transform",
    type=click.Choice(["none", "negate", "random", "shuffle"]),
    help="Inject the vector, its opposite, a random one of the same norm, or its components in random order.",
)
@click.option("--trials", type=click.IntRange(1), help="Per concept, layer and strength.")
@click.option(
    "--controls",
    type=CONTROLS,
    help="standard: uninjected, random vectors, unrelated questions; full: every arm; N: so many uninjected trials.",
)
@click.option(
    "--window",
    type=click.Choice(["all", "prompt", "generation", "question", "before-thinking", "thinking", "answer"]),
    help="Tokens that are injected into. question: from before the trial question through the reply; the last three: "
    "with --thinking on.",
)
@click.option("--temperature", type=click.FloatRange(0, 10))
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True))
@click.option("--max-tokens", type=click.IntRange(1))
@thinking_options
@click.option("--preset", help="Wording and settings of a protocol. Default: the experiment's.")
@click.option(
    "--preset-file", type=click.Path(path_type=Path, dir_okay=False), help="Your own, as TOML; see docs/protocols.md."
)
@recipe_options
@click.option("--set", "set_", multiple=True, metavar="KEY=VALUE", help="An option of the experiment; repeatable.")
@click.option("--seed", type=click.IntRange(0), help="Default: 0.")
@click.option("--name", help="What to call the run, or the study of a file.")
@click.option("--resume", metavar="RUN", help="Go on with a run, after any interruption. Needs nothing else.")
@click.option(
    "--dry-run", is_flag=True, help="Say what would run, the time and memory it takes, and what it could show."
)
@click.option("--explain", is_flag=True, help="Say what the protocol is and how it differs from its source, and stop.")
@click.option(
    "--freeze", is_flag=True, help="Write study, plan and analysis down, with a hash, before the first trial."
)
@click.option(
    "--batch-size", type=click.IntRange(1, 4096), help="Trials that run together. Default: what memory allows."
)
@worker_options
@click.option("--no-grade", is_flag=True, help="Leave grading to `mlxintro grade`.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per event; the last one holds the rates.")
@click.pass_context
def run(context: click.Context, /, experiment: str | None, resume: str | None, **options: Any) -> int:
    """Run an experiment, a study, or go on with a run.

    \b
    mlxintro run injected-thoughts -m smollm2 --strengths 2,4 --trials 5
    mlxintro run study.toml                     every model of a file; again: what is not done yet
    mlxintro run study.toml -m qwen2.5-7b       flags go before the file's settings
    mlxintro run sweep                          studies that ship: quick, sweep, ladder, lindsey, macar
    mlxintro run ./my_experiment.py             an experiment of your own: a file that sets EXPERIMENT
    mlxintro run --resume RUN
    """
    from mlxintro.paths import data_home
    from mlxintro.running.study_order import order_of

    kept = ("name", "dry_run", "no_grade", "as_json", "explain", "batch_size", "freeze", *WORKER_FLAGS)
    flags = {name: options.pop(name) for name in kept}
    check_workers(flags)
    path = data_home(context.obj).db
    given = {name for name, source in _given(context) if source}
    if resume is not None:
        if experiment or given - _BESIDE_RESUME - {"resume"}:
            raise click.UsageError("--resume takes everything from the stored run: leave the other settings out")
        return _resume(path, resume, flags, options["concept_file"])
    if experiment is None:
        raise click.UsageError("say which experiment, e.g. `mlxintro run injected-thoughts`, or --resume RUN")
    if experiment.endswith(".py"):
        from mlxintro.experiments import own_name

        experiment = own_name(Path(experiment))
    chosen = {name: value for name, value in options.items() if name in given}
    changes = given_extraction({name: chosen.pop(name, None) for name in EXTRACTION if name not in _PRESETS})
    order = order_of(path, experiment, {**chosen, **({"extraction": changes} if changes else {})})
    if flags["explain"]:
        from mlxintro.running.preview.explain import explain

        echo("\n\n".join("\n".join(explain(part.checked)) for part in order.parts))
        return 0
    if flags["dry_run"]:
        from mlxintro.cli.running.dry_run import describe_all

        return describe_all(order, flags)
    if order.file is not None:
        from mlxintro.cli.running.study import conduct

        return conduct(path, order, flags)
    return _run_one(path, order, flags)


def _resume(path: Path, name: str, flags: dict[str, Any], concept_files: tuple[Path, ...]) -> int:
    """Go on with a stored run, on the model and the plan it was begun with."""
    from mlxintro.cli.running.executing import go_on_with
    from mlxintro.protocol.words.own_concepts import check_same_concepts, read_concept_files
    from mlxintro.store.store import Store

    with Store(path) as store:
        found = store.runs.find(name)
        if concept_files:
            check_same_concepts(found.name, found.study, read_concept_files(concept_files))
        return go_on_with(store, found, flags)


def _run_one(path: Path, order: StudyOrder, flags: dict[str, Any]) -> int:
    """Run an experiment with the settings of the flags."""
    from mlxintro.cli.running.executing import execute, planned_on
    from mlxintro.running import launch
    from mlxintro.running.preview.preflight import warnings_of
    from mlxintro.store.store import Store

    (part,) = order.parts
    for warning in warnings_of(path, [part.asked]):
        chatter(f"warning: {warning}")
    with Store(path) as store:
        if flags["name"]:
            launch.check_name(store, flags["name"])
        with planned_on(order.told, part.checked, flags["batch_size"]) as (backend, planned):
            begun = launch.begin(store, part.checked, backend, planned, flags["name"], freeze=flags["freeze"])
            return execute(store, begun, part.checked, backend, planned, flags)


_PRESETS = ("preset", "preset_file")
_BESIDE_RESUME = {"as_json", "concept_file", "no_grade", "batch_size", *WORKER_FLAGS}


def _given(context: click.Context) -> list[tuple[str, bool]]:
    from click.core import ParameterSource

    return [(name, context.get_parameter_source(name) == ParameterSource.COMMANDLINE) for name in context.params]
