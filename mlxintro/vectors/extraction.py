"""Concept vectors: what a concept adds to the residual stream, against prompts without it.

By the first recipe a vector is the activation on a prompt such as "Tell me about ocean" minus the mean activation on
the same prompt with baseline words, for every layer from one forward pass per word (Lindsey 2025, "Emergent
Introspective Awareness in Large Language Models", appendix on concept vectors). Other recipes read other prompts and
take the difference of means, or a principal component; an imported vector's directions come from a file. Prompts always
go through the chat template, and by default activations are read at the last token of it, where the model is about to
reply. Differences are kept raw.

Nothing here generates text or decides where a vector is injected.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from mlxintro.backends.base import Backend, Float32, Float64, ModelInfo, Prompt
from mlxintro.backends.errors import ModelError, UsageError
from mlxintro.protocol.trials import model_key
from mlxintro.vectors import literal
from mlxintro.vectors.cache import VectorCache
from mlxintro.vectors.reading import PromptReading, ReadSite
from mlxintro.vectors.recipe import Centre, ImportedVector, VectorRecipe
from mlxintro.vectors.vector import BaselineMean, ConceptVector

Progress = Callable[[int, int], None]
"""Called with the number of prompts read so far and their total."""


_CHUNK = 32
"""Prompts per call of ``capture``: bounds what is held at once and how long progress stays silent."""

_LIBRARIES = ("mlxintro", "numpy", "safetensors", "torch", "transformers", "mlx", "mlx-lm")


def extract(
    backend: Backend,
    recipes: Iterable[VectorRecipe],
    cache: VectorCache | None = None,
    *,
    progress: Progress | None = None,
) -> dict[str, ConceptVector]:
    """Extract vectors, or take them from the cache.

    One forward pass per prompt gives all layers. What concepts are compared with is read once for all recipes that
    share it and its mean is cached; with every vector in the cache the model is not used at all. Means and differences
    are taken in float64.

    Returns:
        Recipe key -> vector.

    Raises:
        UsageError: a recipe is for another model, or an imported vector does not fit or is not there.
        ModelError: activations overflow, or a vector is zero at every layer.
    """
    asked = {recipe.key: recipe for recipe in recipes}
    vectors = _cached(asked.values(), backend.info, cache)
    missing = [recipe for recipe in asked.values() if recipe.key not in vectors]
    given = {recipe.key: _imported(recipe, backend.info, cache) for recipe in missing if recipe.method == "imported"}
    references = {
        recipe.reference_key: cache.load_baseline(recipe.reference_key) if cache is not None else None
        for recipe in missing
    }

    readings = [reading for recipe in missing for reading in recipe.positives()]
    for recipe in missing:
        if references[recipe.reference_key] is None or recipe.method == "pca":  # which takes pairs, not means
            readings += recipe.negatives()
    activations = read(backend, list(dict.fromkeys(readings)), progress)

    made = _made_with(backend.info)
    found = []
    for recipe in missing:
        reference = references[recipe.reference_key]
        if reference is None:
            reference = references[recipe.reference_key] = _reference(recipe, activations, cache, made)
        direction = given[recipe.key] if recipe.key in given else _direction(recipe, activations, reference)
        if not np.any(direction):
            raise ModelError(
                f"the vector of {recipe.word!r} is zero at every layer: the model reads one prompt for every word, "
                "so see with `mlxintro check` what its chat template and tokenizer make of it"
            )
        found.append(ConceptVector(recipe, direction, reference.norms, made))
    for vector, check in zip(found, literal.check(backend, found), strict=True):
        kept = replace(vector, provenance={**made, **check.as_text()})
        vectors[vector.recipe.key] = kept
        if cache is not None:
            cache.save_vector(kept)
    return {key: vectors[key] for key in asked}


def _reference(
    recipe: VectorRecipe,
    activations: Mapping[PromptReading, Float32],
    cache: VectorCache | None,
    made: Mapping[str, str],
) -> BaselineMean:
    """The mean over what a concept is compared with; kept."""
    reference = BaselineMean.of([activations[reading] for reading in recipe.negatives()])
    if cache is not None:
        cache.save_baseline(recipe.reference_key, reference, made)
    return reference


def _cached(recipes: Iterable[VectorRecipe], info: ModelInfo, cache: VectorCache | None) -> dict[str, ConceptVector]:
    """Take from the cache what it holds; refuse a recipe that is for another model."""
    vectors = {}
    for recipe in recipes:
        if recipe.model != model_key(info):
            raise UsageError(f"the vector of {recipe.word!r} is planned for {recipe.model}, not {info.model}")
        kept = cache.load_vector(recipe, info) if cache is not None else None
        if kept is not None:
            vectors[recipe.key] = kept
    return vectors


def _imported(recipe: VectorRecipe, info: ModelInfo, cache: VectorCache | None) -> Float32:
    """Directions of an imported vector, spread over the model's layers."""
    assert isinstance(recipe, ImportedVector)
    directions = cache.load_directions(recipe.content) if cache is not None else None
    if directions is None:
        raise UsageError(
            f"the imported vector of {recipe.word!r} ({recipe.content[:19]}) is not beside this store: bring it in "
            "with `mlxintro vectors import FILE`"
        )
    return directions.spread(info.layers, info.width, recipe.word)


