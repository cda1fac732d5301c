"""Results as bars of characters: head figures with their intervals on one axis, and classes of trials as shares."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.content import Content

from mlxintro.analysis.head_figures import Display
from mlxintro.analysis.results import Figure
from mlxintro.analysis.stats import Rate
from mlxintro.analysis.tally import CellTally, RunTally

from . import colours, head_text

_NAME, _LEAST = 24, 10
"""Columns of a name, and the fewest of an axis."""


def forest(figures: Sequence[Figure], width: int) -> list[str]:
    """Return the rates among figures with their intervals on an axis from 0 to 100 %, a line each, and the axis."""
    rates = [(one.label, one.value) for one in figures if isinstance(one.value, Rate) and one.value.value is not None]
    if not rates:
        return []
    name = min(_NAME + 10, max(cell_len(label) for label, _ in rates))
    texts = [f"{rate.successes}/{rate.trials} = {head_text.short(rate)}" for _, rate in rates]
    room = max(_LEAST, min(60, width - name - max(map(len, texts)) - 4))
    lines = []
    for (label, rate), text in zip(rates, texts, strict=True):
        lines.append(
            f"{label[:name]:<{name}}  {head_text.interval_bar(rate.low, rate.value or 0.0, rate.high, room)}  {text}"
        )
    return [*lines, f"{'':{name}}  {'0':<{room // 2}}{'50':<{room - room // 2 - 3}}100 %"]


def taxonomy(tally: RunTally, width: int, *, dark: bool) -> Content | None:
    """Return the shares of the classes: a stacked bar for each cell of the map and for the baseline, with a legend."""
    display = tally.display
    rows: list[tuple[str, CellTally]] = [("all in question", tally.case)]
    rows += [(f"layer {layer}, α {strength:g}", cell) for (layer, strength), cell in sorted(tally.cells.items())]
    rows.append(("set against", tally.baseline))
    rows = [(name, cell) for name, cell in rows if sum(cell.classes.values())]
    if not rows:
        return None
    name = max(len(label) for label, _ in rows)
    room = max(_LEAST, min(60, width - name - 10))
    lines = [_stacked(label.ljust(name), cell, display, room, dark) for label, cell in rows]
    there = [one for one in display.classes if any(cell.classes[one] for _, cell in rows)]
    legend = [Content.styled(f"{one.sign} {one.label}  ", colours.role_colour(one.role, dark=dark)) for one in there]
    return Content("\n").join([*lines, Content.assemble(*legend)])


def _stacked(label: str, cell: CellTally, display: Display, room: int, dark: bool) -> Content:
    """One bar, made of the signs of the classes: as many of each as its share of the columns."""
    total = sum(cell.classes.values())
    parts, before, used = [Content(f"{label}  ")], 0, 0
    for one in display.classes:
        before += cell.classes[one]
        columns = round(before / total * room) - used
        used += columns
        parts.append(Content.styled((one.sign.strip() or "_") * columns, colours.role_colour(one.role, dark=dark)))
    return Content.assemble(*parts, f"  n = {total}")
