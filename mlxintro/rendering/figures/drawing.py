"""A figure's panels on paper, by matplotlib. No window is opened and no state of matplotlib's is changed."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlxintro.backends.errors import UsageError
from mlxintro.rendering.figures.cells import draw_cells, draw_rungs
from mlxintro.rendering.figures.lines import draw_dots, draw_lines
from mlxintro.rendering.figures.panels import CellPanel, DotPanel, LinePanel, Panel, PaperFigure, RungPanel
from mlxintro.rendering.figures.rates import span
from mlxintro.rendering.figures.style import INCHES, Width, drawing_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

ENDINGS = (".pdf", ".png", ".svg")
_METADATA: dict[str, dict[str, Any]] = {
    # Dates would make two files of the same numbers differ.
    ".pdf": {"CreationDate": None, "Producer": None, "Creator": "mlxintro"},
    ".png": {"Software": "mlxintro"},
    ".svg": {"Date": None, "Creator": "mlxintro"},
}


def draw(figure: PaperFigure, width: Width = "column") -> Canvas:
    """Draw a figure: panels below each other in a column, side by side on a page.

    Raises:
        PrerequisiteError: matplotlib is not installed.
    """
    with drawing_style():
        from matplotlib.figure import Figure as Canvas

        across = 1 if width == "column" else min(_across(figure), len(figure.panels))
        down = math.ceil(len(figure.panels) / across)
        each = INCHES[width] / across
        rows = [figure.panels[row * across : (row + 1) * across] for row in range(down)]
        heights = [max(_height(panel, each) for panel in row) for row in rows]
        rows_of_legend = math.ceil(len(_entries(figure)) / _columns(figure, INCHES[width]))
        size = (INCHES[width], sum(heights) + 0.14 * rows_of_legend)
        canvas = Canvas(figsize=size, layout="constrained")
        grid = canvas.subplots(down, across, squeeze=False, gridspec_kw={"height_ratios": heights})
        for number, axes in enumerate(grid.flat):
            if number < len(figure.panels):
                panel = figure.panels[number]
                _DRAWERS[type(panel)](axes, panel, each)
            else:
                axes.set_axis_off()
        _legend(canvas, figure, INCHES[width])
        # Laid out here, in this style, so that saving under other settings moves nothing.
        canvas.draw_without_rendering()
        return canvas


def save(canvas: Canvas, place: Path, ending: str) -> None:
    """Write a drawn figure as PDF, PNG or SVG; the same numbers give the same bytes."""
    with drawing_style():
        canvas.savefig(place, format=ending.removeprefix("."), metadata=_METADATA[ending])


def svg_text(figure: PaperFigure, prefix: str, width: Width = "page") -> str:
    """Draw a figure as an SVG element for a page of HTML.

    Args:
        figure: what it shows.
        prefix: of every id inside, so that several elements can stand on one page.
        width: how wide it is.
    """
    canvas = draw(figure, width)
    buffer = io.StringIO()
    with drawing_style():
        canvas.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = buffer.getvalue()
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}", text[text.index("<svg") :].rstrip())
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(figure.caption)}"', 1)


def check_ending(target: Path) -> str:
    """Return the ending that says which kind of file is wanted.

    Raises:
        UsageError: none that figures are written as.
    """
    ending = target.suffix.lower()
    if ending not in ENDINGS:
        raise UsageError(f"{target} is none of .pdf, .png and .svg: choose one of these endings")
    return ending


def _across(figure: PaperFigure) -> int:
    """Count the panels that stand side by side on a page."""
    first = figure.panels[0]
    if isinstance(first, CellPanel):
        wide = max(len(panel.columns) for panel in figure.panels if isinstance(panel, CellPanel))
        return 3 if wide <= 5 else 2 if wide <= 10 else 1
    if isinstance(first, LinePanel):
        many = max(len(panel.lines) for panel in figure.panels if isinstance(panel, LinePanel))
        return 1 if many > 8 else 2 if len(figure.panels) in (2, 4) else 3
    return 1


def _height(panel: Panel, width: float) -> float:
    """Return a panel's height in inches, its legend included."""
    if isinstance(panel, CellPanel):
        return 0.75 + (0.5 if len(panel.columns) > 6 else 0.0) + max(0.24 * len(panel.rows), 0.5)
    if isinstance(panel, RungPanel):
        return 0.7 + 0.2 * len(panel.rungs)
    if isinstance(panel, DotPanel):
        return 0.6 + 0.3 * len(panel.rows)
    return 2.35 if panel.ticks else 1.75


def _entries(figure: PaperFigure) -> dict[str, str]:
    """Name every line and level once for the legend, with how many observations its points rest on."""
    counts: dict[str, list[int | None]] = {}
    for panel in figure.panels:
        if isinstance(panel, LinePanel | DotPanel):
            for line in panel.lines:
                counts.setdefault(line.label, []).extend(spot.measured.count for spot in line.spots)
        if isinstance(panel, LinePanel):
            for level in panel.levels:
                counts.setdefault(level.label, []).append(level.measured.count)
            for fit in panel.fits:
                counts.setdefault(fit.label, [])
    known = {label: sorted(count for count in found if count is not None) for label, found in counts.items()}
    return {label: f"{label} (n = {span(found)})" if found else label for label, found in known.items() if label}


def _columns(figure: PaperFigure, width: float) -> int:
    longest = max(map(len, _entries(figure).values()), default=1)
    return max(1, int((width - 0.2) / (0.055 * longest + 0.5)))


def _legend(canvas: Canvas, figure: PaperFigure, width: float) -> None:
    """Put one legend for all panels under them, where it covers nothing."""
    said = _entries(figure)
    handles: dict[str, Any] = {}
    for axes in canvas.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    shown = [label for label in said if label in handles]
    if shown:
        canvas.legend(
            [handles[label] for label in shown],
            [said[label] for label in shown],
            loc="outside lower center",
            ncols=min(_columns(figure, width), len(shown)),
            frameon=False,
            handlelength=2.6,
            columnspacing=1.0,
        )


_DRAWERS: dict[type, Callable[[Axes, Any, float], None]] = {
    LinePanel: draw_lines,
    DotPanel: draw_dots,
    CellPanel: draw_cells,
    RungPanel: draw_rungs,
}
