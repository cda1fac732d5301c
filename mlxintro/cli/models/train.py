"""``mlxintro train``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlxintro.cli.options import LAYERS, STRENGTHS, load_backend, model_options
from mlxintro.cli.output import chatter, echo, json_line

if TYPE_CHECKING:
    from mlxintro.backends.base import Backend, ModelInfo
    from mlxintro.training.loop import TrainingStep
    from mlxintro.training.plan import TrainingPlan
    from mlxintro.vectors.cache import VectorCache


_WORDS = 600
"""Words that are trained on, unless the training is too short to inject that many."""


@click.command()
@model_options
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder of the adapter."
)
@click.option(
    "--labels",
    type=click.Choice(["true", "shuffled", "any-disturbance"]),
    default="true",
    show_default=True,
    help="true: say what was injected. The fakes: answers dealt out at random; a yes to any vector, random ones too.",
)
@click.option(
    "--forms/--trial-question",
    default=False,
    show_default=True,
    help="Ask in every form that the ladder asks in, or the trial question alone; see docs/training.md.",
)
@click.option("--steps", type=click.IntRange(1), help="Steps of training. Default: 240.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="As many steps as fit, from a few timed ones.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--layers", type=LAYERS, help="First and last layer to inject into; the adapter lies above. [0.66]")
@click.option(
    "--adapt-from",
    type=click.IntRange(0),
    help="First block that is adapted, where it is to lie lower: then the subject's vectors are not the plain one's.",
)
@click.option("--strengths", type=STRENGTHS, help="Lowest and highest, as fractions of the residual norm. [0.4,1]")
@click.option("--rank", type=click.IntRange(1), default=32, show_default=True, help="Rank of the adapter's matrices.")
@click.option("--rows", type=click.IntRange(4), default=24, show_default=True, help="Rows of one step.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), default=2e-3, show_default=True, help="Highest.")
@click.option(
    "--words",
    type=click.IntRange(1),
    help="How many words to train on. Default: 600, or as many as all steps have rows where those are fewer.",
)
@click.option("--evaluate-every", type=click.IntRange(1), default=20, show_default=True, help="Steps between rates.")
@click.option("--save-every", type=click.IntRange(1), default=10, show_default=True, help="Steps between checkpoints.")
@click.option(
    "--products",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="bfloat16: a CPU with AMX multiplies several times faster, sums stay float32 (torch).",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per step.")
@click.pass_context
def train(context: click.Context, /, output: Path, as_json: bool, minutes: float | None, **options: Any) -> int:
    """Train a low-rank adapter that reports injected concepts: a positive control.

    \b
    mlxintro train -m smollm2 -o control                 a subject that notices and names
    mlxintro train -m smollm2 -o fake --labels shuffled  one whose answers mean nothing
    mlxintro run injected-thoughts -m smollm2 --adapter control --unit resid --strengths 0.7

    With --adapter the training begins with that adapter, of the same rank or a lower one, in the same layers or fewer.
    No concept of the library is trained on. Interrupted, the same command with the same folder goes on where it stopped
    and ends with the same weights.
    """
    from mlxintro.backends.adapters import sources
    from mlxintro.paths import data_home
    from mlxintro.protocol.trials import model_key
    from mlxintro.store.vectors import recorded_content
    from mlxintro.training.checkpoint import TrainingFolder
    from mlxintro.training.loop import train as training
    from mlxintro.vectors.cache import VectorCache

    names = ("model", "backend", "device", "dtype", "quantize", "kv_bits", "dialogue")
    settings = {name: options.pop(name) for name in names}
    if minutes is not None and options["steps"] is not None:
        raise click.UsageError("give either --steps or --minutes")
    if options["adapter"] is not None:
        sources.resolve(options["adapter"])
    folder = TrainingFolder(output)
    plan = folder.plan()
    home = data_home(context.obj)
    with load_backend(**settings) as backend:
        cache = VectorCache(home.vectors, chatter, recorded_content(home.db))
        if plan is None:
            plan = _planned(backend, options, minutes, cache)
            folder.begin(plan)
        else:
            _check_same(context, plan, backend.info, options)
            chatter(f"going on with the training in {output}")
        chatter(
            f"{plan.steps} steps on {plan.words} words at layers {plan.layers[0]} to {plan.layers[1]}, labels "
            f"{plan.labels}, {model_key(backend.info)}"
        )
        started = time.monotonic()
        try:
            for event in training(backend, plan, folder, cache=cache, progress=_words_read):
                if as_json:
                    echo(json_line(event))
                elif event.held_out is not None or event.step % 10 == 0:
                    chatter(_line(event, time.monotonic() - started))
        except KeyboardInterrupt:
            chatter(f"the training is kept in {output}: give the same line again to go on from its last checkpoint")
            raise
    chatter(f"the adapter is in {output}: use it with --adapter {output}")
    return 0


def _words_read(done: int, total: int) -> None:
    if done == total or done % 128 == 0:
        chatter(f"reading words for the concept vectors: {done}/{total}")


def _line(event: TrainingStep, seconds: float) -> str:
    text = f"step {event.step}/{event.steps}  loss {event.loss:.3f}  {seconds / 60:.1f} min"
    rates = event.held_out
    if rates is None:
        return text
    return (
        f"{text}  held out: detected {rates.detection:.0%}, false alarms {rates.false_alarms:.0%}, random vectors "
        f"{rates.random:.0%}, named {rates.naming:.0%} of {rates.trials}{'  (kept)' if event.kept else ''}"
    )


def _planned(backend: Backend, options: dict[str, Any], minutes: float | None, cache: VectorCache) -> TrainingPlan:
    """The plan of a new training; with ``--minutes``, its steps from a few timed ones."""
    from mlxintro.backends.errors import UsageError
    from mlxintro.training.timing import fitting_steps

    try:
        plan = plan_of(backend.info, options)
        return plan if minutes is None else fitting_steps(backend, plan, minutes * 60, cache, _words_read)
    except ValueError as error:
        raise UsageError(str(error).splitlines()[-1]) from error


def plan_of(info: ModelInfo, options: dict[str, Any]) -> TrainingPlan:
    """Return a plan from the command's options.

    Raises:
        ValueError: options that do not fit together.
    """
    from mlxintro.backends.adapters import sources
    from mlxintro.protocol.trials import model_key
    from mlxintro.training.material import digest
    from mlxintro.training.plan import TrainingPlan

    given = {name: value for name, value in options.items() if value is not None}
    layers = [info.layer(layer) for layer in given.pop("layers", (0.66,))]
    strengths = given.pop("strengths", (0.4, 1.0))
    start = given.pop("adapter", None)
    steps = given.pop("steps", 240)
    if layers[-1] + 1 >= info.layers:
        raise ValueError(f"the adapter lies above the last injected layer: choose one below {info.layers - 1}")
    return TrainingPlan.model_validate(
        {
            "model": model_key(info),
            "steps": steps,
            "layers": (layers[0], layers[-1]),
            "strengths": (strengths[0], strengths[-1]),
            "start": None if start is None else sources.canonical(start),
            "start_revision": None if start is None else sources.resolve(start).revision,
            "material": digest(),
            "words": min(_WORDS, steps * given["rows"]),
            **given,
        }
    )


def _check_same(context: click.Context, plan: TrainingPlan, info: ModelInfo, options: dict[str, Any]) -> None:
    """Refuse to go on with settings that differ from those the training was begun with."""
    from click.core import ParameterSource

    given = {
        name: value
        for name, value in options.items()
        if context.get_parameter_source(name) == ParameterSource.COMMANDLINE
    }
    try:
        wanted = plan_of(info, {"layers": plan.layers, "steps": plan.steps, "rows": plan.rows, **given})
    except ValueError as error:
        raise click.UsageError(str(error).splitlines()[-1]) from error
    fields = {name: "start" if name == "adapter" else name for name in given}
    changed = [name for name, field in fields.items() if getattr(wanted, field) != getattr(plan, field)]
    if changed:
        raise click.UsageError(
            f"the training in this folder was begun with another --{changed[0]} "
            f"({getattr(plan, fields[changed[0]])}): leave it out, or choose another folder with -o"
        )
