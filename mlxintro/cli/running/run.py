"""``mlxintro run``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlxintro.backends.errors import KnownError
from mlxintro.cli.options import CONTROLS, LAYERS, STRENGTHS, WORDS, load_backend, model_options
from mlxintro.cli.output import chatter, echo, shell

if TYPE_CHECKING:
    from mlxintro.backends.base import Backend
    from mlxintro.experiments.base import Plan
    from mlxintro.running.launch import Checked
    from mlxintro.store.records import Run
    from mlxintro.store.store import Store


@click.command()
@click.argument("experiment", required=False)
@model_options
@click.option(
    "--concepts",
    type=WORDS,
    help="Words, set:NAME, category:NAME, vector:NAME; comma-separated. Default: set:blueprint.",
)
@click.option("--any-word", is_flag=True, help="Accept words that are not in the concept library.")
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
    type=click.Choice(["all", "prompt", "generation", "question"]),
    help="Tokens that are injected into. question: from before the trial question through the reply.",
)
@click.option("--temperature", type=click.FloatRange(0, 10))
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True))
@click.option("--max-tokens", type=click.IntRange(1))
@click.option(
    "--thinking",
    type=click.Choice(["off", "on", "empty"]),
    help="Of models that think: off by their template's switch; on; empty puts an empty thought in their mouth.",
)
@click.option(
    "--thinking-tokens",
    type=click.IntRange(1),
    help="--thinking on: most tokens of a thought, then it is closed and the answer follows. Default: 1024.",
)
@click.option("--preset", help="Wording and settings of a protocol. Default: the experiment's.")
@click.option(
    "--preset-file", type=click.Path(path_type=Path, dir_okay=False), help="Your own, as TOML; see docs/protocols.md."
)
@click.option("--set", "set_", multiple=True, metavar="KEY=VALUE", help="An option of the experiment; repeatable.")
@click.option("--seed", type=click.IntRange(0), help="Default: 0.")
@click.option("--name", help="What to call the run.")
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
@click.option("--no-grade", is_flag=True, help="Leave grading to `mlxintro grade`.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per event; the last one holds the rates.")
@click.pass_context
def run(context: click.Context, /, experiment: str | None, resume: str | None, **options: Any) -> int:
    """Run an experiment, a study, or go on with a run.

    \b
    mlxintro run injected-thoughts -m smollm2 --strengths 2,4 --trials 5
    mlxintro run study.toml -m qwen2.5-7b       settings from a file; flags go before it
    mlxintro run sweep                          studies that ship: quick, sweep, lindsey, macar
    mlxintro run --resume RUN
    """
    from mlxintro.paths import data_home

    kept = ("name", "dry_run", "no_grade", "as_json", "explain", "batch_size", "freeze")
    flags = {name: options.pop(name) for name in kept}
    path = data_home(context.obj).db
    given = {name for name, source in _given(context) if source}
    if resume is not None:
        if experiment or given - _BESIDE_RESUME - {"resume"}:
            raise click.UsageError("--resume takes everything from the stored run: leave the other settings out")
        return _resume(path, resume, flags)
    if experiment is None:
        raise click.UsageError("say which experiment, e.g. `mlxintro run injected-thoughts`, or --resume RUN")
    told, chosen = _studies(path, experiment, {name: value for name, value in options.items() if name in given})
    if flags["explain"]:
        from mlxintro.running.explain import explain

        echo("\n\n".join("\n".join(explain(checked)) for checked in chosen))
        return 0
    if flags["dry_run"]:
        return _describe_all(told, chosen, flags)
    return _run_all(path, told, chosen, flags)


Told = Callable[[], AbstractContextManager[None]]
"""Makes a context in which an error about a setting names the line of the study's file."""


def _resume(path: Path, name: str, flags: dict[str, Any]) -> int:
    """Go on with a stored run, on the model and the plan it was begun with."""
    from mlxintro.running import launch
    from mlxintro.store.store import Store

    with Store(path) as store:
        stored = store.runs.find(name)
        if stored.state in ("running", "paused"):
            raise KnownError(f"{stored.name} is being run by process {stored.pid} on {stored.host}: wait for it")
        checked = launch.check_again(stored)
        rows = launch.rows_to_go_on_with(store, stored, flags["batch_size"], chatter)
        with _backend_of(stored.study, rows) as backend:
            launch.take_date(stored, backend)
            launch.check_same_model(stored, backend)
            planned = launch.plan(checked, backend)
            launch.check_same_plan(store, stored, planned)
            return execute(store, stored, checked, backend, planned, flags)


def _describe_all(told: Told, chosen: Sequence[Checked], flags: dict[str, Any]) -> int:
    """Say of every study what would run."""
    from mlxintro.cli.running.dry_run import describe

    for checked in chosen:
        with _planned(told, checked, flags["batch_size"]) as (backend, planned):
            describe(checked, planned, backend, flags["as_json"])
    return 0


def _run_all(path: Path, told: Told, chosen: Sequence[Checked], flags: dict[str, Any]) -> int:
    """Run one study after the other; return the worst exit code."""
    from mlxintro.running import launch
    from mlxintro.store.store import Store

    worst = 0
    with Store(path) as store:
        names = _names(flags["name"], len(chosen))
        for wanted in filter(None, names):
            launch.check_name(store, wanted)
        for checked, name in zip(chosen, names, strict=True):
            with _planned(told, checked, flags["batch_size"]) as (backend, planned):
                started = launch.begin(store, checked, backend, planned, name, freeze=flags["freeze"])
                worst = max(worst, execute(store, started, checked, backend, planned, flags))
    return worst


