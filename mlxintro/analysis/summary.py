"""The summary of a graded run: rates of its injected trials, cells and concepts against one pool of controls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mlxintro.analysis.reply_tally import ReplyTally
from mlxintro.analysis.results import Row
from mlxintro.analysis.stats import Difference, Rate, difference

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class GroupSummary:
    """Sums up one cell, one concept, or a whole run: injected trials against the pool of controls."""

    tally: ReplyTally
    detection: Rate
    "Detects (readable, affirms, does not refuse) over graded injected trials."
    identification: Rate
    "Detects and names the concept in time, over graded injected trials."
    net: Difference
    "Detection minus the false-alarm rate of all controls of the run."
    net_identification: Difference
    "Identification minus the false-alarm rate: the net score of the paper."
    layer: int | None = None
    strength: float | None = None
    concept: str | None = None

    def as_dict(self) -> dict[str, object]:
        """Return the group as JSON: rates with their intervals, tallies as counts."""
        return {
            "layer": self.layer,
            "strength": self.strength,
            "concept": self.concept,
            "counts": self.tally.as_dict(),
            "detection": self.detection.as_dict(),
            "identification": self.identification.as_dict(),
            "net_detection": self.net.as_dict(),
            "net_identification": self.net_identification.as_dict(),
        }


@dataclass(frozen=True, slots=True)
class Summary:
    """Sums up a graded run."""

    overall: GroupSummary
    controls: ReplyTally
    false_alarms: Rate
    "Detects, over graded controls. Refusals are not false alarms."
    cells: tuple[GroupSummary, ...]
    "One per (layer, strength), sorted."
    concepts: tuple[GroupSummary, ...]
    "One per concept, sorted by name."

    @property
    def unscored(self) -> int:
        """Return the trials without a grade."""
        return self.overall.tally.unscored + self.controls.unscored

    def as_dict(self) -> dict[str, object]:
        """Return the summary as JSON."""
        return {
            "overall": self.overall.as_dict(),
            "controls": self.controls.as_dict(),
            "false_alarms": self.false_alarms.as_dict(),
            "cells": [cell.as_dict() for cell in self.cells],
            "concepts": [concept.as_dict() for concept in self.concepts],
        }


def summarise(rows: Iterable[Row]) -> Summary:
    """Summarise a run, its cells and its concepts. Trials of control arms are left out.

    Controls depend on neither layer, strength nor concept, so one pool of them serves every cell.
    """
    main = [row for row in rows if not row.arm]
    injected = [row for row in main if row.condition == "injected"]
    controls = ReplyTally.of(row for row in main if row.condition != "injected")
    false_alarms = controls.detection.rate

    def group(
        members: Sequence[Row],
        *,
        layer: int | None = None,
        strength: float | None = None,
        concept: str | None = None,
    ) -> GroupSummary:
        counts = ReplyTally.of(members)
        detection, identification = counts.detection.rate, counts.identification.rate
        return GroupSummary(
            counts,
            detection,
            identification,
            difference(detection, false_alarms),
            difference(identification, false_alarms),
            layer,
            strength,
            concept,
        )

    cells = _grouped(injected, lambda row: (row.layer, row.strength))
    concepts = _grouped(injected, lambda row: row.concept)
    return Summary(
        overall=group(injected),
        controls=controls,
        false_alarms=false_alarms,
        cells=tuple(
            group(members, layer=layer, strength=strength)
            for (layer, strength), members in sorted(cells.items(), key=lambda item: _order(*item[0]))
        ),
        concepts=tuple(
            group(members, concept=concept)
            for concept, members in sorted(concepts.items(), key=lambda item: item[0] or "")
        ),
    )


def _grouped(rows: Sequence[Row], key: Callable[[Row], K]) -> dict[K, list[Row]]:
    groups: dict[K, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def _order(layer: int | None, strength: float | None) -> tuple[int, float]:
    """Sort missing values first."""
    return (-1 if layer is None else layer, float("-inf") if strength is None else strength)
