"""What an experiment found, as data that a terminal, the app and a report show each in their way.

An experiment's ``analyse`` turns stored rows into an ``Analysis``. Nothing here computes anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mlxintro.analysis.stats import Difference, Mean, Rate
from mlxintro.grading.base import Grade
from mlxintro.grading.correction import CorrectedRate
from mlxintro.ladder.rungs import Ladder
from mlxintro.protocol.concepts import Library, library

Cell = str | int | float | Rate | CorrectedRate | Difference | Mean | None
"""A value in a table; rates, differences and means carry their intervals."""

VerdictKind = Literal[
    "introspective identification",
    "claims and names it",
    "claims a thought",
    "anomaly noticed but not named",
    "rivals not excluded",
    "a reader does as well",
    "own words",
    "text alone",
    "any disturbance",
    "compression",
    "yes-bias",
    "steering only",
    "no effect shown",
    "too little data",
    "effect",
]
"""What a run comes to. ``effect`` stands for an experiment's own positive finding (its headline says which); the first
needs every rung of the ladder excluded, the next two have rungs that were not tested."""


@dataclass(frozen=True, slots=True)
class PairedTrial:
    """Says what is known of the injected trial that has a trial's number, where that trial has no row of its own."""

    concept: str | None
    strength: float | None
    named: bool | None = None
    """Whether the reply of the trial at hand names the concept; ``None`` where nobody looked."""


@dataclass(frozen=True, slots=True)
class Row:
    """Is one finished trial as an analysis sees it, or several that no figure can tell apart.

    A row that stands for several has no key, number, reply, measurements or detail.
    """

    key: str
    condition: str
    arm: str
    concept: str | None
    layer: int | None
    strength: float | None
    trial: int
    response: str
    measurements: Mapping[str, Any]
    detail: Mapping[str, Any]
    grade: Grade | None
    """The chosen grader's verdict; ``None`` where there is none."""
    injected: tuple[str, ...] = ()
    """Concepts whose vectors were injected, in order."""
    times: int = 1
    """Number of trials it stands for."""
    pair: PairedTrial | None = None
    library: Library = field(default_factory=library, repr=False, compare=False)
    """The concepts that its run knows."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Holds the card: one finding, and what it rests on."""

    kind: VerdictKind
    headline: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Figure:
    """Holds one number under its name."""

    name: str
    """Name for programs, which never changes: ``detection``, ``false_alarms``."""
    label: str
    value: Cell
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Holds a rate for every layer and strength; drawn with the deepest layer on top and strengths across."""

    name: str
    title: str
    layers: tuple[int, ...]
    strengths: tuple[float, ...]
    cells: Mapping[tuple[int, float], Rate]
    unit: str = "raw"


@dataclass(frozen=True, slots=True)
class ValueMap:
    """Holds a mean with its interval for every row and column, e.g. for layers and places in the network.

    A cell whose interval holds 0 is drawn without a shade: a flat map looks flat.
    """

    name: str
    title: str
    rows: tuple[str, ...]
    """Names of the rows, from top to bottom."""
    columns: tuple[str, ...]
    cells: Mapping[tuple[str, str], Mean]
    unit: str
    largest: float
    """Value that gets the deepest shade, in either direction."""
    note: str = ""
    more: bool = False
    """Whether a terminal shows it only to who asks for more."""


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    label: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Plot:
    name: str
    title: str
    x: str
    y: str
    curves: tuple[Curve, ...]
    share: bool = False
    """Whether values are shares, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """Holds everything a run's rows say, in the order in which it should be read."""

    verdict: Verdict | None = None
    ladder: Ladder | None = None
    """Rival explanations and where each stands, for experiments that climb the ladder."""
    figures: tuple[Figure, ...] = ()
    heat_maps: tuple[HeatMap, ...] = ()
    value_maps: tuple[ValueMap, ...] = ()
    plots: tuple[Plot, ...] = ()
    tables: tuple[Table, ...] = ()
    remarks: tuple[str, ...] = ()
    """Warnings to read before believing any of it: few controls, abstentions, ungraded trials."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """More for programs, as plain data."""

    def figure(self, name: str) -> Figure | None:
        """Return a figure by its name."""
        return next((figure for figure in self.figures if figure.name == name), None)


def rows_about(rows: Sequence[Row], **wanted: Any) -> list[Row]:
    """Return the rows whose fields have the given values."""
    return [row for row in rows if all(getattr(row, name) == value for name, value in wanted.items())]
