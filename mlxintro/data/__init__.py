"""Data files that ship with the package: presets, word lists, published figures."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any


def text(name: str) -> str:
    """Read a file that ships, by its path below this folder.

    Raises:
        FileNotFoundError: there is no such file.
    """
    return files(__name__).joinpath(*name.split("/")).read_text("utf-8")


def load(name: str) -> dict[str, Any]:
    """Read a TOML file that ships, e.g. ``load("presets/lindsey.toml")``."""
    return tomllib.loads(text(name))


def names(folder: str) -> list[str]:
    """List the TOML files of a subfolder, sorted, without their endings."""
    entries = files(__name__).joinpath(folder).iterdir()
    return sorted(entry.name.removesuffix(".toml") for entry in entries if entry.name.endswith(".toml"))
