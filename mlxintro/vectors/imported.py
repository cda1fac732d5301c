"""Vectors that were made elsewhere: directions by layer, which belong to no model in particular."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlxintro.backends.base import Float32
from mlxintro.backends.errors import UsageError
from mlxintro.vectors.reading import ReadSite


@dataclass(frozen=True, slots=True, eq=False)
class LayerDirections:
    """Holds directions as a file gives them: for some layers, and for no model in particular."""

    layers: tuple[int, ...]
    """Block indices, ascending."""
    direction: Float32
    """(layers, width), as they stand in the file. Read-only."""
    site: ReadSite = "resid_post"

    def __post_init__(self) -> None:
        self.direction.setflags(write=False)

    @property
    def width(self) -> int:
        return int(self.direction.shape[1])

    @property
    def content_hash(self) -> str:
        """Return ``sha256:...`` of layers, site and numbers, which names these directions in whatever file they lie."""
        digest = hashlib.sha256(np.asarray(self.layers, "<i4").tobytes())
        digest.update(self.site.encode())
        digest.update(self.direction.astype("<f4").tobytes())
        return f"sha256:{digest.hexdigest()}"

    def spread(self, layers: int, width: int, name: str) -> Float32:
        """Return (layers, width) for a model, zero where nothing is given.

        Raises:
            UsageError: the model has another width, or too few layers.
        """
        check_fit(name, self.width, self.layers, width, layers)
        whole = np.zeros((layers, width), np.float32)
        whole[list(self.layers)] = self.direction
        return whole


def check_fit(word: str, width: int, layers: Sequence[int], model_width: int, model_layers: int) -> None:
    """Refuse an imported vector that a model has no place for.

    Raises:
        UsageError: the model has another width, or too few layers.
    """
    if width != model_width:
        raise UsageError(
            f"the imported vector of {word!r} has width {width}, and the model {model_width}: take a model of that "
            "width, or carry vectors over with `mlxintro vectors align`"
        )
    if layers[-1] >= model_layers:
        raise UsageError(
            f"the imported vector of {word!r} reaches layer {layers[-1]}, and the model has layers 0 to "
            f"{model_layers - 1}: take the model that it was made for"
        )
