"""Figures of what an analysis holds already: heat maps, maps of means, curves, and the ladder of rival explanations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from mlxintro.analysis.results import HeatMap, Plot, ValueMap
from mlxintro.backends.errors import UsageError
from mlxintro.rendering.figures.panels import (
    CellPanel,
    LinePanel,
    Measured,
    PaperFigure,
    PlottedPoint,
    RungPanel,
    Series,
)
from mlxintro.rendering.figures.rates import Drawn, span
from mlxintro.rendering.text import downwards

_Named = TypeVar("_Named", HeatMap, ValueMap, Plot)


def heat_maps(runs: Sequence[Drawn], names: Sequence[str]) -> PaperFigure:
    """Draw rates by layer and strength, the deepest layer on top."""
    known = [map_ for run in runs for map_ in run.analysis.heat_maps]
    found = [(run, map_) for run in runs for map_ in _named(run.analysis.heat_maps, names, known)]
    panels = tuple(_heat_panel(map_, run.label) for run, map_ in found)
    counts = sorted(one.count for panel in panels for one in panel.cells.values() if one.count is not None)
    n = f" n = {span(counts)} trials per cell." if counts else ""
    said = (
        f"{_titles(map_.title for _, map_ in found)}, by layer and strength. Small print: 95 % intervals (Wilson's).{n}"
    )
    return PaperFigure("heat-maps", panels, said)


def _heat_panel(map_: HeatMap, label: str) -> CellPanel:
    rows = {layer: str(layer) for layer in downwards(map_.layers)}
    columns = {strength: f"{strength:g}" for strength in map_.strengths}
    measured = {(rows[at[0]], columns[at[1]]): Measured.of(rate) for at, rate in map_.cells.items()}
    cells = {place: one for place, one in measured.items() if one is not None}
    title = f"{label}: {map_.title}" if label else map_.title
    x = f"strength ({map_.unit})" if map_.unit else "strength"
    return CellPanel(title, x, "layer", tuple(rows.values()), tuple(columns.values()), cells, share=True)


def value_maps(runs: Sequence[Drawn], names: Sequence[str]) -> PaperFigure:
    """Draw maps of means; without names those that the analysis shows first, cells whose interval holds 0 pale."""
    known = [map_ for run in runs for map_ in run.analysis.value_maps]
    found = []
    for run in runs:
        there = _named(run.analysis.value_maps, names, known)
        first = [map_ for map_ in there if not map_.more]
        found += [(run, map_) for map_ in (there if names else first or there)]
    panels = tuple(_value_panel(map_, run.label) for run, map_ in found)
    notes = "".join(f" {note[0].upper()}{note[1:]}." for note in dict.fromkeys(map_.note for _, map_ in found) if note)
    counts = sorted(one.count for panel in panels for one in panel.cells.values() if one.count is not None)
    n = f" n = {span(counts)} per cell." if counts else ""
    titles = _titles(f"{map_.title} ({map_.unit})" for _, map_ in found)
    said = f"{titles}.{notes} Cells whose 95 % interval (Student's) holds 0 are not shaded.{n}"
    return PaperFigure("maps", panels, said)


def _value_panel(map_: ValueMap, label: str) -> CellPanel:
    measured = {place: Measured.of(mean) for place, mean in map_.cells.items()}
    cells = {place: one for place, one in measured.items() if one is not None}
    title = f"{label}: {map_.title} ({map_.unit})" if label else f"{map_.title} ({map_.unit})"
    return CellPanel(title, "", "", map_.rows, map_.columns, cells, share=False, largest=map_.largest)


def curves(runs: Sequence[Drawn], names: Sequence[str]) -> PaperFigure:
    """Draw an analysis's curves; those of several runs stand in panels of their own."""
    known = [plot for run in runs for plot in run.analysis.plots]
    found = [(run, plot) for run in runs for plot in _named(run.analysis.plots, names, known)]
    panels = tuple(_curve_panel(plot, run.label) for run, plot in found)
    said = "; ".join(dict.fromkeys(plot.title for _, plot in found))
    return PaperFigure("curves", panels, f"{said[0].upper()}{said[1:]}. Bars are 95 % intervals.")


def _curve_panel(plot: Plot, label: str) -> LinePanel:
    lines = tuple(
        Series(curve.label, tuple(PlottedPoint(p.x, Measured(p.y, p.low, p.high)) for p in curve.points), order)
        for order, curve in enumerate(plot.curves)
    )
    title = f"{label}: {plot.title}" if label else plot.title
    return LinePanel(title, plot.x, f"{plot.y} (%)" if plot.share else plot.y, lines, share=plot.share)


def rung_panels(runs: Sequence[Drawn], names: Sequence[str]) -> PaperFigure:
    """Draw where every rival explanation stands, run beside run."""
    if names:
        raise UsageError("the ladder is drawn whole: leave --figure out", setting="figure")
    climbed = [(run, run.analysis.ladder) for run in runs if run.analysis.ladder is not None]
    rungs = tuple(dict.fromkeys(rung.name for _, ladder in climbed for rung in ladder))
    places = {(rung.name, run.label): rung for run, ladder in climbed for rung in ladder}
    panel = RungPanel("Rival explanations", rungs, tuple(run.label for run, _ in climbed), places)
    where = "; ".join(f"{run.label}: judged on {ladder.where}" for run, ladder in climbed)
    alphas = " and ".join(dict.fromkeys(f"{ladder.alpha:g}" for _, ladder in climbed))
    said = f"Rival explanations from the bottom up, each tested at p < {alphas}. {where}."
    return PaperFigure("ladder", (panel,), said)


def _named(there: Sequence[_Named], names: Sequence[str], known: Sequence[_Named]) -> list[_Named]:
    """Choose by name what a run has; all of it where nothing is named.

    Args:
        known: what all the runs have.

    Raises:
        UsageError: none of them has one of the names.
    """
    known_names = list(dict.fromkeys(one.name for one in known))
    for name in names:
        if name not in known_names:
            raise UsageError(f"there is no figure {name!r}: choose from {', '.join(known_names)}", setting="figure")
    return [one for one in there if not names or one.name in names]


def _titles(titles: Iterable[str]) -> str:
    said = "; ".join(dict.fromkeys(titles))
    return f"{said[:1].upper()}{said[1:]}"