def _direction(recipe: VectorRecipe, activations: Mapping[PromptReading, Float32], reference: BaselineMean) -> Float32:
    """(layers, width): difference of means, or the principal component of the pairs."""
    positives = [activations[reading].astype(np.float64) for reading in recipe.positives()]
    if recipe.method != "pca":
        return np.asarray(np.mean(positives, axis=0) - reference.mean, np.float32)
    negatives = [activations[reading].astype(np.float64) for reading in recipe.negatives()]
    return principal_directions(np.stack(positives), np.stack(negatives), recipe.centre)


def principal_directions(positives: Float64, negatives: Float64, centre: Centre) -> Float32:
    """Return the first principal component of paired activations at every layer, as repeng takes it.

    Args:
        positives: (pairs, layers, width).
        negatives: the same shape; the partner of each.
        centre: ``pairs`` takes each pair's midpoint out and so keeps what all pairs have in common; ``differences``
            takes the mean difference out, and with it a concept that all pairs show alike.

    Returns:
        float32 (layers, width): length 1, signed so that more pairs have the positive further along it than not (by the
        mean where as many do as do not). Zero where all pairs are equal.

    Source: Zou et al. 2023; repeng's ``pca_center`` and ``pca_diff``.
    """
    from sklearn.decomposition import PCA

    differences = positives - negatives
    found = np.zeros(differences.shape[1:], np.float32)
    for layer in range(differences.shape[1]):
        here = differences[:, layer]
        train = here if centre == "differences" else np.concatenate([here / 2, -here / 2])
        if not np.ptp(train, axis=0).any():
            continue
        # The exact solver: others start from random numbers, and a vector must not depend on them.
        (direction,) = PCA(n_components=1, svd_solver="full").fit(train).components_
        along = here @ direction
        side = np.sign(along).sum() or along.sum()
        found[layer] = direction if side >= 0 else -direction
    return found


def read(
    backend: Backend, readings: Sequence[PromptReading], progress: Progress | None
) -> dict[PromptReading, Float32]:
    """Return the activations of shape (layers, width), by reading."""
    # Positions are shared by all prompts of one call, so readings are grouped by them.
    groups: dict[tuple[tuple[int, ...], ReadSite], list[tuple[PromptReading, Prompt]]] = defaultdict(list)
    for reading in readings:
        tokens, positions = reading.place(backend.tokenizer)
        groups[positions, reading.site].append((reading, Prompt(tokens)))
    activations: dict[PromptReading, Float32] = {}
    for (positions, site), members in groups.items():
        for first in range(0, len(members), _CHUNK):
            chunk = members[first : first + _CHUNK]
            captured = backend.capture([prompt for _, prompt in chunk], sites=(site,), positions=positions)
            for (reading, _), sites in zip(chunk, captured, strict=True):
                mean = sites[site].mean(axis=1, dtype=np.float64).astype(np.float32)
                if not np.isfinite(mean).all():
                    advice = (
                        "load with --dtype bfloat16"
                        if backend.info.dtype == "float16"
                        else "its weights may be damaged, so fetch the model again or choose another"
                    )
                    raise ModelError(
                        f"activations on {reading.word or reading.template!r} overflow {backend.info.dtype}: {advice}"
                    )
                activations[reading] = mean
            if progress is not None:
                progress(len(activations), len(readings))
    return activations


def _made_with(info: ModelInfo) -> dict[str, str]:
    made = {"created": datetime.now(UTC).isoformat(timespec="seconds"), "device": info.device}
    for package in _LIBRARIES:
        with suppress(PackageNotFoundError):
            made[f"version-{package}"] = version(package)
    return made
