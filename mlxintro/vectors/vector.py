"""A concept vector as plain data, and what is added to the residual stream for a strength.

The difference is kept raw; ``ConceptVector.scaled`` turns a strength in any unit into what is added.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mlxintro.backends.base import Float32
from mlxintro.backends.errors import UsageError
from mlxintro.protocol.layers import in_sentence
from mlxintro.protocol.trials import Dose, Transform, Unit
from mlxintro.vectors.recipe import VectorRecipe


@dataclass(frozen=True, slots=True, eq=False)
class ConceptVector:
    """Says what a word adds to the residual stream of every layer. The arrays are made read-only."""

    recipe: VectorRecipe
    direction: Float32
    """(layers, width): the direction at every layer, at the recipe's site, not normalised. Read-only."""
    resid_norms: Float32
    """(layers,): mean L2 norm of the activations that the concept is compared with, where they are read."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Time and versions with which it was made; no part of its identity."""

    def __post_init__(self) -> None:
        for array in (self.direction, self.resid_norms):
            array.setflags(write=False)

    @property
    def norms(self) -> Float32:
        """Return (layers,): the L2 norm of the raw vector."""
        return np.asarray(np.linalg.norm(self.direction.astype(np.float64), axis=1), np.float32)

    @property
    def content_hash(self) -> str:
        """Return ``sha256:...`` of the numbers."""
        return content_hash(self.direction, self.resid_norms)

    def scaled(
        self, layer: int, strength: float, unit: Unit, *, transform: Transform = "none", seed: int = 0
    ) -> tuple[Float32, Dose]:
        """Return what is added at a layer for a strength.

        Args:
            layer: block index.
            strength: in ``unit``; a negative one points the other way, 0 adds exactly nothing.
            transform: ``negate`` turns the vector around; ``random`` puts an isotropic random direction of the same
                norm in its place, ``shuffle`` the vector's own components in random order, both fixed by recipe, layer
                and seed and so the same at every strength.
            seed: of what is random.

        Returns:
            float32 (width,), and the strength in every unit. ``Dose.raw`` carries the sign, of ``negate`` as well.

        Raises:
            UsageError: the layer is not there, the strength is not finite or too large, or the vector is zero.
        """
        if not 0 <= layer < len(self.direction):
            raise UsageError(f"layer {layer} is out of range: the vector has layers 0 to {len(self.direction) - 1}")
        if not math.isfinite(strength):
            raise UsageError(f"a strength must be a finite number, got {strength}")
        raw = self.direction[layer].astype(np.float64)
        norm, resid = float(np.linalg.norm(raw)), float(self.resid_norms[layer])
        if strength == 0:
            return np.zeros(raw.shape, np.float32), Dose(0.0, 0.0, 0.0, norm, resid)
        if norm == 0 or resid == 0:
            raise UsageError(self._nothing_at(layer))
        multiple = {"raw": strength, "norm": strength / norm, "resid": strength * resid / norm}[unit]
        if transform == "random":
            drawn = self._generator(layer, seed).standard_normal(raw.shape)
            raw = drawn / np.linalg.norm(drawn) * norm
        elif transform == "shuffle":
            raw = self._generator(layer, seed).permutation(raw)
        elif transform == "negate":
            multiple = -multiple
        size = abs(multiple) * norm
        # A model squares the stream to normalise it; what overflows there is set to zero without a word.
        if size > float(np.finfo(np.float32).max) ** 0.5:
            raise UsageError(
                f"strength {strength} ({unit}) exceeds what float32 can hold: it adds a norm of {size:.2g}; choose a "
                "smaller one, or --unit resid"
            )
        return (raw * multiple).astype(np.float32), Dose(multiple, size, size / resid, norm, resid)

    def _nothing_at(self, layer: int) -> str:
        given = np.flatnonzero(self.norms)
        if self.recipe.method == "imported" and len(given):
            there = in_sentence(given.tolist())
            return f"the vector of {self.recipe.word!r} has no direction at layer {layer}: it was made for {there}"
        where = f"the vector of {self.recipe.word!r} is zero at layer {layer}"
        return f"{where}, where all words look alike: choose a later layer"

    def _generator(self, layer: int, seed: int) -> np.random.Generator:
        digest = hashlib.blake2b(f"{self.recipe.key}:{layer}:{seed}".encode(), digest_size=16).digest()
        return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "big")))


@dataclass(frozen=True, slots=True, eq=False)
class BaselineMean:
    """Holds the mean activation over what concepts are compared with, which many vectors share."""

    mean: NDArray[np.float64]
    """(layers, width); kept in float64, so that a vector is the same with and without the cached mean."""
    norms: Float32
    """(layers,): mean of the norms, not norm of the mean."""

    @classmethod
    def of(cls, activations: Sequence[Float32]) -> BaselineMean:
        total = np.zeros(activations[0].shape, np.float64)
        norms = np.zeros(len(total), np.float64)
        for activation in activations:
            exact = activation.astype(np.float64)
            total += exact
            norms += np.linalg.norm(exact, axis=1)
        return cls(total / len(activations), (norms / len(activations)).astype(np.float32))


def content_hash(direction: Float32, resid_norms: Float32) -> str:
    """Return ``sha256:...`` of a vector's numbers, whatever file they lie in."""
    digest = hashlib.sha256(direction.astype("<f4").tobytes())
    digest.update(resid_norms.astype("<f4").tobytes())
    return f"sha256:{digest.hexdigest()}"
