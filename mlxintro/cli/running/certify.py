"""``mlxintro certify``."""

from __future__ import annotations

from typing import Any

import click

from mlxintro.cli.options import WORDS, load_backend, model_options
from mlxintro.cli.output import chatter, echo, json_line


@click.command()
@model_options
@click.option("--concepts", type=WORDS, help="Default: twelve. They are the units of most tests.")
@click.option("--preset", default="lindsey", show_default=True, help="Wording and settings of a protocol.")
@click.option("--layer", type=float, help="Index or depth fraction. Default: as `mlxintro dose` finds it.")
@click.option("--strength", type=float, help="Fraction of the residual norm. Default: the highest readable dose.")
@click.option("--repeats", type=click.IntRange(1), help="Trials per concept. Default: 5.")
@click.option("--trials", type=click.IntRange(1), help="Most trials of the whole study, all arms together.")
@click.option("--hours", type=click.FloatRange(0, min_open=True), help="Most hours it may take on this machine.")
@click.option("--max-tokens", type=click.IntRange(1), help="Of a reply. Default: the preset's.")
@click.option("--centred", is_flag=True, help="Vectors minus the mean of the other concepts', where all are alike.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--name", help="What to call the run.")
@click.option("--resume", metavar="RUN", help="Go on with a run, as `mlxintro run --resume` does.")
@click.option(
    "--freeze", is_flag=True, help="Write study, plan and analysis down, with a hash, before the first trial."
)
@click.option("--dry-run", is_flag=True, help="Say what it costs and what it could exclude; nothing is stored.")
@click.option("--json", "as_json", is_flag=True, help="JSON, as `mlxintro run --json` writes it.")
@click.pass_context
def certify(context: click.Context, /, resume: str | None, **options: Any) -> int:
    """Climb the whole ladder of rival explanations with one model, in one resumable run.

    A dose is found that steers and leaves replies readable; unrelated questions are chosen that stand where the
    trial question stands; vectors are matched on their impact. Then every arm runs, and the ladder says which rival
    explanations are excluded, which are not, and which could not be tested.

    \b
    mlxintro certify -m smollm2 --dry-run
    mlxintro certify -m qwen2.5-7b --hours 2
    """
    if resume is not None:
        from mlxintro.cli.running.run import run

        code: int = context.invoke(run, resume=resume, as_json=options["as_json"])
        return code
    from mlxintro.cli.running.run import adapter_name, execute, model_name
    from mlxintro.ladder.assembly import assemble
    from mlxintro.paths import data_home
    from mlxintro.running import launch
    from mlxintro.store.store import Store
    from mlxintro.store.vectors import recorded_content
    from mlxintro.vectors.cache import VectorCache

    home = data_home(context.find_root().obj)
    loading = {name: options[name] for name in ("backend", "device", "dtype", "quantize", "kv_bits")}
    loading["adapter"] = adapter_name(options)
    loading["adapter"] = adapter_name(options)
    name = model_name({**loading, "model": options["model"]})
    if options["name"] is not None and not options["dry_run"]:
        with Store(home.db) as store:
            launch.check_name(store, options["name"])
    with load_backend(name, **loading) as backend:
        wanted = {
            key: options[key] for key in ("concepts", "preset", "layer", "strength", "repeats", "trials", "hours")
        }
        given = {key: value for key, value in loading.items() if value is not None}
        made = assemble(
            backend,
            VectorCache(home.vectors, chatter, recorded_content(home.db)),
            model=name,
            settings={**given, "seed": options["seed"], "max_tokens": options["max_tokens"]},
            centred=options["centred"],
            told=chatter,
            **wanted,
        )
        if options["dry_run"]:
            _describe(made, backend, options["as_json"])
            return 0
        with Store(home.db) as store:
            started = launch.begin(
                store, made.checked, backend, made.planned, options["name"], freeze=options["freeze"]
            )
            flags = {"no_grade": False, "as_json": options["as_json"]}
            return execute(store, started, made.checked, backend, made.planned, flags)


def _describe(made: Any, backend: Any, as_json: bool) -> None:
    from mlxintro.cli.running.dry_run import describe
    from mlxintro.ladder.certificate import power_lines

    pairs = len(made.checked.study.concepts) * made.checked.study.trials
    lines = power_lines(pairs)
    if as_json:
        echo(json_line({"could_exclude": lines, "calibration": made.calibration}))
    describe(made.checked, made.planned, backend, as_json)
    if not as_json:
        echo("\nwhat it could exclude:")
        for line in lines:
            echo(f"  {line}")
