"""Maps as trials hold them: each layer of a map is one trial, and a map is put together from its rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlxintro.analysis.results import Row
from mlxintro.mechanism.maps import PatchMap
from mlxintro.mechanism.patching import Patch, PatchedRuns
from mlxintro.mechanism.readings import AnswerReading

LENS, RANDOM = "lens", "random"
"""Arms: the logit lens over both runs; the map of a random vector of the same norm."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredPatches:
    """One layer of a map with the two ends it lies between."""

    clean: AnswerReading
    injected: AnswerReading
    removed: Mapping[Patch, AnswerReading]
    added: Mapping[Patch, AnswerReading]

    @classmethod
    def of_layer(cls, runs: PatchedRuns, layer: int) -> StoredPatches:
        removed, added = (
            {patch: reading for patch, reading in readings.items() if patch.layer == layer}
            for readings in (runs.removed, runs.added)
        )
        return cls(runs.clean, runs.injected, removed, added)

    @classmethod
    def of(cls, layer: int, data: Mapping[str, Any]) -> StoredPatches:
        """Return what ``as_dict`` wrote for a layer."""
        removed: dict[Patch, AnswerReading] = {}
        added: dict[Patch, AnswerReading] = {}
        for cell in data["cells"]:
            patch = Patch(layer, cell["site"], cell["group"], cell["head"])
            removed[patch], added[patch] = AnswerReading.of(cell["removed"]), AnswerReading.of(cell["added"])
        return cls(AnswerReading.of(data["clean"]), AnswerReading.of(data["injected"]), removed, added)

    def as_dict(self) -> dict[str, Any]:
        cells = [
            {
                "site": patch.site,
                "group": patch.group,
                "head": patch.head,
                "removed": self.removed[patch].as_dict(),
                "added": self.added[patch].as_dict(),
            }
            for patch in self.removed
        ]
        return {"clean": self.clean.as_dict(), "injected": self.injected.as_dict(), "cells": cells}


def gap_of(row: Row, outcome: str) -> float:
    """Outcome of the injected run minus that of the clean one, in nats."""
    ends = (AnswerReading.of(row.measurements[name]).outcome(outcome) for name in ("injected", "clean"))
    return next(ends) - next(ends)


def map_of(rows: Sequence[Row]) -> PatchMap | None:
    """The map of one arm at one cell of the grid; concepts that lack a layer are left out. ``None`` without any."""
    by_trial: dict[tuple[str, int], list[StoredPatches]] = defaultdict(list)
    for row in rows:
        by_trial[row.concept or "", row.trial].append(StoredPatches.of(row.detail["layer"], row.measurements))
    runs = [whole_run(parts) for parts in by_trial.values()]
    most = max((len(run.added) for run in runs), default=0)
    whole = tuple(run for run in runs if len(run.added) == most)
    return PatchMap(whole) if whole else None


def whole_run(parts: Sequence[StoredPatches]) -> PatchedRuns:
    """Put the layers of one concept's map together."""
    removed, added = (
        {patch: reading for part in parts for patch, reading in getattr(part, name).items()}
        for name in ("removed", "added")
    )
    return PatchedRuns(parts[0].clean, parts[0].injected, removed, added, {})
