"""Runs of models with different numbers of layers side by side, by depth and strength."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from mlxintro.analysis.across.units import ComparedRun
from mlxintro.analysis.results import Cell, Table
from mlxintro.analysis.stats import Rate, difference, exceeds, holm
from mlxintro.analysis.tally import FigureTally

STEP = 0.1
"""Depths to the nearest tenth share a row."""


def depth_table(runs: Sequence[ComparedRun]) -> Table:
    """Compare the first head figure, where it is a rate, at every depth and strength that two runs or more have.

    Returns:
        a table of rates, of each later run minus the first, and the smallest p value of the row after Holm.
    """
    figure = runs[0].display.figures[0] if runs[0].display.figures else None
    cells: dict[tuple[int, float], dict[int, FigureTally]] = defaultdict(dict)
    for number, run in enumerate(runs):
        for row in run.rows:
            if figure is None or row.layer is None or row.strength is None or not figure.case.holds(row):
                continue
            place = (round(row.layer / run.layers / STEP), row.strength)
            cells[place].setdefault(number, FigureTally(figure)).add(row, row.times)
    shared = {place: found for place, found in sorted(cells.items()) if len(found) > 1}
    if figure is None or figure.kind != "rate" or len({depth for depth, _ in shared}) < 2:
        return Table("by_depth", "", (), ())
    names = [run.run.name for run in runs]
    columns = ("depth", "strength", *names, *(f"{name} - {names[0]}" for name in names[1:]), "p (Holm)")
    rates = {
        place: [tally.value if (tally := found.get(number)) else None for number in range(len(runs))]
        for place, found in shared.items()
    }
    tests = {place: _smallest(values) for place, values in rates.items()}
    adjusted = dict(zip(tests, holm(list(tests.values())), strict=True))
    rows: list[tuple[Cell, ...]] = []
    for (depth, strength), values in rates.items():
        gaps = [_minus(value, values[0]) for value in values[1:]]
        rows.append((f"{depth * STEP:.1f}", f"{strength:g}", *values, *gaps, f"{adjusted[depth, strength]:.2g}"))
    note = (
        "depth: layer over number of layers, to the nearest tenth; differences with Newcombe's intervals; p: any run "
        "differs from the first, two-sided Fisher test, adjusted for runs and cells"
    )
    return Table("by_depth", f"{figure.label}, {figure.case.label}, by depth", columns, tuple(rows), note)


def _minus(value: Cell, first: Cell) -> Cell:
    return difference(value, first) if isinstance(value, Rate) and isinstance(first, Rate) else None


def _smallest(values: Sequence[object]) -> float:
    """Return the smallest two-sided p value of later runs against the first, adjusted for how many there are."""
    first, found = values[0], []
    for value in values[1:]:
        if isinstance(value, Rate) and isinstance(first, Rate):
            sides = [exceeds(value, first), exceeds(first, value)]
            found.append(min(1.0, 2 * min(side for side in sides if side is not None)))
    return min([min(1.0, len(found) * p) for p in found], default=1.0)
