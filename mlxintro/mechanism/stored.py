"""Maps as trials hold them: each layer of a map is one trial, and a map is put together from its rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mlxintro.analysis.results import Row
from mlxintro.backends.base import Proof
from mlxintro.mechanism.maps import PatchMap
from mlxintro.mechanism.patching import DIRECTIONS, Direction, Patch, PatchedRuns
from mlxintro.mechanism.readings import AnswerReading

LENS, RANDOM = "lens", "random"
"""Arms: the logit lens over both runs; the map of a random vector of the same norm."""


@dataclass(frozen=True, slots=True)
class PatchProof:
    """Says what one patch was measured to touch."""

    positions: int
    first: int | None
    last: int | None
    relative_change: float
    """Mean over the positions of ||after - before|| / ||before||."""

    @classmethod
    def of(cls, proof: Proof) -> PatchProof:
        return cls(proof.positions, proof.first, proof.last, round(proof.relative_change, 6))


@dataclass(frozen=True, slots=True, eq=False)
class StoredPatches:
    """Holds one layer of a map with the two ends it lies between."""

    clean: AnswerReading
    injected: AnswerReading
    removed: Mapping[Patch, AnswerReading]
    added: Mapping[Patch, AnswerReading]
    proofs: Mapping[Direction, Mapping[Patch, PatchProof]] = field(default_factory=dict)
    """Missing for places where both runs are the same, and in stores from before proofs were kept."""

    @classmethod
    def of_layer(cls, runs: PatchedRuns, layer: int) -> StoredPatches:
        removed, added = (
            {patch: reading for patch, reading in readings.items() if patch.layer == layer}
            for readings in (runs.removed, runs.added)
        )
        proofs: dict[Direction, dict[Patch, PatchProof]] = {
            direction: {patch: PatchProof.of(one) for patch, one in found.items() if patch.layer == layer}
            for direction, found in runs.proofs.items()
        }
        return cls(runs.clean, runs.injected, removed, added, proofs)

    @classmethod
    def of(cls, layer: int, data: Mapping[str, Any]) -> StoredPatches:
        """Return what ``as_dict`` wrote for a layer."""
        removed: dict[Patch, AnswerReading] = {}
        added: dict[Patch, AnswerReading] = {}
        proofs: dict[Direction, dict[Patch, PatchProof]] = {"removed": {}, "added": {}}
        for cell in data["cells"]:
            patch = Patch(layer, cell["site"], cell["group"], cell["head"])
            removed[patch], added[patch] = AnswerReading.of(cell["removed"]), AnswerReading.of(cell["added"])
            for direction, found in proofs.items():
                if (kept := cell.get("proofs", {}).get(direction)) is not None:
                    found[patch] = PatchProof(**kept)
        return cls(AnswerReading.of(data["clean"]), AnswerReading.of(data["injected"]), removed, added, proofs)

    def as_dict(self) -> dict[str, Any]:
        cells = [
            {
                "site": patch.site,
                "group": patch.group,
                "head": patch.head,
                "removed": self.removed[patch].as_dict(),
                "added": self.added[patch].as_dict(),
                "proofs": {
                    direction: asdict(found[patch]) for direction, found in self.proofs.items() if patch in found
                },
            }
            for patch in self.removed
        ]
        return {"clean": self.clean.as_dict(), "injected": self.injected.as_dict(), "cells": cells}


def patches_in_words(measurements: Mapping[str, Any]) -> list[str]:
    """Say in a line for each patched place what its patches were measured to touch; nothing for other trials.

    Args:
        measurements: of a trial.
    """
    lines = []
    for cell in measurements.get("cells", ()):
        head = "" if cell["head"] is None else f" head {cell['head']}"
        where = f"{cell['site']}{head}, {cell['group']}"
        kept = cell.get("proofs")
        if kept is None:
            lines.append(f"{where}: no proof was kept")
        elif not kept:
            lines.append(f"{where}: the same in both runs, nothing to exchange")
        else:
            found = {direction: PatchProof(**kept[direction]) for direction in DIRECTIONS if direction in kept}
            some = next(iter(found.values()))
            moved = ", ".join(f"{one.relative_change:.1%} {direction}" for direction, one in found.items())
            lines.append(
                f"{where}: {some.positions} positions touched, {some.first} to {some.last}; changed by {moved}"
            )
    return lines


def proven_patches(rows: Sequence[Row]) -> tuple[int, int, int]:
    """Count patches that were run, those of them with a proof, and the positions that proofs found touched."""
    run = proven = positions = 0
    for row in rows:
        for cell in row.measurements.get("cells", ()):
            kept = cell.get("proofs")
            run += len(DIRECTIONS) if kept is None else len(kept)
            proven += len(kept or ())
            positions += sum(one["positions"] for one in (kept or {}).values())
    return run, proven, positions


def gap_of(row: Row, outcome: str) -> float:
    """Return the outcome of the injected run minus that of the clean one, in nats."""
    ends = (AnswerReading.of(row.measurements[name]).outcome(outcome) for name in ("injected", "clean"))
    return next(ends) - next(ends)


def map_of(rows: Sequence[Row]) -> PatchMap | None:
    """Return the map of one arm at one cell of the grid; concepts that lack a layer are left out.

    ``None`` without any.
    """
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
