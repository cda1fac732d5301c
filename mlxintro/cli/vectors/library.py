"""``mlxintro vectors``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlxintro.cli.options import CONCEPT_FILE, LAYERS, WORDS, model_options
from mlxintro.cli.output import chatter, echo, json_line, table

if TYPE_CHECKING:
    from mlxintro.store.records import VectorRecord
    from mlxintro.vectors.alignment import Alignment, AlignmentPlan, ModelReading
    from mlxintro.vectors.library import VectorLibrary

_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object per vector.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def vectors() -> None:
    """List, show, export and import concept vectors, and carry them over to another model."""


@contextmanager
def _library(context: click.Context, *, create: bool = False) -> Iterator[VectorLibrary]:
    """The vectors of the store that is meant."""
    from mlxintro.paths import data_home
    from mlxintro.store.store import Store
    from mlxintro.vectors.library import VectorLibrary

    home = data_home(context.find_root().obj)
    with Store(home.db, create=create or not home.db.exists()) as store:
        yield VectorLibrary(store, chatter)


@vectors.command("list")
@_JSON
@click.pass_context
def list_(context: click.Context, /, as_json: bool) -> None:
    """List vectors: those that were extracted here, and those that were brought in."""
    with _library(context) as library:
        records = library.all()
    if as_json:
        for record in records:
            echo(json_line(_facts(record)))
        return
    rows = [
        [record.hash[:11], facts["name"], facts["concept"], facts["method"], facts["model"], record.created[:16]]
        for record, facts in zip(records, map(_facts, records), strict=True)
    ]
    echo(table(["hash", "name", "concept", "recipe", "model", "made"], rows))
    if not rows:
        chatter("there are none: `mlxintro extract ocean`, or `mlxintro vectors import FILE`")


@vectors.command()
@click.argument("vector")
@_JSON
@click.pass_context
def show(context: click.Context, /, vector: str, as_json: bool) -> None:
    """Show where a vector comes from, and its norm by layer.

    VECTOR is an imported vector's name, a concept's word, or the beginning of a hash. How long an imported vector is
    beside a model's stream: `mlxintro extract vector:NAME -m MODEL`.
    """
    import numpy as np

    from mlxintro.cli.vectors.extracted import share_of

    with _library(context) as library:
        record = library.find(vector)
        loaded = library.load(record)
    norms = np.linalg.norm(loaded.directions.direction.astype(np.float64), axis=1)
    if as_json:
        plain = {**_facts(record), "norms": dict(zip(map(str, loaded.directions.layers), norms.tolist(), strict=True))}
        if loaded.resid_norms is not None:
            streams = zip(map(str, loaded.directions.layers), map(float, loaded.resid_norms), strict=True)
            plain["resid_norms"] = dict(streams)
        echo(json_line({**plain, "made": dict(loaded.made)}))
        return
    shown = _facts(record)
    for name, value in shown.items():
        if name not in ("recipe", "facts") and value not in ("", [], None):
            echo(f"{name:<10} {value}")
    for name, value in {**record.recipe.get("facts", {}), **loaded.made}.items():
        if shown.get(name) != value:
            echo(f"  {name}: {value}")
    rows = [
        [str(layer), f"{norm:.4g}", *([] if loaded.resid_norms is None else [share_of(norm / loaded.resid_norms[at])])]
        for at, (layer, norm) in enumerate(zip(loaded.directions.layers, norms, strict=True))
    ]
    header = ["layer", "norm", *([] if loaded.resid_norms is None else ["of the stream"])]
    echo(table(header, rows, right=range(len(header))))


@vectors.command()
@click.argument("vector")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to write."
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["safetensors", "gguf", "npz"]),
    help="gguf: a control vector for llama.cpp and repeng. Default: the file's ending.",
)
@click.pass_context
def export(context: click.Context, /, vector: str, output: Path, file_format: str | None) -> None:
    """Write a vector for another program, or for a colleague.

    safetensors holds directions, norms of the stream and the recipe; npz the same; gguf the directions of layer 1 and
    later, since llama.cpp has none for layer 0.
    """
    from mlxintro.protocol.layers import in_sentence
    from mlxintro.rendering.whole_file import whole_file
    from mlxintro.vectors.formats.writer import SUFFIXES, export

    chosen = file_format or SUFFIXES.get(output.suffix)
    if chosen is None:
        raise click.UsageError(
            f"{output} does not say which format: give --format, or an ending of {', '.join(SUFFIXES)}"
        )
    with _library(context) as library:
        loaded = library.load(library.find(vector))
    with whole_file(output) as place:
        layers = export(loaded, place, chosen)
    chatter(f"wrote {loaded.word} as {chosen}: {in_sentence(layers)}, width {loaded.directions.width}")
    if left := [layer for layer in loaded.directions.layers if layer not in layers]:
        chatter(f"left out: layer {left[0]}, which the format has no place for")


@vectors.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", help="What to call it; studies say vector:NAME. Default: the file's name.")
@click.option("--concept", help="The concept that is right to name. Default: what the file says, else the name.")
@click.option("--layer", type=click.IntRange(0), help="For a file that does not say which layer it is of.")
@click.option("--index", type=click.IntRange(0), help="FILE is a sparse autoencoder: take this feature's decoder row.")
@click.option("--replace", is_flag=True, help="Take the name from another vector.")
@model_options
@_JSON
@click.pass_context
def import_(
    context: click.Context,
    /,
    file: Path,
    name: str | None,
    concept: str | None,
    layer: int | None,
    index: int | None,
    replace: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Bring a vector in from a file, as a concept that any study can inject.

    \b
    .safetensors   ours, or arrays named direction.LAYER
    .gguf          a control vector of llama.cpp or repeng
    .npz           arrays named direction.LAYER, or direction (layers, width)
    --index N      a feature of a sparse autoencoder in the layout of sae-lens: its folder, or its weights

    With -m the vector is held against a model: whether it fits, and its norm beside the stream's. Nothing in the file
    is trusted: it is read without unpickling and checked before it is kept.
    """
    from mlxintro.protocol.layers import in_sentence
    from mlxintro.vectors.formats.reader import read_vector_file
    from mlxintro.vectors.library import Bringing

    brought = Bringing.of(read_vector_file(file, layer=layer, index=index), file, name, concept)
    checked = _against_model(brought, settings) if settings.get("model") else None
    with _library(context, create=True) as library:
        library.bring_in([brought], replace=replace)
        record = library.named()[brought.name]
    if as_json:
        echo(json_line(_facts(record)))
    else:
        echo(
            f"{brought.name}: {brought.format}, concept {brought.word}, {in_sentence(brought.directions.layers)} at "
            f"{brought.directions.site}, width {brought.directions.width}"
        )
        if checked is not None:
            echo(checked)
    chatter(f"use it: mlxintro run injected-thoughts --concepts 'vector:{brought.name}', or mlxintro steer")


