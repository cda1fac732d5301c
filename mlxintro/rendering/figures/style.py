"""How figures look: readable in one column of a paper, in grey and by colour-blind readers.

Colours are those of Okabe and Ito (2008, "Color Universal Design"), in an order in which neighbours differ in lightness
too; every line also has a dash and a marker of its own, so colour alone carries nothing. Lines in an order, such as
strengths, go from light to dark.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from mlxintro.backends.errors import PrerequisiteError

Width = Literal["column", "page"]
INCHES: dict[Width, float] = {"column": 3.4, "page": 7.0}
"""Widths of a figure: one column of a two-column paper, or the page's text."""

COLOURS = ("#000000", "#D55E00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#E69F00")
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
CELLS, TWO_WAYS = "Blues", "PuOr_r"
"""Colour maps: darker is more; and orange below 0, purple above."""

_SETTINGS: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 6.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.6,
    "hatch.linewidth": 0.4,
    "figure.dpi": 200,
    "savefig.dpi": 300,
    # Text stays text: it can be searched, and edited for a journal.
    "svg.fonttype": "none",
    "text.parse_math": False,
    "pdf.fonttype": 42,
    # The same numbers give the same bytes.
    "svg.hashsalt": "mlxintro",
}


@dataclass(frozen=True, slots=True)
class Stroke:
    """Says what tells one line from the others."""

    colour: str
    dash: str
    marker: str


def stroke(order: int) -> Stroke:
    """Return the stroke of the n-th line; 28 lines differ, in grey by dash and marker."""
    within, again = order % len(COLOURS), order // len(COLOURS)
    dash, marker = DASHES[(within + again) % len(DASHES)], MARKERS[(within + again) % len(MARKERS)]
    return Stroke(COLOURS[within], dash, marker)


@contextmanager
def drawing_style() -> Iterator[None]:
    """Have matplotlib draw in this style inside the block, whatever the user's own settings are.

    Raises:
        PrerequisiteError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise PrerequisiteError("figures need matplotlib: pip install 'mlxintro[plots]'") from None
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def can_draw() -> bool:
    """Tell whether matplotlib is installed."""
    from importlib.util import find_spec

    return find_spec("matplotlib") is not None
