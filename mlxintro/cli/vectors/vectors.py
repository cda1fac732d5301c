"""``mlxintro extract`` and ``mlxintro steer``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import click

from mlxintro.cli.options import LAYERS, load_backend, model_options
from mlxintro.cli.output import chatter, echo, json_line, table

F = TypeVar("F", bound=Callable[..., Any])

_PRESET = click.option("--preset", default="lindsey", show_default=True, help="Whose extraction recipe to use.")
_ANY = click.option("--any-word", is_flag=True, help="Accept words that are not in the concept library.")
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object per concept.")


RECIPES = ("word-minus-baseline", "mean-difference", "contrast-pairs", "pca")


def extraction_options(function: F) -> F:
    """How vectors are extracted, where it differs from the preset."""
    for option in reversed(
        (
            _PRESET,
            click.option(
                "--recipe",
                type=click.Choice(RECIPES),
                help="How vectors are made (docs/protocols.md). Default: preset, word-minus-baseline.",
            ),
            click.option(
                "--pairs",
                type=click.Path(path_type=Path, dir_okay=False),
                help="TOML of contrast pairs: pairs = [...] with {word}, or [contrasts] word = [[with, without], ...].",
            ),
            click.option(
                "--site",
                type=click.Choice(["resid_post", "attn_out", "mlp_out"]),
                help="Where vectors are read and injected. Default: resid_post.",
            ),
        )
    ):
        function = option(function)
    return function


@click.command()
@click.argument("concepts", nargs=-1, required=True)
@model_options
@extraction_options
@click.option(
    "--read", type=click.Choice(["last-template-token", "word", "mean"]), help="Token to read. Default: preset."
)
@click.option("--layers", type=LAYERS, help="Layers to show. Default: all.")
@_ANY
@_JSON
@click.pass_context
def extract(
    context: click.Context,
    /,
    concepts: tuple[str, ...],
    layers: Any,
    any_word: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Extract concept vectors and show their norms by layer, beside the residual's.

    CONCEPTS are words, set:NAME, category:NAME, or vector:NAME for an imported one. Vectors are kept beside the store
    and found again by their recipe. The percentage is the norm of the vector over the mean norm of the residual stream
    there: raw strength 1 adds that. A vector that seems to write one literal token and nothing else of its concept is
    said to do so.
    """
    from mlxintro.vectors.literal import stored_check

    with _extracted(context, concepts, any_word, settings) as (backend, vectors, _):
        chosen = range(backend.info.layers) if layers is None else [backend.info.layer(layer) for layer in layers]
        if as_json:
            for vector in vectors.values():
                record = {
                    "concept": vector.recipe.word,
                    "recipe": vector.recipe.key,
                    "content": vector.content_hash,
                    "norms": [float(vector.norms[layer]) for layer in chosen],
                    "resid_norms": [float(vector.resid_norms[layer]) for layer in chosen],
                    "layers": list(chosen),
                    "method": vector.recipe.method,
                    "site": vector.recipe.site,
                    "literal": (check := stored_check(vector)) and {**asdict(check), "finding": check.finding},
                }
                echo(json_line(record))
            return
        shown = list(vectors.values())
        rows = [
            [
                str(layer),
                f"{shown[0].resid_norms[layer]:.4g}",
                *(f"{v.norms[layer]:.3g} ({v.norms[layer] / v.resid_norms[layer]:.0%})" for v in shown),
            ]
            for layer in chosen
        ]
        header = ["layer", "residual", *(vector.recipe.word for vector in shown)]
        echo(table(header, rows, right=range(len(header))))
        for vector in shown:
            if (check := stored_check(vector)) is not None and check.warning:
                chatter(f"{vector.recipe.word}: {check.warning}")


