"""Themes: those that ship with Textual and can be read, and a person's own from TOML files beside the store.

A theme is offered only if every colour that carries meaning, and the text itself, has a contrast of at least 4.5 on its
grounds (WCAG 2.2, success criterion 1.4.3).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

from textual.app import App
from textual.color import Color, ColorParseError
from textual.command import CommandPalette
from textual.theme import BUILTIN_THEMES, Theme, ThemeProvider

from mlxintro.analysis.trial_classes import ColourRole
from mlxintro.backends.errors import UsageError

from ..reading.colours import role_colour
from .home import home_of
from .palette.commands import Palette

DARK, LIGHT = "textual-dark", "textual-light"
READABLE = 4.5
"""Least contrast of text on its ground."""
_GROUNDS = ("background", "surface", "panel")
_COLOURS = (
    "primary",
    "secondary",
    "warning",
    "error",
    "success",
    "accent",
    "foreground",
    "background",
    "surface",
    "panel",
)
"""What a file of a theme may set, beside ``dark``."""


@dataclass(frozen=True, slots=True)
class FoundThemes:
    """Holds the themes of a folder."""

    themes: tuple[Theme, ...] = ()
    problems: tuple[str, ...] = ()
    """Files that are left out, and why."""


def _luminance(colour: Color) -> float:
    def linear(channel: int) -> float:
        part = channel / 255
        return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)

    red, green, blue = colour.rgb
    return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)


def _contrast(one: Color, other: Color) -> float:
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def unreadable(theme: Theme) -> str:
    """Say what in a theme cannot be read; nothing when all of it can."""
    colours = theme.to_color_system().generate()
    for name in _GROUNDS:
        try:
            ground = Color.parse(colours[name])
            text = Color.parse(colours["foreground"])
        except ColorParseError:
            return f"its {name} depends on the terminal"
        if _contrast(text, ground) < READABLE:
            return f"text on its {name} has a contrast of {_contrast(text, ground):.1f}, {READABLE} is the least"
        for role in get_args(ColourRole):
            contrast = _contrast(Color.parse(role_colour(role, dark=theme.dark)), ground)
            if contrast < READABLE:
                return f"the colour of {role} on its {name} has a contrast of {contrast:.1f}, {READABLE} is the least"
    return ""


def inks(theme: Theme) -> dict[str, str]:
    """Return colours for text: the theme's accent and error, mixed with its text until they can be read anywhere."""
    colours = theme.to_color_system().generate()
    try:
        text = Color.parse(colours["foreground"])
        grounds = [Color.parse(colours[name]) for name in _GROUNDS]
        return {f"ink-{name}": _ink(Color.parse(colours[name]), text, grounds).hex for name in ("accent", "error")}
    except ColorParseError:
        # Colours of the terminal itself.
        return {"ink-accent": colours["foreground"], "ink-error": colours["foreground"]}


def _ink(colour: Color, text: Color, grounds: Iterable[Color]) -> Color:
    grounds = list(grounds)
    steps = [colour.blend(text, share / 20) for share in range(21)]
    return next((one for one in steps if all(_contrast(one, ground) >= READABLE for ground in grounds)), text)


@cache
def built_in() -> tuple[str, ...]:
    """Return the names of the themes that ship and can be read."""
    return tuple(name for name, theme in BUILTIN_THEMES.items() if not unreadable(theme))


def user_themes(folder: Path) -> FoundThemes:
    """Read the themes of a folder, one a file: its name is the file's, its colours are the file's settings."""
    themes, problems = [], []
    for path in sorted(folder.glob("*.toml")) if folder.is_dir() else ():
        try:
            theme = _theme(path.stem, tomllib.loads(path.read_text("utf-8")))
        except (OSError, ValueError) as error:
            problems.append(f"{path.name}: {error}")
            continue
        wrong = unreadable(theme)
        if wrong:
            problems.append(f"{path.name}: {wrong}")
        else:
            themes.append(theme)
    return FoundThemes(tuple(themes), tuple(problems))


def _theme(name: str, settings: dict[str, Any]) -> Theme:
    unknown = next((key for key in settings if key not in (*_COLOURS, "dark")), None)
    if unknown is not None:
        raise ValueError(f"there is no setting {unknown!r}: known are {', '.join((*_COLOURS, 'dark'))}")
    if "primary" not in settings:
        raise ValueError('it needs a colour primary, e.g. primary = "#4078c0"')
    if not isinstance(settings.get("dark", True), bool):
        raise ValueError("dark is true or false")
    for key, value in settings.items():
        if key != "dark":
            try:
                Color.parse(value)
            except (ColorParseError, TypeError, AttributeError) as error:
                raise ValueError(f"{key} = {value!r} is no colour: write e.g. #4078c0") from error
    return Theme(name=name, **settings)


class ThemedApp(App[int]):
    """Holds the app's looks: which themes there are, which one is in use, and that it is remembered."""

    def take_themes(self, folder: Path) -> None:
        """Offer the themes that can be read, a person's own in a folder among them, and take up the last one."""
        readable = set(built_in())
        for name in [one for one in self.available_themes if one not in readable]:
            self.unregister_theme(name)
        found = user_themes(folder)
        for theme in found.themes:
            self.register_theme(theme)
        home = home_of(self)
        if found.problems:
            home.trouble(UsageError(f"themes: {'; '.join(found.problems[:3])}: left out"))
        if home.remembered.theme in self.available_themes:
            self.theme = home.remembered.theme
        self.theme_changed_signal.subscribe(self, self._remember_theme)

    def _remember_theme(self, theme: Theme) -> None:
        home = home_of(self)
        if home.remembered.theme != theme.name:
            home.remembered.theme = theme.name
            home.remembered.save(home.state_file)

    def get_css_variables(self) -> dict[str, str]:
        return {**super().get_css_variables(), **inks(self.current_theme)}

    def action_command_palette(self) -> None:
        """Find any action, run, concept or reply; once, however often the key is pressed."""
        if not isinstance(self.screen, CommandPalette):
            self.push_screen(Palette())

    def search_themes(self) -> None:
        """Choose a theme; once, however often the key is pressed."""
        if not isinstance(self.screen, CommandPalette):
            self.push_screen(Palette(providers=[ThemeProvider], placeholder="find a theme"))

    def action_toggle_light(self) -> None:
        self.theme = LIGHT if self.current_theme.dark else DARK
