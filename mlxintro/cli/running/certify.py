"""``mlxintro certify``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mlxintro.cli.options import CONCEPT_FILE, WORDS, load_backend, model_options, thinking_options
from mlxintro.cli.output import chatter, echo, json_line, shell
from mlxintro.cli.vectors.extracted import PRESET_FILE, named_preset


@click.command()
@model_options
@click.option("--concepts", type=WORDS, help="Default: twelve. They are the units of most tests.")
@CONCEPT_FILE
@click.option("--preset", default="lindsey", show_default=True, help="Wording and settings of a protocol.")
@PRESET_FILE
@click.option("--layer", type=float, help="Index or depth fraction. Default: as `mlxintro dose` finds it.")
@click.option("--strength", type=float, help="Fraction of the residual norm. Default: the highest readable dose.")
@click.option("--repeats", type=click.IntRange(1), help="Trials per concept. Default: 5.")
@click.option("--trials", type=click.IntRange(1), help="Most trials of the whole study, all arms together.")
@click.option("--hours", type=click.FloatRange(0, min_open=True), help="Most hours the run may take on this machine.")
@click.option("--max-tokens", type=click.IntRange(1), help="Of a reply. Default: the preset's.")
@thinking_options
@click.option("--centred", is_flag=True, help="Vectors minus the mean of the other concepts', where all are alike.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--name", help="What to call the run. Default: certify-1, certify-2 ...")
@click.option("--resume", metavar="NAME", help="Go on after any interruption, before the run began or in it.")
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
    mlxintro certify --resume certify-1
    """
    from mlxintro.ladder.certify.draft import CertifyDraft
    from mlxintro.paths import data_home
    from mlxintro.protocol.words.own_concepts import with_concept_files

    home = data_home(context.find_root().obj)
    named = named_preset(context, {**options, "preset_file": options.pop("preset_file")})
    if resume is None:
        options |= named
        options = with_concept_files(options)
        if "own_concepts" in options:
            # The draft of an interrupted command keeps its settings as JSON.
            options["own_concepts"] = options["own_concepts"].model_dump(mode="json")
        return _begin(home, options) if not options["dry_run"] else _describe(options)
    draft = CertifyDraft.read(CertifyDraft.named(home.db, resume))
    if draft is not None and not _is_run(home.db, resume):
        _only_resumed(context)
        return _begin(home, {**draft.settings, "as_json": options["as_json"]}, draft)
    from mlxintro.cli.running.run import run

    _only_resumed(context)
    code: int = context.invoke(run, resume=resume, as_json=options["as_json"])
    return code


def _only_resumed(context: click.Context) -> None:
    """Refuse settings beside ``--resume``, rather than ignore them."""
    from click.core import ParameterSource

    for name in context.params:
        given = context.get_parameter_source(name) == ParameterSource.COMMANDLINE
        if given and name not in ("resume", "as_json"):
            raise click.UsageError("--resume takes everything from what was begun: leave the other settings out")


def _is_run(db: Path, name: str) -> bool:
    """Whether a run of this name has begun, so that its draft is of no use any more."""
    from mlxintro.store.store import Store

    if not db.exists():
        return False
    with Store(db) as store:
        return any(one.name == name for one in store.runs.all())


def _order(options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """What is asked for, and how the model is loaded."""
    from mlxintro.ladder.certify.assembly import CertifyOrder
    from mlxintro.running.subject_names import adapter_name, model_name

    loading = {name: options[name] for name in ("backend", "device", "dtype", "quantize", "kv_bits", "dialogue")}
    loading["adapter"] = adapter_name(options)
    model = model_name({**loading, "model": options["model"]})
    given = {key: value for key, value in loading.items() if value is not None}
    settings = {**given, **{name: options.get(name) for name in ("seed", "max_tokens", "thinking", "thinking_tokens")}}
    if (own := options.get("preset_data")) is not None:
        settings["preset_data"] = own
    if (own := options.get("own_concepts")) is not None:
        settings["own_concepts"] = own
    chosen = ("concepts", "preset", "layer", "strength", "repeats", "trials", "hours", "centred")
    order = CertifyOrder(model, settings, **{key: options[key] for key in chosen})
    return order, loading


def _describe(options: dict[str, Any]) -> int:
    """Say what it costs and what it could exclude; neither dose nor calibration is sought."""
    from mlxintro.cli.running.dry_run import describe
    from mlxintro.ladder.certify import certificate
    from mlxintro.ladder.certify.assembly import outline

    order, loading = _order(options)
    with load_backend(order.model, **loading) as backend:
        checked, planned = outline(backend, order)
        pairs = len(checked.study.concepts) * (checked.study.trials or 1)
        lines = certificate.power_lines(pairs, thinks=checked.study.thinking == "on")
        if options["as_json"]:
            echo(json_line({"could_exclude": lines}))
        else:
            sought = [name for name in ("layer", "strength") if getattr(order, name) is None]
            replies = certificate.sought_replies(sought)
            echo(f"first:     up to {replies} short replies to find a dose, and {9 * pairs} prompts to match impacts")
        describe(checked, planned, backend, options["as_json"])
    if not options["as_json"]:
        echo("\nwhat it could exclude:")
        for line in lines:
            echo(f"  {line}")
    return 0


def _begin(home: Any, options: dict[str, Any], draft: Any = None) -> int:
    """Seek what is to be sought, run, and print the ladder.

    Args:
        draft: what was found before an interruption.
    """
    from mlxintro.cli.running.executing import execute
    from mlxintro.ladder.certify.assembly import assemble
    from mlxintro.ladder.certify.draft import CertifyDraft
    from mlxintro.protocol.trials import model_key
    from mlxintro.running import launch
    from mlxintro.store.store import Store
    from mlxintro.store.vectors import recorded_content
    from mlxintro.vectors.cache import VectorCache

    order, loading = _order(options)
    name = options["name"]
    with Store(home.db) as store:
        name = name or _free_name(home.db, {one.name for one in store.runs.all()})
        launch.check_name(store, name)
        kept = draft or CertifyDraft({**options, "name": name}, CertifyDraft.named(home.db, name))
        if draft is None and CertifyDraft.named(home.db, name).exists():
            raise click.UsageError(
                f"{name} was begun before: go on with --resume {shell(name)}, or choose another name"
            )
        kept.save()
        chatter(f"certify {name}: stop with Ctrl-C, go on with: mlxintro certify --resume {shell(name)}")
        with load_backend(order.model, **loading) as backend:
            if kept.once("model", lambda: model_key(backend.info)) != model_key(backend.info):
                raise click.UsageError(f"{order.model} is not the model that {name} was begun with: begin again")
            cache = VectorCache(home.vectors, chatter, recorded_content(home.db))
            made = assemble(backend, cache, order, chatter, kept)
            started = launch.begin(store, made.checked, backend, made.planned, name, freeze=options["freeze"])
            kept.discard()
            flags = {"no_grade": False, "as_json": options["as_json"]}
            return execute(store, started, made.checked, backend, made.planned, flags)


def _free_name(db: Path, taken: set[str]) -> str:
    """The first of certify-1, certify-2 ... that is neither a run nor begun."""
    from itertools import count

    from mlxintro.ladder.certify.draft import CertifyDraft

    names = (f"certify-{number}" for number in count(1))
    return next(name for name in names if name not in taken and not CertifyDraft.named(db, name).exists())