def _against_model(brought: Any, settings: dict[str, Any]) -> str:
    """The vector's norm by layer beside a model's stream."""
    from mlxintro.cli.options import load_backend
    from mlxintro.cli.vectors.extracted import norms_table
    from mlxintro.vectors.notebook import for_model

    with load_backend(**settings) as backend:
        vector = for_model(backend, brought.directions, brought.word)
        return norms_table([vector], brought.directions.layers)


@vectors.command()
@click.argument("source")
@model_options
@click.option("--source-adapter", help="Low-rank adapter of SOURCE; --adapter is that of the model of -m.")
@click.option("--name", required=True, help="What to call the alignment; `run transfer --set alignment=NAME` uses it.")
@click.option("--concepts", type=WORDS, default="set:blueprint", show_default=True, help="Whose vectors to carry over.")
@CONCEPT_FILE
@click.option("--learn", type=WORDS, help="Words to learn the map on, as for --concepts. Default: all that ship.")
@click.option("--layers", type=LAYERS, default="0.66", show_default=True, help="Of the target model.")
@click.option(
    "--match",
    type=click.Choice(["depth", "best"]),
    default="depth",
    show_default=True,
    help="Layer of the source: of the same depth, or whose map carries held-out words best.",
)
@click.option("--prompts", type=click.IntRange(1, 9), default=4, show_default=True, help="Prompts a word is read with.")
@click.option("--preset", default="lindsey", show_default=True, help="Whose extraction recipe to use.")
@click.option("--replace", is_flag=True, help="Take the name from another alignment.")
@_JSON
@click.pass_context
def align(
    context: click.Context,
    /,
    source: str,
    source_adapter: str | None,
    name: str,
    concepts: tuple[str, ...],
    concept_file: tuple[Path, ...],
    learn: tuple[str, ...] | None,
    layers: tuple[int | float, ...],
    match: Any,
    prompts: int,
    preset: str,
    replace: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Carry concept vectors from model SOURCE over to the model of -m.

    A linear map between the two is learned on other words (orthogonal Procrustes or ridge, whichever carries held-out
    words better). The carried vectors can be injected like any imported ones, `--concepts vector:NAME/ocean`, and
    `mlxintro run transfer --set alignment=NAME` tests them beside the model's own, a permuted map and random ones.
    """
    from mlxintro.protocol import presets
    from mlxintro.protocol.words.own_concepts import library_with, read_concept_files
    from mlxintro.vectors.alignment import AlignmentPlan, fit
    from mlxintro.vectors.library import outcomes

    known = library_with(read_concept_files(concept_file))
    words = [one.word for one in known.resolve(concepts, allow_unknown=True)]
    learning = learn and [one.word for one in known.resolve(learn, allow_unknown=True)]
    plan = AlignmentPlan.of(
        words, presets.load(preset).extraction, learning=learning, layers=layers, matching=match, prompts=prompts
    )
    first = _read_model(context, plan, {**settings, "model": source, "adapter": source_adapter})
    second = _read_model(context, plan, settings)
    found = fit(first, second, plan)
    with _library(context, create=True) as library:
        library.bring_in(outcomes(found, name), replace=replace)
    if as_json:
        echo(json_line({"name": name, **found.figures()}))
        return
    _print_alignment(found)
    chatter(f"test it: mlxintro run transfer -m {settings['model'] or '...'} --set alignment={name}")


def _read_model(context: click.Context, plan: AlignmentPlan, settings: dict[str, Any]) -> ModelReading:
    """One model's part of an alignment; the model is closed before the next is loaded."""
    from mlxintro.cli.options import load_backend
    from mlxintro.cli.running.progress import word_progress
    from mlxintro.paths import data_home
    from mlxintro.store.vectors import recorded_content
    from mlxintro.vectors.alignment import read_model
    from mlxintro.vectors.cache import VectorCache

    home = data_home(context.find_root().obj)
    with load_backend(**settings) as backend, word_progress() as progress:
        return read_model(
            backend, plan, VectorCache(home.vectors, chatter, recorded_content(home.db)), progress=progress
        )


def _print_alignment(found: Alignment) -> None:
    rows = []
    for one in found.maps:
        cosines = [found.cosines(kind, one.target) for kind in ("carried", "permuted", "unmapped")]
        shown = [
            f"{c.value:.2f}" + ("" if c.low is None else f" ({c.low:.2f} to {c.high:.2f})") if c.count else ""
            for c in cosines
        ]
        rows.append([str(one.target), str(one.source), one.kind, f"{one.held_out.value:.2f}", *shown])
    echo(f"{found.source} to {found.target}, learned on {found.learned_on} other words")
    echo("cosine with the model's own vectors, mean and 95 % interval over concepts:")
    echo(table(["layer", "from", "map", "held-out", "carried", "permuted map", "without a map"], rows))


def _facts(record: VectorRecord) -> dict[str, Any]:
    """What is known of a vector, for people and programs."""
    from mlxintro.vectors.library import is_import

    recipe = record.recipe
    return {
        "hash": record.hash,
        "name": _name(record),
        "concept": str(recipe.get("word", "")),
        "method": _how(record),
        "model": _model(record),
        "site": str(recipe.get("site", "resid_post")),
        "source": str(recipe.get("source", "")),
        "layers": recipe.get("layers", []),
        "content": record.content,
        "created": record.created,
        **({"facts": recipe.get("facts", {})} if is_import(record) else {"recipe": recipe}),
    }


def _name(record: VectorRecord) -> str:
    name = record.recipe.get("name")
    return name if isinstance(name, str) else ""


def _how(record: VectorRecord) -> str:
    """The recipe's method, and for an imported vector the format it came in."""
    method, file_format = str(record.recipe.get("method", "")), record.recipe.get("format")
    return f"{method} ({file_format})" if file_format else method


def _model(record: VectorRecord) -> str:
    return str(record.recipe.get("model", "")).partition("@")[0].rpartition("/")[2]
