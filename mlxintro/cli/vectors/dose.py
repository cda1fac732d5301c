"""``mlxintro dose``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from mlxintro.backends.errors import UsageError
from mlxintro.cli.options import LAYERS, STRENGTHS, WORDS, model_options
from mlxintro.cli.output import echo, json_line, table
from mlxintro.cli.vectors.extracted import EXTRACTION, ExtractedVectors, extraction_options

if TYPE_CHECKING:
    from mlxintro.tools.dose import Proposal, Step


@click.command()
@click.argument("words", nargs=-1, metavar="[CONCEPT]...")
@model_options
@click.option("--concepts", type=WORDS, help="The same as arguments, comma-separated. Default: ocean,bread,fear.")
@click.option("--layers", type=LAYERS, default="even:6", show_default=True, help="As for `mlxintro run`.")
@click.option("--strengths", type=STRENGTHS, help="The ladder, as fractions of the residual norm. Default: 0.125 to 4.")
@extraction_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--toml", "as_toml", is_flag=True, help="A study of the usable cells, for `mlxintro run FILE`.")
@click.pass_context
def dose(
    context: click.Context,
    /,
    words: tuple[str, ...],
    concepts: tuple[str, ...] | None,
    layers: tuple[int | float, ...],
    strengths: tuple[float, ...] | None,
    as_json: bool,
    as_toml: bool,
    **settings: Any,
) -> None:
    """Find usable strengths per layer: enough to steer, too little to garble.

    CONCEPTS are words, set:NAME, category:NAME, or vector:NAME for an imported one. Neutral questions are answered with
    the vector on. KL says how far the next token's distribution moves; repetition and coherence what the replies look
    like. The last line is the flags of `mlxintro run` for the usable cells; with --toml they come as a study:
    `mlxintro dose --toml > dosed.toml`, then `mlxintro run dosed.toml`.
    """
    if as_json and as_toml:
        raise click.UsageError("choose --json or --toml")
    from mlxintro.tools.dose import LADDER, find, propose, usable_cells

    names = (*words, *(concepts or ())) or ("ocean", "bread", "fear")
    loading = {name: value for name, value in settings.items() if name not in (*EXTRACTION, "concept_file")}
    extracted = ExtractedVectors(context, names, True, settings, layers)
    with extracted as (backend, vectors, found):
        places = list(dict.fromkeys(backend.info.layer(layer) for layer in layers))
        steps = find(backend, vectors, places, ladder=strengths or LADDER)
    told = [concept.word for concept in found]
    proposals = list(propose(steps))
    cells = usable_cells(proposals)
    if as_json:
        record = {"model": backend.info.model, "concepts": told, "unit": "resid", "steps": list(map(asdict, steps))}
        echo(json_line({**record, "layers": list(map(asdict, proposals)), "usable": cells and asdict(cells)}))
        return
    if as_toml:
        if cells is None:
            raise UsageError("no strength on this ladder steers and leaves replies readable: give other --strengths")
        from mlxintro.protocol.study import make_study
        from mlxintro.protocol.study_file import write

        given: dict[str, Any] = {**loading, "model": loading["model"] or backend.info.model, **extracted.preset}
        if extracted.changes:
            given["extraction"] = extracted.changes
        if words or concepts:
            given |= {"concepts": names, "any_word": True}
        if extracted.own is not None:
            given["own_concepts"] = extracted.own
        echo(write(make_study(**given, unit="resid", **asdict(cells))), nl=False)
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
