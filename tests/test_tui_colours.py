"""Every colour that carries meaning can be read on what it stands on, by the contrast of WCAG 2, computed here."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import get_args

import pytest
from textual.color import Color
from textual.theme import BUILTIN_THEMES

from mlxintro.analysis.trial_classes import ColourRole
from mlxintro.ladder.rungs import RungState
from mlxintro.tui.app import IntroApp
from mlxintro.tui.reading.colours import RAMP, RUNG_ROLES, role_colour
from mlxintro.tui.reading.wording import RUNG_SIGNS
from mlxintro.tui.shell import themes
from mlxintro.tui.shell.themes import DARK, LIGHT
from tests.tui_kit import settled, shown, text, until

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


OFFERED = sorted(themes.built_in())


def test_the_usual_themes_are_offered_and_those_of_the_terminal_are_not() -> None:
    assert {DARK, LIGHT} <= set(OFFERED)
    assert not {name for name in OFFERED if name.startswith("ansi")}


@pytest.mark.parametrize("theme", OFFERED)
def test_text_and_inks_can_be_read_on_every_ground(theme: str) -> None:
    colours = BUILTIN_THEMES[theme].to_color_system().generate() | themes.inks(BUILTIN_THEMES[theme])
    for ink in ("foreground", "ink-accent", "ink-error"):
        for ground in ("background", "surface", "panel"):
            assert contrast(colours[ink], colours[ground]) >= READABLE, (ink, ground)


def test_a_theme_of_ones_own_is_offered_and_one_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text('primary = "#4078c0"\nbackground = "#000000"\nsurface = "#101010"\n', "utf-8")
    (tmp_path / "pale.toml").write_text(
        'primary = "#ffffff"\nforeground = "#777777"\nbackground = "#555555"\n', "utf-8"
    )
    (tmp_path / "odd.toml").write_text('primary = "quokka"\n', "utf-8")
    (tmp_path / "key.toml").write_text('primary = "#ffffff"\npaper = "#000000"\n', "utf-8")
    (tmp_path / "broken.toml").write_text("primary = \n", "utf-8")
    found = themes.user_themes(tmp_path)
    assert [one.name for one in found.themes] == ["good"]
    told = "\n".join(found.problems)
    assert "pale.toml: text on its background has a contrast of" in told
    assert "odd.toml: primary = 'quokka' is no colour" in told
    assert "key.toml: there is no setting 'paper'" in told
    assert "broken.toml" in told


@pytest.mark.parametrize("theme", OFFERED)
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


WORDS = {
    "runs": "first",
    "new": "Concepts",
    "live": "[10, 70]",
    "review": "18 of 18",
    "results": "verdict:",
    "lab": "Ask",
}
"""What stands on each screen when it is there."""


def hard_to_read(app: IntroApp) -> set[tuple[str, str, str]]:
    """Return text on the screen whose colours are too near, with both colours; signs and frames are no text."""
    found = set()
    for strip in app.screen._compositor.render_strips():
        for part in strip:
            style = part.style
            if style is None or style.color is None or style.bgcolor is None or not any(map(str.isalnum, part.text)):
                continue
            front, back = (one.get_truecolor().hex for one in (style.color, style.bgcolor))
            if contrast(front, back) < READABLE:
                found.add((part.text.strip()[:30], front, back))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("place", sorted(WORDS))
def test_all_text_on_a_screen_can_be_read_in_every_theme(home: Path, place: str) -> None:
    async def go() -> dict[str, set[tuple[str, str, str]]]:
        found = {}
        async with shown(home, (120, 36)) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))
            run = app.ask(lambda store: store.runs.all()[0])
            app.open_run(run.id, run.name, place)
            await until(pilot, lambda: WORDS[place] in text(app))
            for theme in OFFERED:
                app.theme = theme
                await settled(app, pilot)
                found[theme] = hard_to_read(app)
        return {theme: pairs for theme, pairs in found.items() if pairs}

    assert not asyncio.run(go())
