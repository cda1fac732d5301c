"""What experiments share when they analyse: cells of the grid with paired contrasts, a map, a table and a verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from mlxintro.analysis.contrasts import OPTIMISM, Contrast, contrast, judge, verdict
from mlxintro.analysis.results import Cell, HeatMap, Row, Table, Verdict, VerdictKind
from mlxintro.analysis.stats import Rate
from mlxintro.analysis.tally import Place
from mlxintro.ladder.contrasted import ContrastedRival, contrasted_ladder, with_untested
from mlxintro.ladder.rungs import Ladder
from mlxintro.protocol.study import Study


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
    """Collects cells as they are worked out one by one, and says what they come to together."""

    map_name: str
    map_title: str
    study: Study
    rivals: Sequence[ContrastedRival]
    """Rival explanations that the contrasts of a cell test, in order, and after them what only ``certify`` tests."""
    contrasts: dict[Place, list[Contrast]] = field(default_factory=dict)
    """All that were run have to be above zero for an effect; those without pairs were not run."""
    weaker: dict[Place, list[Contrast]] = field(default_factory=dict)
    """Contrasts that a lesser finding needs."""
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
        found = judge(self._tested)
        ladder = self.ladder
        # An effect is claimed with what is left open, a missing one is not.
        claimed = effect if ladder is None else with_untested(effect, ladder)
        card = verdict(found, claimed, none, self.evidence())
        if lesser is None or card.kind != "no effect shown":
            return card
        less = judge(self.weaker)
        return Verdict(*lesser, tuple(self.evidence())) if less.effect else card

    @property
    def _tested(self) -> dict[Place, list[Contrast]]:
        return {place: [one for one in contrasts if one.pairs] for place, contrasts in self.contrasts.items()}

    @property
    def ladder(self) -> Ladder | None:
        """Return the rival explanations of the effect in the strongest cell; ``None`` without cells."""
        if not self.contrasts:
            return None
        best = judge(self._tested).best
        place = next(iter(self.contrasts)) if best is None else best
        own: list[Contrast | None] = [*self.contrasts[place]]
        own += [None] * (len(self.rivals) - len(own))
        several = f", the strongest of {len(self.contrasts)} cells" if len(self.contrasts) > 1 else ""
        where = f"layer {place[0]}, strength {place[1]:g}{several}"
        return contrasted_ladder(list(zip(self.rivals, own, strict=True)), self.study, where, len(self.contrasts))

    def evidence(self) -> list[str]:
        """Return one line for each rival, and the commands that test what is not tested."""
        ladder = self.ladder
        return [] if ladder is None else [f"judged on {ladder.where}, at p < {ladder.alpha:g}", *ladder.lines]

    @property
    def heat_maps(self) -> tuple[HeatMap, ...]:
        """Return the map of all cells; none without cells."""
        if not self.rates:
            return ()
        layers, strengths = (tuple(sorted(set(axis))) for axis in zip(*self.rates, strict=True))
        return (HeatMap(self.map_name, self.map_title, layers, strengths, self.rates, self.study.unit or "raw"),)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Return what has to be said of a best cell among several."""
        return (OPTIMISM,) if len(self.rates) > 1 else ()

    def table(self, title: str, columns: Sequence[str], note: str = "") -> Table:
        """Return the table of all cells."""
        return Table("cells", title, ("layer", "strength", *columns), tuple(self.rows), note)
