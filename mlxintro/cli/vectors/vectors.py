"""``mlxintro extract`` and ``mlxintro steer``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from mlxintro.cli.options import LAYERS, model_options
from mlxintro.cli.output import chatter, echo, json_line
from mlxintro.cli.vectors.extracted import ANY, JSON, ExtractedVectors, extraction_options, norms_table

if TYPE_CHECKING:
    from mlxintro.vectors.steering import Steered, Validation


@click.command()
@click.argument("concepts", nargs=-1, required=True)
@model_options
@extraction_options
@click.option(
    "--read", type=click.Choice(["last-template-token", "word", "mean"]), help="Token to read. Default: preset."
)
@click.option("--layers", type=LAYERS, help="Layers to show. Default: all.")
@ANY
@JSON
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

    with ExtractedVectors(context, concepts, any_word, settings, layers or ()) as (backend, vectors, _):
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
        echo(norms_table(shown, chosen))
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
@ANY
@JSON
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
    extracted = ExtractedVectors(context, (concept,), any_word, settings, layer)
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


def _show_replies(replies: Steered, word: str) -> None:
    dose, proof = replies.dose, replies.proof
    echo(f"without: {replies.plain.strip()}\n")
    echo(f"with {word}: {replies.steered.strip()}\n")
    echo(
        f"layer {replies.layer}, {dose.raw:.3g} x the vector = norm {dose.norm:.3g} = {dose.resid:.0%} of the residual "
        f"norm; {proof.positions} positions touched ({proof.first} to {proof.last})"
    )


def _show_test(tested: Validation) -> None:
    verdict = "pass" if tested.passed else "FAIL"
    echo(
        f"{verdict}  the vector makes {tested.concept!r} and its near names {tested.effect:+.2f} nats more likely than "
        f"random vectors of\n      the same norm do (95 % interval {tested.low:+.2f} to {tested.high:+.2f} over "
        f"{len(tested.prompts)} prompts; p = {tested.p_value:.2g} against {tested.randoms} random directions)"
    )
    if not tested.passed:
        echo("      -> try another --layer (see `mlxintro extract`) or a larger --strength")
