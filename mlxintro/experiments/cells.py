"""What experiments share when they analyse: cells of the grid with paired contrasts, a map, a table and a verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from mlxintro.analysis.contrasts import OPTIMISM, Contrast, contrast, in_words, judge, verdict
from mlxintro.analysis.results import Cell, HeatMap, Row, Table, Verdict, VerdictKind
from mlxintro.analysis.stats import Rate
from mlxintro.analysis.tally import Place


def places_of(rows: Iterable[Row]) -> list[Place]:
    """List the layers and strengths that were injected at, sorted."""
    return sorted({(row.layer, row.strength) for row in rows if row.layer is not None and row.strength is not None})


def rows_at(rows: Iterable[Row], place: Place) -> list[Row]:
    """Choose the trials of one cell."""
    return [row for row in rows if (row.layer, row.strength) == place]


def paired(own: Sequence[Row], other: Sequence[Row], right: Callable[[Row], bool]) -> Contrast:
    """Compare trials with those of the same number: the difference of being right, by concept."""
    before = {row.trial: float(right(row)) for row in other}
    return contrast((row.concept or "", float(right(row)) - before[row.trial]) for row in own if row.trial in before)


@dataclass(slots=True)
class CellReport:
    """Cells as they are worked out one by one, and what they come to together."""

    map_name: str
    map_title: str
    unit: str
    labels: Sequence[str]
    """Name the contrasts of a cell, in order, for lines of evidence."""
    contrasts: dict[Place, list[Contrast]] = field(default_factory=dict)
    """All of them have to be above zero for an effect."""
    weaker: dict[Place, list[Contrast]] = field(default_factory=dict)
    """Those that a lesser finding needs."""
    rates: dict[Place, Rate] = field(default_factory=dict)
    rows: list[tuple[Cell, ...]] = field(default_factory=list)

    def add(
        self,
        place: Place,
        rate: Rate,
        contrasts: Iterable[Contrast],
        row: Iterable[Cell],
        *,
        weaker: Iterable[Contrast] = (),
    ) -> None:
        """Take in one cell.

        Args:
            rate: drawn on the map.
            row: of the table, without layer and strength.
            weaker: contrasts that a lesser finding needs.
        """
        self.rates[place] = rate
        self.contrasts[place] = list(contrasts)
        self.weaker[place] = list(weaker)
        self.rows.append((*place, *row))

    def card(self, effect: str, none: str, lesser: tuple[VerdictKind, str] | None = None) -> Verdict:
        """Judge all cells together.

        Args:
            effect: headline where all contrasts of some cell are above zero.
            none: headline where they are not.
            lesser: kind and headline where only the weaker contrasts are.
        """
        found = judge(self.contrasts)
        card = verdict(found, effect, none, self.evidence(found.best))
        if lesser is None or card.kind != "no effect shown":
            return card
        less = judge(self.weaker)
        return Verdict(*lesser, tuple(self.evidence(less.best))) if less.effect else card

    def evidence(self, place: Place | None) -> list[str]:
        """One line for each contrast of a cell."""
        if place is None:
            return []
        return [f"{label}: {in_words(one)}" for label, one in zip(self.labels, self.contrasts[place], strict=False)]

    @property
    def heat_maps(self) -> tuple[HeatMap, ...]:
        """The map of all cells; none without cells."""
        if not self.rates:
            return ()
        layers, strengths = (tuple(sorted(set(axis))) for axis in zip(*self.rates, strict=True))
        return (HeatMap(self.map_name, self.map_title, layers, strengths, self.rates, self.unit),)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What has to be said of a best cell among several."""
        return (OPTIMISM,) if len(self.rates) > 1 else ()

    def table(self, title: str, columns: Sequence[str], note: str = "") -> Table:
        """The table of all cells."""
        return Table("cells", title, ("layer", "strength", *columns), tuple(self.rows), note)
