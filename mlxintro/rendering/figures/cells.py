"""Panels of cells: heat maps of rates, maps of means, and the ladder of rival explanations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlxintro.rendering.figures.panels import CellPanel, Measured, RungPanel
from mlxintro.rendering.figures.style import CELLS, TWO_WAYS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

_DARK = 0.55
"""Shade from which on text in a cell is white."""
_SMALL_PRINT = 0.42
"""Inches that a cell needs for its interval."""
_DIGITS = 0.24
"""Inches that a cell needs for its value."""
_STATES = {"excluded": ("#222222", "white", "excluded"), "not excluded": ("white", "#222222", "not excl.")}


def draw_cells(axes: Axes, panel: CellPanel, width: float) -> None:
    """Draw a shade and a value in every cell, with its interval where there is room."""
    import matplotlib

    map_ = matplotlib.colormaps[CELLS if panel.share else TWO_WAYS]
    room = (width - 0.6) / max(1, len(panel.columns))
    for r, row in enumerate(panel.rows):
        for c, column in enumerate(panel.columns):
            measured = panel.cells.get((row, column))
            if measured is None:
                axes.text(c, r, "–", ha="center", va="center", fontsize=6, color="#888888")
            else:
                _cell(axes, panel, measured, (c, r), map_, room)
    axes.set_xlim(-0.5, len(panel.columns) - 0.5)
    axes.set_ylim(len(panel.rows) - 0.5, -0.5)
    slanted = sum(map(len, panel.columns)) * 0.055 > width - 0.6
    axes.set_xticks(range(len(panel.columns)), panel.columns, rotation=55 if slanted else 0)
    if slanted:
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
            label.set_rotation_mode("anchor")
    axes.set_yticks(range(len(panel.rows)), panel.rows)
    axes.tick_params(length=0, labelsize=6 if slanted else 7)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel(panel.x)
    axes.set_ylabel(panel.y)
    axes.set_title(_wrapped(panel.title, width), loc="left")


def _cell(axes: Axes, panel: CellPanel, measured: Measured, at: tuple[int, int], map_: Colormap, room: float) -> None:
    from matplotlib.patches import Rectangle

    c, r = at
    pale = not panel.share and not measured.beyond_zero
    place = measured.value if panel.share else 0.5 + 0.5 * measured.value / (panel.largest or 1.0)
    shade = "white" if pale else map_(min(1.0, max(0.0, 0.92 * place if panel.share else place)))
    dark = not pale and (measured.value > _DARK if panel.share else abs(place - 0.5) > 0.36)
    # A cell below 0 is hatched: in grey both ends are dark.
    hatch = "////" if not panel.share and not pale and measured.value < 0 else None
    axes.add_patch(
        Rectangle(
            (c - 0.48, r - 0.46),
            0.96,
            0.92,
            facecolor=shade,
            edgecolor="#bbbbbb",
            linewidth=0.4,
            linestyle="--" if pale else "-",
            hatch=hatch,
        )
    )
    ink = "white" if dark else "#222222"
    small = panel.share and room >= _SMALL_PRINT and measured.low is not None and measured.high is not None
    if room >= _DIGITS:
        text = f"{measured.value:.0%}" if panel.share else f"{measured.value:+.2f}"
        frame = {"facecolor": shade, "edgecolor": "none", "pad": 0.4} if hatch else None
        size = 6.5 if room >= 0.34 else 4.6
        axes.text(c, r - (0.14 if small else 0), text, ha="center", va="center", fontsize=size, color=ink, bbox=frame)
    if small and measured.low is not None and measured.high is not None:
        interval = f"{100 * measured.low:.0f}–{100 * measured.high:.0f}"
        axes.text(c, r + 0.25, interval, ha="center", va="center", fontsize=5, color=ink)


def draw_rungs(axes: Axes, panel: RungPanel, width: float) -> None:
    """Draw the ladder with its bottom rung below: dark where a rival is excluded, hatched where it was shown."""
    from matplotlib.patches import Rectangle

    for r, rung in enumerate(panel.rungs):
        for c, run in enumerate(panel.runs):
            found = panel.places.get((rung, run))
            face, ink, said = _STATES.get(found.state if found else "", ("#dddddd", "#222222", "not tested"))
            hatch = None
            if found is not None and found.shown and found.state == "not excluded":
                hatch, said = "///", "shown"
            box = Rectangle((c - 0.47, r - 0.43), 0.94, 0.86, facecolor=face, edgecolor="#444444", linewidth=0.5)
            if hatch:
                box.set_hatch(hatch)
            axes.add_patch(box)
            p = "" if found is None or found.p is None else f"  p {_p(found.p)}"
            frame = {"facecolor": "white", "edgecolor": "none", "pad": 0.6} if hatch else None
            axes.text(c, r, f"{said}{p}", ha="center", va="center", fontsize=6, color=ink, bbox=frame)
    axes.set_xlim(-0.5, len(panel.runs) - 0.5)
    axes.set_ylim(-0.5, len(panel.rungs) - 0.5)
    room = (width - 1.0) / max(1, len(panel.runs))
    slanted = max(map(len, panel.runs)) * 0.065 > room
    axes.set_xticks(
        range(len(panel.runs)), panel.runs, rotation=25 if slanted else 0, ha="right" if slanted else "center"
    )
    axes.set_yticks(range(len(panel.rungs)), panel.rungs)
    axes.tick_params(length=0)
    axes.set_ylabel("rung, from the bottom up")
    for spine in axes.spines.values():
        spine.set_visible(False)


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.2g}"


def _wrapped(title: str, width: float) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(title, max(20, int(width * 17))))
