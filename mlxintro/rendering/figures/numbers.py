"""The numbers that a figure shows, as rows for a program and as a table for a paper."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlxintro.analysis.results import Table
from mlxintro.rendering.figures.panels import CellPanel, DotPanel, LinePanel, Measured, PaperFigure, RungPanel

NUMBER_COLUMNS = {
    "panel": "title of the panel",
    "series": "line, run, row of a map, or rung",
    "x": "place on the axis, column of a map, or figure; empty for what holds for every x",
    "value": "rate between 0 and 1, or mean",
    "low": "lower end of the 95 % interval",
    "high": "upper end of the 95 % interval",
    "n": "trials or concepts it rests on",
    "hits": "of rates: how many of n hold",
    "state": "of rungs: excluded, not excluded or not tested",
    "p": "of rungs: the largest p value among the comparisons it needs",
}
"""Columns of a figure's CSV, with what each holds."""


def records(figure: PaperFigure) -> Iterator[dict[str, Any]]:
    """Return a row for every value that a figure shows; all rows have the columns of ``NUMBER_COLUMNS``."""
    for panel in figure.panels:
        if isinstance(panel, LinePanel):
            for level in panel.levels:
                yield _record(panel.title, level.label, None, level.measured)
            for line in panel.lines:
                for spot in line.spots:
                    yield _record(panel.title, line.label, spot.x, spot.measured)
            for fit in panel.fits:
                for x, value in fit.ends:
                    yield _record(panel.title, f"fit: {fit.label}", x, Measured(value))
        elif isinstance(panel, DotPanel):
            for line in panel.lines:
                for spot in line.spots:
                    yield _record(panel.title, line.label, panel.rows[int(spot.x)], spot.measured)
        elif isinstance(panel, CellPanel):
            for (row, column), measured in panel.cells.items():
                yield _record(panel.title, row, column, measured)
        else:
            yield from _rungs(panel)


def _record(panel: str, series: str, x: float | str | None, measured: Measured | None, **more: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(NUMBER_COLUMNS)
    row |= {"panel": panel, "series": series, "x": x}
    if measured is not None:
        row |= {"value": measured.value, "low": measured.low, "high": measured.high}
        row |= {"n": measured.count, "hits": measured.hits}
    return row | more


def _rungs(panel: RungPanel) -> Iterator[dict[str, Any]]:
    for (rung, run), found in panel.places.items():
        yield _record(panel.title, rung, run, None, state=found.state, p=found.p)


def number_table(figure: PaperFigure) -> Table:
    """Return the same numbers as a table for a paper; columns that hold nothing are left out."""
    rows = list(records(figure))
    if figure.kind == "ladder":
        columns: tuple[str, ...] = ("rung", "run", "state", "p")
        shown = [(row["series"], row["x"], row["state"], "" if row["p"] is None else f"{row['p']:.2g}") for row in rows]
        return Table("numbers", "Rival explanations", columns, tuple(shown))
    several = len({row["panel"] for row in rows}) > 1
    with_n = any(row["n"] is not None for row in rows)
    made = []
    for row in rows:
        x = "all" if row["x"] is None else f"{row['x']:.2f}" if isinstance(row["x"], float) else row["x"]
        share = row["hits"] is not None
        value, interval = _value(row, share), _interval(row, share)
        n = (f"{row['hits']}/{row['n']}" if share else "" if row["n"] is None else str(row["n"]),) if with_n else ()
        made.append((*((row["panel"],) if several else ()), row["series"], x, value, interval, *n))
    names = (*(("panel",) if several else ()), "series", "x", "value", "95 % interval", *(("n",) if with_n else ()))
    return Table("numbers", "Numbers of the figure", names, tuple(made))


def _value(row: dict[str, Any], share: bool) -> str:
    return f"{row['value']:.1%}" if share else f"{row['value']:+.3f}"


def _interval(row: dict[str, Any], share: bool) -> str:
    if row["low"] is None or row["high"] is None:
        return ""
    if share:
        return f"{100 * row['low']:.1f} to {100 * row['high']:.1f}"
    return f"{row['low']:+.3f} to {row['high']:+.3f}"


def latex(table: Table, caption: str, label: str) -> str:
    """Write a table for LaTeX with the rules of the package booktabs."""
    import pandas

    # Pandas escapes cells; columns, caption and label are left to the caller.
    frame = pandas.DataFrame([list(row) for row in table.rows], columns=[_tex(name) for name in table.columns])
    shape = "l" * len(table.columns)
    frame = frame.map(lambda cell: _tex(str(cell)))
    text: str = frame.to_latex(index=False, escape=False, caption=_tex(caption), label=label, column_format=shape)
    return text


_TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(sign, sign) for sign in text)
