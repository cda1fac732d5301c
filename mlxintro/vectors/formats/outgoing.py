"""A stored vector as it is handed to another program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mlxintro.backends.base import Float32
from mlxintro.protocol.hashing import canonical_json
from mlxintro.store.records import VectorRecord
from mlxintro.vectors.cache import Entry
from mlxintro.vectors.imported import LayerDirections
from mlxintro.vectors.vector import content_hash


@dataclass(frozen=True, slots=True, eq=False)
class OutgoingVector:
    """Holds a stored vector with all that is known of it."""

    record: VectorRecord
    directions: LayerDirections
    """Layers without a direction are left out."""
    resid_norms: Float32 | None
    """(layers,) of the directions: norm of the stream there; ``None`` for imported vectors, which know no model."""
    made: Mapping[str, str]
    """Time and versions with which it was made."""

    @classmethod
    def of(cls, record: VectorRecord, entry: Entry, imported: LayerDirections | None) -> OutgoingVector | None:
        """Return a vector from its file; ``None`` where the file is not what the record says."""
        made = {k: v for k, v in entry.metadata.items() if k not in ("key", "sha256", "recipe")}
        if imported is not None:
            return cls(record, imported, None, made) if imported.content_hash == record.content else None
        if entry.tensors.keys() != {"direction", "resid_norms"} or content_hash(**entry.tensors) != record.content:
            return None
        direction, norms = entry.tensors["direction"], entry.tensors["resid_norms"]
        layers = np.flatnonzero(np.any(direction, axis=1))
        site = record.recipe.get("site", "resid_post")
        directions = LayerDirections(tuple(map(int, layers)), np.ascontiguousarray(direction[layers]), site)
        return cls(record, directions, norms[layers], made)

    @property
    def word(self) -> str:
        return str(self.record.recipe.get("word", ""))

    @property
    def model(self) -> str:
        """Return the model's key; for an imported vector what its file said."""
        facts = self.record.recipe.get("facts", {})
        return str(self.record.recipe.get("model") or facts.get("model") or facts.get("mlxintro.model") or "")

    @property
    def recipe(self) -> str:
        return canonical_json(self.record.recipe)
