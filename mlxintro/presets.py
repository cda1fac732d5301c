"""Presets: the wording and the settings of a published protocol, as data.

Each is a TOML file in ``mlxintro/data/presets`` that also names its source and every known difference from it.
"""

from __future__ import annotations

import tomllib
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Literal

from pydantic import BaseModel, ConfigDict

from backends.base import Message
from backends.errors import UsageError
from mlxintro.trials import Unit
from mlxintro.windows import WindowName


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Dialogue(_Data):
    messages: tuple[Message, ...]
    """Contents may hold ``{trial}``, the number shown to the subject."""
    question: str
    """Where the trial question starts; the window ``question`` is anchored on it."""
    prefill: str = ""
    """Put in the assistant's mouth before it answers."""

    def at_trial(self, trial: int) -> tuple[tuple[Message, ...], str]:
        """Messages and question with the trial number filled in."""

        def fill(text: str) -> str:
            return text.replace("{trial}", str(trial))

        messages = tuple({"role": m["role"], "content": fill(m["content"])} for m in self.messages)
        return messages, fill(self.question)


class Extraction(_Data):
    template: str
    case: Literal["lower", "as-is", "title"]
    read: str
    baseline: str
    """Name of a word list; see ``mlxintro.concepts``."""


class Defaults(_Data):
    window: WindowName
    temperature: float
    top_p: float
    max_tokens: int
    layers: tuple[int | float, ...]
    strengths: tuple[float, ...]
    unit: Unit
    trials: int


class Preset(_Data):
    title: str
    source: str
    summary: str
    differences: tuple[str, ...]
    dialogue: Dialogue
    extraction: Extraction
    defaults: Defaults


def names() -> list[str]:
    """Presets that ship."""
    return sorted(entry.name.removesuffix(".toml") for entry in _folder().iterdir() if entry.name.endswith(".toml"))


def load(name: str) -> Preset:
    """Read a preset by name.

    Raises:
        UsageError: there is no such preset.
    """
    if name not in names():
        raise UsageError(f"no preset called {name!r}: choose one of {', '.join(names())}")
    return Preset.model_validate(tomllib.loads((_folder() / f"{name}.toml").read_text("utf-8")))


def _folder() -> Traversable:
    return files("mlxintro") / "data" / "presets"
