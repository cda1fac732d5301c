"""What answers come to after one's own thought and after that of a twin in another state, by concept."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

SWAP_SIDES = ("own", "notes", "state", "clean")
"""Injected twin's thought with the vector; that thought without it; the uninjected twin's thought with the vector; that
thought without it."""


@dataclass(frozen=True)
class SwappedThoughts:
    """Holds yes-no logits in nats by concept: means over its trials, for each of ``SWAP_SIDES``."""

    by_concept: Mapping[str, Mapping[str, float]]

    @classmethod
    def of(cls, measured: Iterable[tuple[str, Mapping[str, Any]]]) -> SwappedThoughts:
        """Collect concepts and measurements of the arm's trials; those that lack a side are left out."""
        found: dict[str, list[Mapping[str, float]]] = defaultdict(list)
        for concept, measurements in measured:
            logits = measurements.get("logits")
            if isinstance(logits, Mapping) and all(side in logits for side in SWAP_SIDES):
                found[concept].append(logits)
        return cls(
            {
                concept: {side: math.fsum(float(one[side]) for one in of) / len(of) for side in SWAP_SIDES}
                for concept, of in found.items()
            }
        )

    @cached_property
    def own(self) -> tuple[float, ...]:
        """Return by how much yes rises with both: the injected twin's thought, and the vector."""
        return self._shifts("own")

    @cached_property
    def notes(self) -> tuple[float, ...]:
        """Return by how much yes rises with the injected twin's thought alone: the vector is off."""
        return self._shifts("notes")

    @cached_property
    def state(self) -> tuple[float, ...]:
        """Return by how much yes rises with the vector alone: the thought is that of the uninjected twin."""
        return self._shifts("state")

    def _shifts(self, side: str) -> tuple[float, ...]:
        return tuple(logits[side] - logits["clean"] for logits in self.by_concept.values())
