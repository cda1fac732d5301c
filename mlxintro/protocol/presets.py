"""Presets: the wording and the settings of a published protocol, as data.

Each is a TOML file in ``mlxintro/data/presets`` that also names its source and every known difference from it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from mlxintro import data as packaged
from mlxintro.backends.base import Message
from mlxintro.backends.errors import UsageError, reason_of
from mlxintro.protocol.bounds import Data, Layers, Strengths, Suite, Temperature, Tokens, TopP, Trials
from mlxintro.protocol.spelling import nearest
from mlxintro.protocol.toml_text import line_of, parsed, place, text_of
from mlxintro.protocol.trials import Unit
from mlxintro.protocol.windows import WindowName
from mlxintro.vectors.settings import ExtractionSettings


class Dialogue(Data):
    messages: tuple[Message, ...]
    """Contents may hold ``{trial}``, the number shown to the subject."""
    question: str
    """Text with which the trial question starts; the window ``question`` is anchored on it."""
    prefill: str = ""
    """Put in the assistant's mouth before it answers."""

    @model_validator(mode="after")
    def _asked_last(self) -> Dialogue:
        if not self.messages or not self.question or self.question not in self.messages[-1].get("content", ""):
            raise ValueError("question must stand in the last message, which the subject answers")
        return self

    def at_trial(self, trial: int) -> tuple[tuple[Message, ...], str]:
        """Return the messages and question with the trial number filled in."""

        def fill(text: str) -> str:
            return text.replace("{trial}", str(trial))

        messages = tuple({"role": m["role"], "content": fill(m["content"])} for m in self.messages)
        return messages, fill(self.question)


class Defaults(Data):
    window: WindowName | None = None
    """Window of the injection; left out where the experiment's design says where it is."""
    temperature: Temperature
    top_p: TopP
    max_tokens: Tokens
    layers: Layers
    strengths: Strengths
    unit: Unit
    trials: Trials
    controls: Suite = "standard"


class Preset(Data):
    experiment: str
    """Which experiment it is for."""
    title: str
    source: str
    summary: str
    differences: tuple[str, ...]
    """Every known difference from the source."""
    defects: tuple[str, ...] = ()
    """Known errors of the source, which the preset makes as well, for comparison."""
    dialogue: Dialogue | None = None
    extraction: ExtractionSettings
    defaults: Defaults
    wording: dict[str, Any] = Field(default_factory=dict)
    """Texts in the experiment's own terms; see its ``Wording``."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings of that experiment alone; see its ``Options``."""


def names() -> list[str]:
    """Return the presets that ship."""
    return packaged.names("presets")


def load(name: str) -> Preset:
    """Read a preset by name.

    Raises:
        UsageError: there is no such preset.
    """
    return Preset.model_validate(tomllib.loads(text(name)))


def of_settings(settings: Mapping[str, Any]) -> Preset:
    """Read the preset that a study's settings ``preset`` and ``preset_data`` stand for.

    Raises:
        UsageError: there is no such preset, or the data is none.
    """
    name, own = str(settings["preset"]), settings.get("preset_data")
    return load(name) if own is None else validated(dict(own), name)


def text(name: str) -> str:
    """Read a preset as the TOML text that ships.

    Raises:
        UsageError: there is no such preset.
    """
    if name not in names():
        raise UsageError(
            f"no preset called {name!r}{nearest(name, names())}: choose one of {', '.join(names())}", setting="preset"
        )
    return packaged.text(f"presets/{name}.toml")


def read_file(path: Path) -> dict[str, Any]:
    """Return a user's own preset, as the plain data that is stored with a run (``Study.preset_data``).

    A file with ``based_on = "lindsey"`` gives only what differs from that preset: tables are merged key by key, the
    dialogue as a whole.

    Raises:
        UsageError: it cannot be read, or is not a preset.
    """
    text = text_of(path)
    data = parsed(text, str(path))
    if "based_on" in data:
        try:
            data = _inherited(data, path)
        except UsageError as error:
            raise UsageError(f"{place(str(path), text, 'based_on')}{error}") from None
    validated(data, str(path), text)
    return data


def with_extraction(preset: Preset, changes: Mapping[str, Any]) -> Preset:
    """Return a preset whose vectors are extracted in another way.

    Args:
        changes: keys of the table ``[extraction]``, over the preset's.

    Raises:
        UsageError: one line that names the first key that is wrong.
    """
    if not changes:
        return preset
    try:
        extraction = ExtractionSettings.model_validate({**preset.extraction.model_dump(), **changes})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["extraction", *map(str, first["loc"])])
        what = reason_of(first)
        if first["type"] == "extra_forbidden":
            what = f"there is no such key; known are {', '.join(ExtractionSettings.model_fields)}"
        raise UsageError(f"{where}: {what[:1].lower()}{what[1:]}", setting="extraction") from None
    return preset.model_copy(update={"extraction": extraction})


def _inherited(data: dict[str, Any], path: Path) -> dict[str, Any]:
    base = str(data.pop("based_on"))
    whole = load(base).model_dump(mode="json", exclude_none=True)
    found = {**whole, "title": f"{path.stem}, based on {base}", **data}
    for table in ("extraction", "defaults", "wording", "options"):
        if table in data and isinstance(data[table], dict):
            found[table] = {**whole.get(table, {}), **data[table]}
    if "differences" not in data:
        given = ", ".join(name for name in data) or "nothing"
        found["differences"] = [*whole["differences"], f"{path.name} gives of its own: {given}."]
    return found


def validated(data: dict[str, Any], where: str, text: str = "") -> Preset:
    """Check a preset that is given as plain data.

    Args:
        where: what it is called in messages.
        text: of the file that the data comes from, to name the line of what is wrong.

    Raises:
        UsageError: it is not a preset.
    """
    try:
        return Preset.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        keys = [str(part) for part in first["loc"]]
        known = next((key for key in reversed(keys) if line_of(text, key)), "")
        what = reason_of(first)
        if first["type"] == "model_type":
            what = f"this is a table: begin it with [{'.'.join(keys)}]"
        raise UsageError(f"{place(where, text, known)}{'.'.join(keys)}: {what[:1].lower()}{what[1:]}") from None
