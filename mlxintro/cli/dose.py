"""``mlxintro dose``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from mlxintro.cli.options import LAYERS, STRENGTHS, WORDS, load_backend, model_options
from mlxintro.cli.output import chatter, json_line, table


@click.command()
@model_options
@click.option("--concepts", type=WORDS, default="ocean,bread,fear", show_default=True, help="Whose vectors to try.")
@click.option("--layers", type=LAYERS, default="even:6", show_default=True, help="As for `mlxintro run`.")
@click.option("--strengths", type=STRENGTHS, help="The ladder, as fractions of the residual norm. Default: 0.125 to 4.")
@click.option("--preset", default="lindsey", show_default=True, help="Whose extraction recipe to use.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def dose(
    context: click.Context,
    /,
    concepts: tuple[str, ...],
    layers: tuple[int | float, ...],
    strengths: tuple[float, ...] | None,
    preset: str,
    as_json: bool,
    **settings: Any,
) -> None:
    """Find usable strengths per layer: enough to steer, too little to garble.

    Neutral questions are answered with the vector on. KL says how far the next token's distribution moves; repetition
    and coherence what the replies look like. The proposal goes into `run --unit resid --strengths`.
    """
    from mlxintro import presets
    from mlxintro.concepts import library
    from mlxintro.dose import LADDER, find, propose
    from mlxintro.paths import data_home
    from mlxintro.vector_cache import VectorCache
    from mlxintro.vectors import extract, recipe_for

    extraction = presets.load(preset).extraction
    words = [concept.word for concept in library().resolve(concepts, allow_unknown=True)]
    with load_backend(**settings) as backend:
        places = list(dict.fromkeys(backend.info.layer(layer) for layer in layers))
        recipes = [recipe_for(extraction, word, backend.info) for word in words]
        vectors = extract(backend, recipes, VectorCache(data_home(context.find_root().obj).vectors, chatter))
        steps = find(backend, vectors, places, ladder=strengths or LADDER)
    proposals = list(propose(steps))
    if as_json:
        click.echo(json_line({"steps": list(map(asdict, steps)), "layers": list(map(asdict, proposals))}))
        return
    rows = [
        [
            *(str(step.layer), f"{step.strength:g}", f"{step.raw:.3g}", f"{step.divergence:.3f}"),
            *(f"{step.repetition:.0%}", f"{step.coherent:.0%}"),
        ]
        for step in steps
    ]
    header = ["layer", "strength (resid)", "raw", "KL (nats)", "repetition", "coherent"]
    click.echo(table(header, rows, right=range(6)))
    click.echo()
    for one in proposals:
        usable = ", ".join(f"{strength:g}" for strength in one.usable) or "none on this ladder"
        end = "does not garble on this ladder" if one.garbles_at is None else f"garbles at {one.garbles_at:g}"
        click.echo(f"layer {one.layer}: usable {usable}; {end}")
