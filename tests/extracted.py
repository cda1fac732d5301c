"""Recipes and vectors for tests."""

from __future__ import annotations

from typing import Any

from mlxintro.backends.base import ModelInfo
from mlxintro.protocol.trials import model_key
from mlxintro.vectors.recipe import ExtractionRecipe

FAMILIES = ("qwen2", "gemma3")
BASELINE = ("Mountains", "music", "Dogs", "brown fox", "Dogs")


def recipe(word: str, info: ModelInfo, **settings: Any) -> ExtractionRecipe:
    return ExtractionRecipe(word=word, model=model_key(info), baseline="mine", baseline_words=BASELINE, **settings)
