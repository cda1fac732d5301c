"""``mlxintro dose``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from mlxintro.backends.errors import UsageError
from mlxintro.cli.options import LAYERS, STRENGTHS, WORDS, load_backend, model_options
from mlxintro.cli.output import chatter, echo, json_line, table

if TYPE_CHECKING:
    from mlxintro.tools.dose import Proposal, Step


@click.command()
@model_options
@click.option("--concepts", type=WORDS, default="ocean,bread,fear", show_default=True, help="Whose vectors to try.")
@click.option("--layers", type=LAYERS, default="even:6", show_default=True, help="As for `mlxintro run`.")
@click.option("--strengths", type=STRENGTHS, help="The ladder, as fractions of the residual norm. Default: 0.125 to 4.")
@click.option("--preset", default="lindsey", show_default=True, help="Whose extraction recipe to use.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--toml", "as_toml", is_flag=True, help="A study of the usable cells, for `mlxintro run FILE`.")
@click.pass_context
def dose(
    context: click.Context,
    /,
    concepts: tuple[str, ...],
    layers: tuple[int | float, ...],
    strengths: tuple[float, ...] | None,
    preset: str,
    as_json: bool,
    as_toml: bool,
    **settings: Any,
) -> None:
    """Find usable strengths per layer: enough to steer, too little to garble.

    Neutral questions are answered with the vector on. KL says how far the next token's distribution moves; repetition
    and coherence what the replies look like. The last line is the flags of `mlxintro run` for the usable cells; with
    --toml they come as a study: `mlxintro dose --toml > dosed.toml`, then `mlxintro run dosed.toml`.
    """
    if as_json and as_toml:
        raise click.UsageError("choose --json or --toml")
    from mlxintro.paths import data_home
    from mlxintro.protocol import presets
    from mlxintro.protocol.concepts import library
    from mlxintro.store.vectors import recorded_content
    from mlxintro.tools.dose import LADDER, find, propose, usable_cells
    from mlxintro.vectors.cache import VectorCache
    from mlxintro.vectors.extraction import extract
    from mlxintro.vectors.settings import recipe_for

    extraction = presets.load(preset).extraction
    words = [concept.word for concept in library().resolve(concepts, allow_unknown=True)]
    with load_backend(**settings) as backend:
        places = list(dict.fromkeys(backend.info.layer(layer) for layer in layers))
        recipes = [recipe_for(extraction, word, backend.info) for word in words]
        home = data_home(context.find_root().obj)
        cache = VectorCache(home.vectors, chatter, recorded_content(home.db))
        vectors = extract(backend, recipes, cache)
        steps = find(backend, vectors, places, ladder=strengths or LADDER)
    proposals = list(propose(steps))
    cells = usable_cells(proposals)
    if as_json:
        record = {"model": backend.info.model, "concepts": words, "unit": "resid", "steps": list(map(asdict, steps))}
        echo(json_line({**record, "layers": list(map(asdict, proposals)), "usable": cells and asdict(cells)}))
        return
    if as_toml:
        if cells is None:
            raise UsageError("no strength on this ladder steers and leaves replies readable: give other --strengths")
        from mlxintro.protocol.study import make_study
        from mlxintro.protocol.study_file import write

        given = {**settings, "model": settings["model"] or backend.info.model}
        echo(write(make_study(**given, preset=preset, unit="resid", **asdict(cells))), nl=False)
        return
    _print_ladder(steps, proposals)
    if cells is not None:
        layers_given, strengths_given = (",".join(f"{one:g}" for one in many) for many in asdict(cells).values())
        echo(f"\nto run them: --layers {layers_given} --strengths {strengths_given} --unit resid")


def _print_ladder(steps: Sequence[Step], proposals: Sequence[Proposal]) -> None:
    """Print what every strength did, and the usable strengths of every layer."""
    rows = [
        [
            *(str(step.layer), f"{step.strength:g}", f"{step.raw:.3g}", f"{step.divergence:.3f}"),
            *(f"{step.repetition:.0%}", f"{step.coherent:.0%}"),
        ]
        for step in steps
    ]
    header = ["layer", "strength (resid)", "raw", "KL (nats)", "repetition", "coherent"]
    echo(table(header, rows, right=range(6)))
    echo()
    for one in proposals:
        usable = ", ".join(f"{strength:g}" for strength in one.usable) or "none on this ladder"
        end = "does not garble on this ladder" if one.garbles_at is None else f"garbles at {one.garbles_at:g}"
        echo(f"layer {one.layer}: usable {usable}; {end}")
