"""One language of colour, in a dark and a light theme: a colour for each role of a trial's class, and a ramp for rates.

Nothing is said by colour alone: a class has a sign and a word, a cell its number. ``tests/test_tui_colours.py`` holds
every colour against its background by the contrast of WCAG 2.
"""

from __future__ import annotations

from collections.abc import Mapping

from mlxintro.analysis.trial_classes import ColourRole
from mlxintro.ladder.rungs import RungState

DARK: Mapping[ColourRole, str] = {
    "hit": "#5fd787",
    "partial": "#ffb454",
    "leak": "#5fd7d7",
    "quiet": "#a8a8a8",
    "broken": "#e08fe0",
    "refusal": "#8fb0ff",
    "alarm": "#ff8a8a",
    "open": "#d0d0d0",
}
LIGHT: Mapping[ColourRole, str] = {
    "hit": "#005a1e",
    "partial": "#6b3d00",
    "leak": "#004f54",
    "quiet": "#484848",
    "broken": "#75007a",
    "refusal": "#00308f",
    "alarm": "#960000",
    "open": "#303030",
}
RUNG_ROLES: Mapping[RungState, ColourRole] = {"excluded": "hit", "not excluded": "alarm", "not tested": "open"}
"""A rung's state in the same colours: good for the claim, against it, undecided."""
RAMP = (
    ("#440154", "#ffffff"),
    ("#443983", "#ffffff"),
    ("#31688e", "#ffffff"),
    ("#21786f", "#ffffff"),
    ("#35b779", "#000000"),
    ("#90d743", "#000000"),
    ("#fde725", "#000000"),
)
"""Viridis in seven steps (van der Walt and Smith 2015); with the colour of the text on it; it rises in grey, too."""


def role_colour(role: ColourRole, *, dark: bool) -> str:
    """Return the colour of a role in a dark or light theme, as hex."""
    return (DARK if dark else LIGHT)[role]


def ramp_style(share: float) -> str:
    """Return the style of a cell for a share from 0 to 1: text on its step of the ramp."""
    back, text = RAMP[min(len(RAMP) - 1, max(0, int(share * len(RAMP))))]
    return f"{text} on {back}"