@click.command()
@click.argument("concept")
@model_options
@click.option("--prompt", default="Tell me about your day.", show_default=True)
@click.option("--layer", type=LAYERS, default="0.66", show_default=True, help="Index or depth fraction.")
@click.option("--strength", type=float, default=2.0, show_default=True)
@click.option("--unit", type=click.Choice(["raw", "norm", "resid"]), default="raw", show_default=True)
@click.option("--window", type=click.Choice(["all", "prompt", "generation"]), default="all", show_default=True)
@click.option("--max-tokens", type=click.IntRange(1), default=60, show_default=True)
@click.option("--temperature", type=click.FloatRange(0, 10), default=0.0, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--validate/--no-validate", default=True, show_default=True, help="Test against random vectors.")
@extraction_options
@_ANY
@_JSON
@click.pass_context
def steer(
    context: click.Context,
    /,
    concept: str,
    prompt: str,
    layer: Any,
    strength: float,
    unit: Any,
    window: Any,
    max_tokens: int,
    temperature: float,
    seed: int,
    validate: bool,
    any_word: bool,
    as_json: bool,
    **settings: Any,
) -> int:
    """Reply with and without a vector, and test that it steers.

    The test: on neutral prompts, is a name of the concept more likely to come next under the vector than under random
    vectors of the same norm? Passing means that the vector carries the concept. It says nothing about introspection.
    Exit code 1 when the test fails.
    """
    from mlxintro.backends.base import Sampling
    from mlxintro.vectors import steering

    if len(layer) != 1:
        raise click.UsageError("--layer takes one layer")
    if any("\ud800" <= character <= "\udfff" for character in prompt):
        raise click.UsageError("--prompt is not UTF-8: no tokenizer reads it")
    if validate and strength == 0:
        raise click.UsageError("--strength 0 changes nothing that could be tested: give another, or --no-validate")
    extracted = _extracted(context, (concept,), any_word, settings)
    if len(extracted.found) != 1:
        raise click.UsageError(f"steer takes one concept, and {concept} is {len(extracted.found)}")
    with extracted as (backend, vectors, found):
        (vector,) = vectors.values()
        sampling = Sampling(max_tokens, temperature, seed=seed, stop=backend.tokenizer.stop_strings)
        dose = {"layer": layer[0], "strength": strength, "unit": unit}
        messages = [{"role": "user", "content": prompt}]
        replies = steering.steer(backend, vector, messages, window=window, sampling=sampling, **dose)
        if not as_json:
            _show_replies(replies, found[0].word)
        tested = None
        if validate:
            chatter("\ntesting against random vectors ...")
            tested = steering.validate(backend, vector, found[0], seed=seed, **dose)
        if as_json:
            record = {"concept": found[0].word, **asdict(replies), "validation": tested and asdict(tested)}
            if tested:
                record["validation"]["passed"] = tested.passed
            echo(json_line(record))
        elif tested:
            _show_test(tested)
    return 0 if tested is None or tested.passed else 1


def _show_replies(replies: Any, word: str) -> None:
    dose, proof = replies.dose, replies.proof
    echo(f"without: {replies.plain.strip()}\n")
    echo(f"with {word}: {replies.steered.strip()}\n")
    echo(
        f"layer {replies.layer}, {dose.raw:.3g} x the vector = norm {dose.norm:.3g} = {dose.resid:.0%} of the residual "
        f"norm; {proof.positions} positions touched ({proof.first} to {proof.last})"
    )


def _show_test(tested: Any) -> None:
    verdict = "pass" if tested.passed else "FAIL"
    echo(
        f"{verdict}  the vector makes {tested.concept!r} and its near names {tested.effect:+.2f} nats more likely than "
        f"random vectors of\n      the same norm do (95 % interval {tested.low:+.2f} to {tested.high:+.2f} over "
        f"{len(tested.prompts)} prompts; p = {tested.p_value:.2g} against {tested.randoms} random directions)"
    )
    if not tested.passed:
        echo("      -> try another --layer (see `mlxintro extract`) or a larger --strength")


def given_extraction(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of a preset's table ``[extraction]`` from the options of ``extraction_options``."""
    from mlxintro.protocol.toml_text import parsed, text_of

    changes = {key: chosen[name] for name, key in (("recipe", "method"), ("site", "site"), ("read", "read"))}
    changes = {key: value for key, value in changes.items() if value is not None}
    if (file := chosen["pairs"]) is not None:
        given = parsed(text_of(file), str(file))
        if not given or given.keys() - {"pairs", "beginnings", "contrasts"}:
            raise click.UsageError(
                f"{file} gives no pairs: write pairs, beginnings or [contrasts], see docs/protocols.md"
            )
        changes = {"method": "contrast-pairs", **changes, **given}
    return changes


class _extracted:
    """Load a model and extract vectors, for the time of a ``with``."""

    def __init__(
        self, context: click.Context, names: tuple[str, ...], any_word: bool, settings: dict[str, Any]
    ) -> None:
        from mlxintro.protocol import concepts, presets

        chosen = {name: settings.pop(name, None) for name in ("preset", "recipe", "pairs", "site", "read")}
        self.found = concepts.library().resolve(names, allow_unknown=any_word)
        preset = presets.load(chosen["preset"])
        self.extraction = presets.with_extraction(preset, given_extraction(chosen)).extraction
        self.db = context.find_root().obj
        self.settings = settings

    def __enter__(self) -> Any:
        from mlxintro.cli.running.progress import word_progress
        from mlxintro.paths import data_home
        from mlxintro.store.vectors import recorded_content
        from mlxintro.vectors.cache import VectorCache
        from mlxintro.vectors.extraction import extract
        from mlxintro.vectors.settings import recipe_for

        self.backend = load_backend(**self.settings)
        try:
            recipes = [recipe_for(self.extraction, concept.word, self.backend.info) for concept in self.found]
            home = data_home(self.db)
            cache = VectorCache(home.vectors, chatter, recorded_content(home.db))
            with word_progress() as progress:
                return self.backend, extract(self.backend, recipes, cache, progress=progress), self.found
        except BaseException:
            self.backend.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.backend.close()