@contextmanager
def _planned(told: Told, checked: Checked, batch_size: int | None) -> Iterator[tuple[Any, Any]]:
    """Load a study's model and plan the study; the model is closed at the end."""
    from mlxintro.running import launch

    with told():
        backend = _backend_of(checked.study.model_dump(), batch_size)
    with backend:
        with told():
            planned = launch.plan(checked, backend)
        yield backend, planned


def _studies(path: Path, experiment: str, given: dict[str, Any]) -> tuple[Told, list[Checked]]:
    """Checked studies, one per model: a file's or an experiment's settings, and the flags that were given over them.

    With them, what errors about settings are raised in, so that they name the file's line.
    """
    from mlxintro.protocol import presets, study_file
    from mlxintro.protocol.study import make_study
    from mlxintro.running import launch
    from mlxintro.running.subject_names import adapter_name, model_name
    from mlxintro.vectors.library import with_references

    own = given.pop("preset_file", None)
    extra = dict(study_file.setting(text) for text in given.pop("set_", ()))
    if own is not None:
        if "preset" in given:
            raise click.UsageError("give either --preset or --preset-file")
        given |= {"preset": own.stem, "preset_data": presets.read_file(own)}
    found = study_file.read(experiment) if study_file.is_file(experiment) else None
    base: dict[str, Any] = {"experiment": experiment} if found is None else found.settings
    if "preset" in given and own is None:
        base = {name: value for name, value in base.items() if name != "preset_data"}
    settings = {**base, **given, "options": {**base.get("options", {}), **extra}}
    told = nullcontext if found is None else partial(found.told, {*given, *extra})
    subjects = [{"model": given.get("model")}]
    if "model" not in given and found is not None and found.subjects:
        subjects = [asdict(subject) for subject in found.subjects]
    checked = []
    for subject in subjects:
        # What a flag or the whole file says of the adapter holds where a subject names none of its own.
        one = {**settings, **{name: value for name, value in subject.items() if value is not None or name == "model"}}
        with told():
            one |= {"model": model_name(one), "adapter": adapter_name(one)}
            checked.append(launch.check(with_references(make_study(**one), path)))
    return told, checked


def _names(name: str | None, count: int) -> list[str | None]:
    """Several models, several runs: their names are numbered."""
    return [name] * count if name is None or count == 1 else [f"{name}-{number}" for number in range(1, count + 1)]


_PATIENCE = 12 * 3600.0
"""Seconds for which a run waits for a store that another program holds locked."""
_BESIDE_RESUME = {"as_json", "no_grade", "batch_size"}


def _given(context: click.Context) -> list[tuple[str, bool]]:
    from click.core import ParameterSource

    return [(name, context.get_parameter_source(name) == ParameterSource.COMMANDLINE) for name in context.params]


def _backend_of(settings: Any, batch_size: int | None = None) -> Any:
    names = ("model", "backend", "device", "dtype", "quantize", "kv_bits", "adapter")
    return load_backend(**{name: settings.get(name) for name in names}, batch_size=batch_size)


def execute(store: Store, run: Run, checked: Checked, backend: Backend, planned: Plan, flags: dict[str, Any]) -> int:
    """Run what is planned and missing, grade it, and print what it comes to."""
    from mlxintro.cli.running.progress import follow, word_progress
    from mlxintro.cli.running.signals import ending_in_order
    from mlxintro.running import launch
    from mlxintro.running.preparation import PreparationCancelled

    name = shell(run.name)
    chatter(f"run {run.name} ({run.id}): {len(planned)} trials; stop with Ctrl-C, go on with --resume {name}")
    if record := run.environment.get("frozen"):
        chatter(f"frozen as {record['hash']}, analysis {record['analysis']}: {launch.frozen_file(store, run)}")
    try:
        with word_progress() as progress:
            store.database.be_patient(_PATIENCE, chatter)
            session = launch.prepare(store, backend, planned, run=run, progress=progress, notice=chatter)
        events = launch.execute(store, run, checked, planned, session)
        if not flags["no_grade"]:
            from mlxintro.grading.alongside import graded_alongside
            from mlxintro.grading.passes import find_grader

            events = graded_alongside(store, run.id, find_grader("rules"), events)
        with ending_in_order():
            last = follow(events, as_json=flags["as_json"])
    except PreparationCancelled as cancelled:
        chatter(f"{cancelled}; go on with --resume {name}")
        return 0
    except KeyboardInterrupt:
        # The terminal may be gone.
        with suppress(OSError):
            chatter(f"interrupted; everything finished is stored. Go on with: mlxintro run --resume {name}")
        raise
    if last is not None and last.errors:
        chatter(f"{last.errors} trials failed: `mlxintro runs show {name}` lists them, --resume tries them again")
    if not flags["no_grade"]:
        from mlxintro.cli.results.stats import show_stats
        from mlxintro.grading.passes import grade_run

        grade_run(store, run, find_grader("rules"))
        show_stats(store, store.runs.get(run.id), "rules", flags["as_json"])
    if not flags["as_json"]:
        chatter(f"\nread the replies: mlxintro runs show {name}")
    return 0 if last is not None and last.state in ("done", "cancelled") and not last.errors else 1
