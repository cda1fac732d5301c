"""Maps of means as pictures: blue towards one end, orange towards the other, pale where nothing is shown."""

from __future__ import annotations

from html import escape

from mlxintro.analysis.results import ValueMap
from mlxintro.rendering.text import cell_text

_WIDE, _HIGH, _LEFT, _TOP = 74, 20, 96, 66
_UP, _DOWN = "#0b5cad", "#b3541e"
_LABEL = 12
"""Characters of a column's label, which is turned."""


def value_map_svg(map_: ValueMap) -> str:
    """Every cell with its value, and its interval as a tip; dashed where the interval holds 0."""
    wide = _WIDE if len(map_.columns) <= _LABEL else _HIGH * 2
    width, height = _LEFT + wide * len(map_.columns), _TOP + _HIGH * len(map_.rows)
    parts = []
    for i, column in enumerate(map_.columns):
        x = _LEFT + wide * i + wide / 2
        turned = f'transform="rotate(-30 {x} {_TOP - 8})"'
        parts.append(f'<text x="{x}" y="{_TOP - 8}" font-size="10" {turned}>{escape(column)}</text>')
    for r, row in enumerate(map_.rows):
        y = _TOP + _HIGH * r
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 14}" font-size="11" text-anchor="end">{escape(row)}</text>')
        for i, column in enumerate(map_.columns):
            parts.append(_cell(map_, row, column, _LEFT + wide * i, y, wide))
    note = f"<br>{escape(map_.note)}" if map_.note else ""
    caption = f"<figcaption>{escape(map_.title)} ({escape(map_.unit)}){note}</figcaption>"
    drawing = f'<svg role="img" width="{width}" height="{height}" viewBox="0 0 {width} {height}">{"".join(parts)}</svg>'
    return f"<figure>{caption}{drawing}</figure>"


def _cell(map_: ValueMap, row: str, column: str, x: float, y: float, wide: float) -> str:
    one = map_.cells.get((row, column))
    if one is None or one.value is None:
        return ""
    strength = min(1.0, abs(one.value) / map_.largest) if map_.largest else 0.0
    shown = one.beyond_zero
    fill = _UP if one.value > 0 else _DOWN
    stroke = "" if shown else ' stroke="#bbb" stroke-dasharray="2 2"'
    opacity = strength if shown else 0.0
    dark = opacity > 0.6
    tip = escape(f"{row}, {column}: {cell_text(one)}")
    return (
        f'<g><title>{tip}</title><rect x="{x}" y="{y}" width="{wide - 2}" height="{_HIGH - 2}" fill="{fill}" '
        f'fill-opacity="{opacity:.2f}"{stroke}/><text x="{x + wide / 2 - 1}" y="{y + 13}" font-size="10" '
        f'text-anchor="middle" fill="{"#fff" if dark else "#222"}">{one.value:+.2f}</text></g>'
    )
