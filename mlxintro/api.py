"""What a notebook needs, the same functions the command line uses.

``import mlxintro as mi`` gives these names; see the README for ten lines that use them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.base import Completion, Injection, Prompt, Proof, Request, Sampling
from backends.registry import open_backend as load
from mlxintro import concepts, presets
from mlxintro.paths import data_home
from mlxintro.steering import steer, validate
from mlxintro.vector_cache import VectorCache
from mlxintro.vectors import ConceptVector, extract, recipe_for

if TYPE_CHECKING:
    from backends.base import Backend

__all__ = [
    "Completion",
    "ConceptVector",
    "Injection",
    "Prompt",
    "Proof",
    "Request",
    "Sampling",
    "concept_vector",
    "load",
    "steer",
    "validate",
]


def concept_vector(model: Backend, word: str, *, preset: str = "lindsey", cache: bool = True) -> ConceptVector:
    """Extract one concept vector as a preset does, or find it in the cache. Any word works.

    Args:
        model: from ``load``.
        word: the concept.
        preset: whose template, read position and baseline words.
        cache: keep it beside the store, and look there first.

    Returns:
        float32 directions of shape (layers, width); ``scaled`` turns a strength into what to inject.

    Raises:
        UsageError: an unknown preset, or no word.
    """
    (concept,) = concepts.library().resolve([word], allow_unknown=True)
    recipe = recipe_for(presets.load(preset).extraction, concept.word, model.info)
    folder = VectorCache(data_home().vectors) if cache else None
    return extract(model, [recipe], folder)[recipe.key]
