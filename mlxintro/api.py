"""The two functions a notebook needs beyond those of other modules; ``import mlxintro as mi`` has them all.

The README has ten lines that use them.
"""

from __future__ import annotations

from mlxintro.backends.base import Backend
from mlxintro.backends.registry import open_backend
from mlxintro.paths import data_home
from mlxintro.protocol import concepts, presets
from mlxintro.store.vectors import recorded_content
from mlxintro.vectors.cache import VectorCache
from mlxintro.vectors.extraction import extract
from mlxintro.vectors.settings import recipe_for
from mlxintro.vectors.vector import ConceptVector

load = open_backend


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
    home = data_home()
    folder = VectorCache(home.vectors, recorded=recorded_content(home.db)) if cache else None
    return extract(model, [recipe], folder)[recipe.key]
