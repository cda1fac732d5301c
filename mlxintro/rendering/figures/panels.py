"""What a figure for a paper shows, as data: panels of lines, cells or rungs, every value with its interval and n.

Nothing here draws or computes anything. ``drawing`` draws it; ``numbers`` writes it as tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mlxintro.analysis.stats import Mean, Rate
from mlxintro.ladder.rungs import Rung

PictureKind = Literal["rates", "overall", "heat-maps", "curves", "maps", "ladder"]
KINDS: dict[PictureKind, str] = {
    "rates": "rates or means by depth or strength, with what they are set against",
    "overall": "each run's head figures over all its trials",
    "heat-maps": "rates by layer and strength",
    "curves": "curves over layers, such as cosines with the concept vector",
    "maps": "maps of means, such as those of activation patching",
    "ladder": "rival explanations, excluded or not",
}
"""Every kind of figure, with what it shows."""

Axis = Literal["depth", "strength", "size"]


@dataclass(frozen=True, slots=True)
class Measured:
    """Holds a value with its 95 % interval and the number of observations it rests on."""

    value: float
    low: float | None = None
    high: float | None = None
    count: int | None = None
    hits: int | None = None
    """Number of observations that hold, for rates."""

    @classmethod
    def of(cls, value: Rate | Mean) -> Measured | None:
        """Take a rate or a mean; ``None`` where nothing was measured."""
        if value.value is None:
            return None
        if isinstance(value, Rate):
            return cls(value.value, value.low, value.high, value.trials, value.successes)
        return cls(value.value, value.low, value.high, value.count)

    @property
    def beyond_zero(self) -> bool:
        """Tell whether the interval does not hold 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


@dataclass(frozen=True, slots=True)
class PlottedPoint:
    """Is a point of a line."""

    x: float
    measured: Measured


@dataclass(frozen=True, slots=True)
class Series:
    label: str
    spots: tuple[PlottedPoint, ...]
    order: int
    """Which colour, dash and marker it has, the same in every panel."""


@dataclass(frozen=True, slots=True)
class Level:
    """Says what lines are set against: one value whatever x is, e.g. the false-alarm rate."""

    label: str
    measured: Measured
    order: int | None = None
    """The line it belongs to; ``None`` where it belongs to all."""


@dataclass(frozen=True, slots=True)
class FittedLine:
    """Is a straight line through points, on the axis as it is drawn."""

    label: str
    """Says its slope."""
    ends: tuple[tuple[float, float], tuple[float, float]]
    """x and value of both ends."""
    order: int
    """The line whose points it goes through."""


@dataclass(frozen=True, slots=True)
class LinePanel:
    title: str
    x: str
    y: str
    lines: tuple[Series, ...]
    levels: tuple[Level, ...] = ()
    share: bool = False
    """Values are shares: the axis goes from 0 to 100 %."""
    ticks: tuple[tuple[float, str], ...] = ()
    """Places on a logarithmic axis with their names; where there are none, the axis follows its points."""
    depth: bool = False
    """Whether x is a depth: its axis goes from 0 to 1, so that figures of different models can be laid side by side."""
    fits: tuple[FittedLine, ...] = ()


@dataclass(frozen=True, slots=True)
class DotPanel:
    """Shows values side by side: a row for each figure, a mark in it for each run."""

    title: str
    x: str
    rows: tuple[str, ...]
    """Names of the rows, from top to bottom."""
    lines: tuple[Series, ...]
    """A line for each run; the x of a spot is the place of its row, from 0."""
    share: bool = False


@dataclass(frozen=True, slots=True)
class CellPanel:
    """Shows a value for every row and column."""

    title: str
    x: str
    y: str
    rows: tuple[str, ...]
    """Names of the rows, from top to bottom."""
    columns: tuple[str, ...]
    cells: dict[tuple[str, str], Measured]
    share: bool
    """Values are shares; others go in two directions from 0 and are shaded where their interval does not hold 0."""
    largest: float = 1.0
    """Value that gets the deepest shade, in either direction."""


@dataclass(frozen=True, slots=True)
class RungPanel:
    title: str
    rungs: tuple[str, ...]
    """Rungs from the bottom up."""
    runs: tuple[str, ...]
    places: dict[tuple[str, str], Rung]
    """Rung and run -> where it stands."""


Panel = LinePanel | DotPanel | CellPanel | RungPanel


@dataclass(frozen=True, slots=True)
class PaperFigure:
    kind: PictureKind
    panels: tuple[Panel, ...]
    caption: str
    """Caption in whole sentences: what is drawn, what the intervals are, and n."""
