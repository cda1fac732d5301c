"""What the commands about concept vectors share: how vectors are extracted, and vectors for the time of a command."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mlxintro.cli.options import CONCEPT_FILE, load_backend
from mlxintro.cli.output import chatter, table

if TYPE_CHECKING:
    from mlxintro.backends.base import Backend
    from mlxintro.protocol.concepts import Concept
    from mlxintro.vectors.cache import VectorCache
    from mlxintro.vectors.vector import ConceptVector

F = TypeVar("F", bound=Callable[..., Any])

PRESET = click.option("--preset", default="lindsey", show_default=True, help="Whose extraction recipe to use.")
PRESET_FILE = click.option(
    "--preset-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A preset of your own instead, as TOML; see docs/protocols.md.",
)
ANY = click.option("--any-word", is_flag=True, help="Accept words that are not in the concept library.")
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object per concept.")


RECIPES = ("word-minus-baseline", "mean-difference", "contrast-pairs", "pca")


def extraction_options(function: F) -> F:
    """Add how vectors are extracted: concepts of one's own, a preset, and where it differs from that."""
    return CONCEPT_FILE(PRESET(PRESET_FILE(recipe_options(function))))


def recipe_options(function: F) -> F:
    """Add how vectors are extracted, where it differs from the preset."""
    for option in reversed(
        (
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


def given_extraction(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a preset's table ``[extraction]`` from the options of ``extraction_options``."""
    from mlxintro.protocol.toml_text import parsed, text_of

    changes = {key: chosen.get(name) for name, key in (("recipe", "method"), ("site", "site"), ("read", "read"))}
    changes = {key: value for key, value in changes.items() if value is not None}
    if (file := chosen.get("pairs")) is not None:
        given = parsed(text_of(file), str(file))
        if not given or given.keys() - {"pairs", "beginnings", "contrasts"}:
            raise click.UsageError(
                f"{file} gives no pairs: write pairs, beginnings or [contrasts], see docs/protocols.md"
            )
        changes = {"method": "contrast-pairs", **changes, **given}
    return changes


def named_preset(context: click.Context, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings ``preset`` and ``preset_data`` that ``--preset`` and ``--preset-file`` stand for.

    Raises:
        click.UsageError: both are given.
    """
    from mlxintro.protocol import presets

    own = chosen.get("preset_file")
    if own is None:
        return {"preset": chosen["preset"]}
    if context.get_parameter_source("preset") is click.core.ParameterSource.COMMANDLINE:
        raise click.UsageError("give either --preset or --preset-file")
    return {"preset": own.stem, "preset_data": presets.read_file(own)}


EXTRACTION = ("preset", "preset_file", "recipe", "pairs", "site", "read")
"""Options that say how vectors are extracted."""


class ExtractedVectors:
    """Loads a model and extracts vectors, for the time of a ``with``."""

    def __init__(
        self,
        context: click.Context,
        names: tuple[str, ...],
        any_word: bool,
        settings: dict[str, Any],
        layers: Sequence[int | float] = (),
    ) -> None:
        """``layers``: what the command looks at, so that a slip is told before the words are read."""
        from mlxintro.paths import data_home
        from mlxintro.protocol import presets
        from mlxintro.protocol.words.imported import resolve_concepts
        from mlxintro.protocol.words.own_concepts import library_with, read_concept_files
        from mlxintro.vectors.library import references_among

        chosen = {name: settings.pop(name, None) for name in EXTRACTION}
        self._home = data_home(context.find_root().obj)
        self.own = read_concept_files(settings.pop("concept_file", ()))
        references = references_among(names, self._home.db)
        resolved = resolve_concepts(names, any_word, references, library_with(self.own))
        self.found = [concept for concept, _ in resolved.values()]
        self._references = {word: reference for word, (_, reference) in resolved.items()}
        self.preset = named_preset(context, chosen)
        self.changes = given_extraction(chosen)
        preset = presets.of_settings(self.preset)
        self.extraction = presets.with_extraction(preset, self.changes).extraction
        self._settings = settings
        self._layers = layers

    def __enter__(self) -> tuple[Backend, Mapping[str, ConceptVector], list[Concept]]:
        from mlxintro.cli.running.progress import word_progress
        from mlxintro.store.vectors import recorded_content
        from mlxintro.vectors.cache import VectorCache
        from mlxintro.vectors.extraction import extract
        from mlxintro.vectors.settings import recipe_for

        self.backend = load_backend(**self._settings)
        try:
            for layer in self._layers:
                self.backend.info.layer(layer)
            recipes = [
                recipe_for(self.extraction, concept.word, self.backend.info, self._references[concept.word])
                for concept in self.found
            ]
            cache = VectorCache(self._home.vectors, chatter, recorded_content(self._home.db))
            with word_progress() as progress:
                vectors = extract(self.backend, recipes, cache, progress=progress)
            self._record(vectors, cache)
            return self.backend, vectors, self.found
        except BaseException:
            self.backend.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.backend.close()

    def _record(self, vectors: Mapping[str, ConceptVector], cache: VectorCache) -> None:
        """Let the store know of the vectors, so that `vectors list` shows them and `vectors export` finds them."""
        from mlxintro.backends.errors import KnownError
        from mlxintro.store.store import Store

        kept = [vector for key, vector in vectors.items() if cache.path(key).exists()]
        if not kept:
            return
        try:
            with Store(self._home.db) as store:
                for vector in kept:
                    record = store.vectors.get(vector.recipe.key)
                    if record is None or record.content != vector.content_hash:
                        store.vectors.add(cache.record_of(vector))
        except KnownError as error:
            chatter(f"vectors are kept, but not listed: {error}")


def share_of(ratio: float) -> str:
    """Return a norm beside the stream's in words: ``20%``, and ``1.9e+29 times`` where a percentage says nothing."""
    return f"{ratio:.0%}" if ratio < 10 else f"{ratio:.2g} times"


def norms_table(vectors: Sequence[ConceptVector], layers: Sequence[int]) -> str:
    """Return the norms by layer, beside those of the stream."""
    rows = [
        [
            str(layer),
            f"{vectors[0].resid_norms[layer]:.4g}",
            *(f"{v.norms[layer]:.3g} ({share_of(v.norms[layer] / v.resid_norms[layer])})" for v in vectors),
        ]
        for layer in layers
    ]
    header = ["layer", "residual", *(vector.recipe.word for vector in vectors)]
    return table(header, rows, right=range(len(header)))
