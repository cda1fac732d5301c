"""An analysis as lines of text and as plain data; the same for the terminal, the app and reports."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from mlxintro.analysis.results import Analysis, Cell, Figure, HeatMap, Plot, Table, ValueMap
from mlxintro.analysis.stats import Difference, Mean, Rate
from mlxintro.grading.correction import CorrectedRate
from mlxintro.rendering.grids import NOTHING, fitted, fitted_line, grid

SHADES = " ░▒▓█"
_BAR = 44
_MANY = 12
"""Columns of a map from which on they are narrow."""


def cell_text(value: Cell) -> str:
    """Return a value with its interval.

    ``12.0 % (3/25, 4.2-30.0)``, ``+8.0 points (-1.2 to +17.1)``, ``+0.42 (...)``.
    """
    match value:
        case None:
            return NOTHING
        case Rate():
            if value.value is None:
                return NOTHING
            return f"{value.value:.1%} ({value.successes}/{value.trials}, {100 * value.low:.1f}-{100 * value.high:.1f})"
        case CorrectedRate():
            if value.value is None:
                return NOTHING
            return f"{value.value:.1%} ({100 * value.low:.1f}-{100 * value.high:.1f})"
        case Difference():
            if value.value is None:
                return NOTHING
            return f"{100 * value.value:+.1f} points ({100 * value.low:+.1f} to {100 * value.high:+.1f})"
        case Mean():
            if value.value is None:
                return NOTHING
            if value.low is None or value.high is None:
                return f"{value.value:+.3f} (n = {value.count})"
            return f"{value.value:+.3f} ({value.low:+.3f} to {value.high:+.3f}, n = {value.count})"
        case float():
            return f"{value:.4g}"
        case _:
            return str(value)


def cell_data(value: Cell) -> Any:
    """Return a value as JSON takes it."""
    return value.as_dict() if isinstance(value, Rate | CorrectedRate | Difference | Mean) else value


def table_lines(table: Table, width: int = 0) -> list[str]:
    """Return a table with its title and its note; a table that is wider than ``width`` has a block for each row."""
    numeric = [
        i
        for i in range(len(table.columns))
        if table.rows and all(isinstance(row[i], int | float) for row in table.rows)
    ]
    rows = [[cell_text(cell) for cell in row] for row in table.rows]
    return [table.title, *fitted(table.columns, rows, numeric, width), *_noted(table.note, width)]


def heat_map_lines(map_: HeatMap) -> list[str]:
    """Return the layers with the deepest on top, strengths across; in a cell a shade and a percentage, or ``-``."""

    def text(layer: int, strength: float) -> str:
        rate = map_.cells.get((layer, strength))
        if rate is None or rate.value is None:
            return NOTHING
        return f"{shade(rate.value) * 2} {rate.value:4.0%}"

    header = ["layer", *(f"{strength:g}" for strength in map_.strengths)]
    rows = [[str(layer), *(text(layer, strength) for strength in map_.strengths)] for layer in downwards(map_.layers)]
    lines = grid(header, rows, range(len(header)))
    return [f"{map_.title} (the deepest layer on top, strengths across, {map_.unit})", *lines]


def value_map_lines(map_: ValueMap) -> list[str]:
    """Return the rows and columns with a value in each cell, shaded where its interval does not hold 0.

    Many columns are narrow: their labels stand below, and cells have one decimal.
    """
    narrow = len(map_.columns) > _MANY
    digits = 1 if narrow else 2

    def text(row: str, column: str) -> str:
        one = map_.cells.get((row, column))
        if one is None or one.value is None:
            return NOTHING
        strength = min(1.0, abs(one.value) / map_.largest) if one.beyond_zero and map_.largest else 0.0
        return f"{shade(strength)}{one.value:+.{digits}f}"

    rows = [[row, *(text(row, column) for column in map_.columns)] for row in map_.rows]
    heads = [column.split()[0] if narrow else column for column in map_.columns]
    lines = grid(["", *heads], rows, range(1 + len(map_.columns)))
    labels = _noted(", ".join(map_.columns)) if narrow else []
    title = f"{map_.title} ({map_.unit}; shaded where the interval does not hold 0)"
    return [title, *lines, *labels, *_noted(map_.note)]


def _noted(note: str, width: int = 0) -> list[str]:
    if note and width:
        return textwrap.wrap(f"({note})", width)
    return [f"({note})"] if note else []


def shade(share: float) -> str:
    """Return a shade character for a share between 0 and 1, one for each quarter; only 0 itself is blank."""
    return SHADES[math.ceil(share * (len(SHADES) - 1))]


def downwards(layers: Iterable[int]) -> list[int]:
    """Return the layers in the order in which every map has them: the deepest on top."""
    return sorted(layers, reverse=True)


def plot_lines(plot: Plot) -> list[str]:
    """Return every curve as rows of bars, over the range of all values and 0."""
    values = [point.y for curve in plot.curves for point in curve.points]
    low, high = min([0.0, *values]), max([0.0, *values])
    lines = [f"{plot.title} ({plot.y} by {plot.x}; bars from {low:.3g} to {high:.3g})"]
    for curve in plot.curves:
        lines.append(f"  {curve.label}")
        for point in curve.points:
            bar = "█" * round(_BAR * (point.y - low) / ((high - low) or 1.0))
            lines.append(f"    {point.x:>8g}  {bar:<{_BAR}}  {point.y:.3g}")
    return lines


def figure_lines(figures: Sequence[Figure], width: int = 0) -> list[str]:
    """Return a line for each figure; where that is wider than ``width``, the note or also the value stand below."""
    found = []
    column = max((len(figure.label) for figure in figures), default=0)
    for figure in figures:
        text = cell_text(figure.value)
        value = "no trials" if text == NOTHING else text
        note = "" if text == NOTHING else figure.note
        found += fitted_line(f"{figure.label:<{column}}", value, note, width)
    return found


def verdict_lines(analysis: Analysis) -> list[str]:
    """Return the verdict card, framed by rules; one screen."""
    verdict = analysis.verdict
    if verdict is None:
        return []
    title = f"── verdict: {verdict.kind} "
    width = max(len(title), 78)
    return [
        title.ljust(width, "─"),
        f"  {verdict.headline}",
        *(f"  · {line}" for line in verdict.evidence),
        "─" * width,
    ]


def lines(analysis: Analysis, *, curves: bool = False, width: int = 0) -> list[str]:
    """Return the whole analysis for a terminal, blocks separated by empty lines. Remarks are left to the caller.

    Args:
        analysis: what is said.
        curves: with every map, and every plot as rows of bars.
        width: columns there are, for figures and tables; 0 where lines may be of any length.
    """
    blocks = [verdict_lines(analysis), figure_lines(analysis.figures, width)]
    blocks += [heat_map_lines(map_) for map_ in analysis.heat_maps]
    blocks += [value_map_lines(map_) for map_ in analysis.value_maps if curves or not map_.more]
    blocks += [table_lines(table, width) for table in analysis.tables if table.rows]
    blocks += [plot_lines(plot) for plot in analysis.plots] if curves else []
    return "\n\n".join("\n".join(block) for block in blocks if block).splitlines()


def table_data(table: Table) -> dict[str, Any]:
    """Return a table as plain data."""
    return {
        "name": table.name,
        "title": table.title,
        "columns": list(table.columns),
        "rows": [[cell_data(cell) for cell in row] for row in table.rows],
        "note": table.note,
    }


def as_data(analysis: Analysis) -> dict[str, Any]:
    """Return the whole analysis as plain data."""
    return {
        "verdict": asdict(analysis.verdict) if analysis.verdict else None,
        "ladder": analysis.ladder.as_dict() if analysis.ladder else None,
        "figures": {
            figure.name: {"label": figure.label, "value": cell_data(figure.value), "note": figure.note}
            for figure in analysis.figures
        },
        "heat_maps": [
            {
                "name": map_.name,
                "title": map_.title,
                "unit": map_.unit,
                "cells": [
                    {"layer": layer, "strength": strength, **rate.as_dict()}
                    for (layer, strength), rate in sorted(map_.cells.items())
                ],
            }
            for map_ in analysis.heat_maps
        ],
        "value_maps": [
            {
                "name": map_.name,
                "title": map_.title,
                "unit": map_.unit,
                "cells": [{"row": row, "column": column, **one.as_dict()} for (row, column), one in map_.cells.items()],
            }
            for map_ in analysis.value_maps
        ],
        "plots": [asdict(plot) for plot in analysis.plots],
        "tables": [table_data(table) for table in analysis.tables],
        "remarks": list(analysis.remarks),
        "data": dict(analysis.data),
    }
