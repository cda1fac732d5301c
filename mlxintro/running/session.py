"""What trials are measured with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlxintro.backends.base import Backend
from mlxintro.protocol.trials import PromptRecord
from mlxintro.vectors.vector import ConceptVector

MODEL_IDENTITY = ("model", "revision", "backend", "dtype", "quantization", "template_hash", "adapter_revision")
"""Fields of ``ModelInfo`` that ``trials.model_key`` is made of: trials of two models that differ in one are others."""


@dataclass(frozen=True, slots=True)
class Session:
    """Holds a loaded model with everything the planned trials refer to."""

    backend: Backend
    prompts: Mapping[str, PromptRecord]
    vectors: Mapping[str, ConceptVector]
    """Vectors by recipe hash."""
