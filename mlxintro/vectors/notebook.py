"""Vectors in and out of a notebook, and from one model to another; ``import mlxintro as mi`` has them all."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mlxintro.backends.base import Backend
from mlxintro.backends.errors import UsageError
from mlxintro.protocol import presets
from mlxintro.protocol.hashing import canonical_json
from mlxintro.protocol.words.imported import VectorReference
from mlxintro.rendering.whole_file import whole_file
from mlxintro.store.records import VectorRecord
from mlxintro.vectors.alignment import Alignment, AlignmentPlan, Matching, fit, read_model
from mlxintro.vectors.cache import VectorCache
from mlxintro.vectors.extraction import extract
from mlxintro.vectors.formats.outgoing import OutgoingVector
from mlxintro.vectors.formats.reader import read_vector_file
from mlxintro.vectors.formats.writer import SUFFIXES, export
from mlxintro.vectors.imported import LayerDirections
from mlxintro.vectors.settings import recipe_for
from mlxintro.vectors.vector import ConceptVector


def read_vector(
    model: Backend,
    path: str | Path,
    word: str,
    *,
    layer: int | None = None,
    index: int | None = None,
    preset: str = "lindsey",
) -> ConceptVector:
    """Read a vector that was made elsewhere, for a model; its norm beside the stream's is measured.

    Args:
        path: ``.safetensors``, ``.gguf``, ``.npz``, or with ``index`` a sparse autoencoder.
        word: the concept.
        layer: for a file that does not say which layer it is of.
        index: feature of a sparse autoencoder.
        preset: whose prompt and baseline words the stream's norm is measured with.

    Returns:
        float32 directions of shape (layers, width), zero where the file has none.

    Raises:
        UsageError: no usable vector, or one that does not fit the model.
    """
    return for_model(model, read_vector_file(Path(path), layer=layer, index=index).directions, word, preset)


def write_vector(vector: ConceptVector, path: str | Path) -> tuple[int, ...]:
    """Write a vector for another program; the file's ending says how: ``.safetensors``, ``.gguf``, ``.npz``.

    Returns:
        The layers that were written; GGUF has no place for layer 0.

    Raises:
        UsageError: another ending, or a vector that the format cannot hold.
        KnownError: the place cannot be written.
    """
    target = Path(path)
    if target.suffix not in SUFFIXES:
        raise UsageError(f"{target} does not say which format: end it in {', '.join(SUFFIXES)}")
    layers = tuple(int(layer) for layer in np.flatnonzero(vector.norms))
    recipe = json.loads(canonical_json(vector.recipe))
    outgoing = OutgoingVector(
        VectorRecord(vector.recipe.key, recipe, "", vector.content_hash),
        LayerDirections(layers, np.ascontiguousarray(vector.direction[list(layers)]), vector.recipe.site),
        vector.resid_norms[list(layers)],
        vector.provenance,
    )
    with whole_file(target) as place:
        return export(outgoing, place, SUFFIXES[target.suffix])


def align(
    source: Backend,
    target: Backend,
    words: Sequence[str],
    *,
    learn: Sequence[str] | None = None,
    layers: Sequence[int | float] = (0.66,),
    match: Matching = "depth",
    prompts: int = 4,
    preset: str = "lindsey",
) -> Alignment:
    """Carry concept vectors from one model over to another by a map learned on other words.

    Args:
        source: the model that the vectors are extracted from.
        target: the model that they are carried to.
        words: the concepts.
        learn: words to learn the map on; all that ship when ``None``. The concepts are taken out of them.
        layers: of the target, as indices or depths.
        match: the source's layer of the same depth, or the ``best`` one.
        prompts: how many prompts every word is read with.
        preset: whose extraction recipe is used.

    Returns:
        Maps with their held-out cosines; ``carried``, ``permuted`` and ``unmapped`` vectors by word; ``cosines`` with
        the target's own vectors.

    Raises:
        UsageError: too few words to learn on, or a layer that is not there.
    """
    plan = AlignmentPlan.of(
        words, presets.load(preset).extraction, learning=learn, layers=layers, matching=match, prompts=prompts
    )
    return fit(read_model(source, plan), read_model(target, plan), plan)


def for_model(model: Backend, directions: LayerDirections, word: str, preset: str = "lindsey") -> ConceptVector:
    """Make directions a concept's vector on a model, with the stream's norms as the preset measures them.

    Raises:
        UsageError: they do not fit the model.
    """
    reference = VectorReference(
        content=directions.content_hash,
        word=word,
        width=directions.width,
        layers=directions.layers,
        site=directions.site,
    )
    recipe = recipe_for(presets.load(preset).extraction, word, model.info, reference)
    with tempfile.TemporaryDirectory() as folder:
        cache = VectorCache(Path(folder), recorded=_no_record)
        cache.save_directions(directions, {})
        return extract(model, [recipe], cache)[recipe.key]


def _no_record(_key: str) -> None:
    """A file that was never in a store has nothing recorded of it; its content hash is checked all the same."""
