"""Concept vectors: what a word adds to the residual stream, against the average of other words.

A vector is the activation on a prompt such as "Tell me about ocean" minus the mean activation on the same prompt with
baseline words, for every layer from one forward pass per word. The prompt always goes through the chat template, and by
default the activation is read at the last token of the template, where the model is about to reply. The difference is
kept raw.
Source: Lindsey 2025, "Emergent Introspective Awareness in Large Language Models", appendix on concept vectors.

Nothing here generates text or decides where a vector is injected.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from mlxintro.backends.base import Backend, Float32, ModelInfo, Prompt
from mlxintro.backends.errors import ModelError, UsageError
from mlxintro.protocol.trials import model_key
from mlxintro.vectors.cache import VectorCache
from mlxintro.vectors.recipe import ExtractionRecipe, PromptReading
from mlxintro.vectors.vector import BaselineMean, ConceptVector

Progress = Callable[[int, int], None]
"""Called with the number of words read so far and their total."""

_CHUNK = 32
"""Words per call of ``capture``: bounds what is held at once and how long progress stays silent."""

_LIBRARIES = ("mlxintro", "numpy", "safetensors", "torch", "transformers", "mlx", "mlx-lm")


def extract(
    backend: Backend,
    recipes: Iterable[ExtractionRecipe],
    cache: VectorCache | None = None,
    *,
    progress: Progress | None = None,
) -> dict[str, ConceptVector]:
    """Extract vectors, or take them from the cache.

    One forward pass per word gives all layers. The baseline is read once for all recipes that share it and its mean is
    cached; with every vector in the cache the model is not used at all. Means and differences are taken in float64.

    Returns:
        Recipe key -> vector.

    Raises:
        UsageError: a recipe is for another model.
        ModelError: activations overflow, or a vector is zero at every layer.
    """
    asked = {recipe.key: recipe for recipe in recipes}
    vectors: dict[str, ConceptVector] = {}
    for recipe in asked.values():
        if recipe.model != model_key(backend.info):
            raise UsageError(f"the vector of {recipe.word!r} is planned for {recipe.model}, not {backend.info.model}")
        kept = cache.load_vector(recipe, backend.info) if cache is not None else None
        if kept is not None:
            vectors[recipe.key] = kept
    missing = [recipe for recipe in asked.values() if recipe.key not in vectors]
    baselines = {
        recipe.baseline_key: cache.load_baseline(recipe.baseline_key) if cache is not None else None
        for recipe in missing
    }

    words = [recipe.reading(recipe.word) for recipe in missing]
    for recipe in missing:
        if baselines[recipe.baseline_key] is None:
            words += [recipe.reading(word) for word in recipe.baseline_words]
    activations = _read(backend, list(dict.fromkeys(words)), progress)

    made = _made_with(backend.info)
    for recipe in missing:
        baseline = baselines[recipe.baseline_key]
        if baseline is None:
            baseline = BaselineMean.of([activations[recipe.reading(word)] for word in recipe.baseline_words])
            baselines[recipe.baseline_key] = baseline
            if cache is not None:
                cache.save_baseline(recipe.baseline_key, baseline, made)
        activation = activations[recipe.reading(recipe.word)]
        direction = (activation.astype(np.float64) - baseline.mean).astype(np.float32)
        if not np.any(direction):
            raise ModelError(
                f"the vector of {recipe.word!r} is zero at every layer: the model reads one prompt for every word, "
                "so see with `mlxintro check` what its chat template and tokenizer make of it"
            )
        vectors[recipe.key] = vector = ConceptVector(recipe, direction, baseline.norms, made)
        if cache is not None:
            cache.save_vector(vector)
    return {key: vectors[key] for key in asked}


def _read(
    backend: Backend, readings: Sequence[PromptReading], progress: Progress | None
) -> dict[PromptReading, Float32]:
    """Activations of shape (layers, width), by reading."""
    # Positions are shared by all prompts of one call, so readings are grouped by them.
    groups: dict[tuple[int, ...], list[tuple[PromptReading, Prompt]]] = defaultdict(list)
    for reading in readings:
        tokens, positions = reading.place(backend.tokenizer)
        groups[positions].append((reading, Prompt(tokens)))
    activations: dict[PromptReading, Float32] = {}
    for positions, members in groups.items():
        for first in range(0, len(members), _CHUNK):
            chunk = members[first : first + _CHUNK]
            captured = backend.capture([prompt for _, prompt in chunk], positions=positions)
            for (reading, _), sites in zip(chunk, captured, strict=True):
                mean = sites["resid_post"].mean(axis=1, dtype=np.float64).astype(np.float32)
                if not np.isfinite(mean).all():
                    advice = (
                        "load with --dtype bfloat16"
                        if backend.info.dtype == "float16"
                        else "its weights may be damaged, so fetch the model again or choose another"
                    )
                    raise ModelError(f"activations on {reading.word!r} overflow {backend.info.dtype}: {advice}")
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
