"""Every colour that carries meaning can be read on what it stands on, by the contrast of WCAG 2, computed here."""

from __future__ import annotations

from typing import get_args

import pytest
from textual.color import Color
from textual.theme import BUILTIN_THEMES

from mlxintro.analysis.trial_classes import ColourRole
from mlxintro.ladder.rungs import RungState
from mlxintro.tui.app import DARK, LIGHT
from mlxintro.tui.reading.colours import RAMP, RUNG_ROLES, role_colour
from mlxintro.tui.reading.wording import RUNG_SIGNS

READABLE = 4.5
"""Least contrast of text of ordinary size: WCAG 2.2, success criterion 1.4.3."""


def luminance(colour: str) -> float:
    """Return the relative luminance of a hex colour, by WCAG 2's definition."""

    def linear(channel: int) -> float:
        share = channel / 255
        return share / 12.92 if share <= 0.04045 else float(((share + 0.055) / 1.055) ** 2.4)

    red, green, blue = Color.parse(colour).rgb
    return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, from 1 to 21."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_the_contrast_of_black_and_white_is_21_and_of_equal_colours_1() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#777777") == 1


@pytest.mark.parametrize("theme", [DARK, LIGHT])
@pytest.mark.parametrize("role", get_args(ColourRole))
def test_every_role_can_be_read_on_every_ground_of_its_theme(theme: str, role: ColourRole) -> None:
    colours = BUILTIN_THEMES[theme].to_color_system().generate()
    for ground in ("background", "surface", "panel"):
        assert contrast(role_colour(role, dark=BUILTIN_THEMES[theme].dark), colours[ground]) >= READABLE, ground


@pytest.mark.parametrize(("ground", "text"), RAMP)
def test_a_number_can_be_read_on_every_step_of_the_ramp(ground: str, text: str) -> None:
    assert contrast(ground, text) >= READABLE


def test_the_ramp_rises_in_grey_as_well() -> None:
    greys = [luminance(ground) for ground, _ in RAMP]
    assert greys == sorted(greys)


def test_every_state_of_a_rung_has_a_sign_of_its_own_beside_its_colour() -> None:
    assert set(RUNG_ROLES) == set(RUNG_SIGNS) == set(get_args(RungState))
    assert len(set(RUNG_SIGNS.values())) == len(RUNG_SIGNS)
    assert len(set(RUNG_ROLES.values())) == len(RUNG_ROLES)
