"""What trials are measured with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlxintro.backends.base import Backend
from mlxintro.protocol.trials import PromptRecord
from mlxintro.vectors.vector import ConceptVector


@dataclass(frozen=True, slots=True)
class Session:
    """A loaded model with everything the planned trials refer to."""

    backend: Backend
    prompts: Mapping[str, PromptRecord]
    vectors: Mapping[str, ConceptVector]
    """By recipe hash."""
