"""Presets: the wording and the settings of a published protocol, as data.

Each is a TOML file in ``mlxintro/data/presets`` that also names its source and every known difference from it.
"""

from __future__ import annotations

import tomllib
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from mlxintro.backends.base import Message
from mlxintro.backends.errors import UsageError
from mlxintro.protocol.bounds import Layers, Strengths, Suite, Temperature, Tokens, TopP, Trials
from mlxintro.protocol.concepts import library
from mlxintro.protocol.toml_text import line_of, parsed, place, text_of
from mlxintro.protocol.trials import Unit
from mlxintro.protocol.windows import WindowName
from mlxintro.vectors.extraction import Case, Read

if TYPE_CHECKING:
    from mlxintro.experiments.base import Experiment
    from mlxintro.protocol.study import Study


def _holds_word(template: str) -> str:
    if template.count("{word}") != 1:
        raise ValueError(f"the template {template!r} must hold {{word}} exactly once")
    return template


def _known_list(name: str) -> str:
    try:
        return library().baseline(name).name
    except UsageError as error:
        raise ValueError(str(error)) from None


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Dialogue(_Data):
    messages: tuple[Message, ...]
    """Contents may hold ``{trial}``, the number shown to the subject."""
    question: str
    """Where the trial question starts; the window ``question`` is anchored on it."""
    prefill: str = ""
    """Put in the assistant's mouth before it answers."""

    @model_validator(mode="after")
    def _asked_last(self) -> Dialogue:
        if not self.messages or not self.question or self.question not in self.messages[-1].get("content", ""):
            raise ValueError("question must stand in the last message, which the subject answers")
        return self

    def at_trial(self, trial: int) -> tuple[tuple[Message, ...], str]:
        """Messages and question with the trial number filled in."""

        def fill(text: str) -> str:
            return text.replace("{trial}", str(trial))

        messages = tuple({"role": m["role"], "content": fill(m["content"])} for m in self.messages)
        return messages, fill(self.question)


class Extraction(_Data):
    template: Annotated[str, AfterValidator(_holds_word)]
    case: Case
    read: Read
    baseline: Annotated[str, AfterValidator(_known_list)]
    """Name of a word list; see ``mlxintro.concepts``."""


class Defaults(_Data):
    window: WindowName | None = None
    """Left out where the place of the injection is part of the experiment's design."""
    temperature: Temperature
    top_p: TopP
    max_tokens: Tokens
    layers: Layers
    strengths: Strengths
    unit: Unit
    trials: Trials
    controls: Suite = "standard"


class Preset(_Data):
    experiment: str
    """Which experiment it is for."""
    title: str
    source: str
    summary: str
    differences: tuple[str, ...]
    """Every known difference from the source."""
    defects: tuple[str, ...] = ()
    """What the source is known to do wrong, and the preset does as well, for comparison."""
    dialogue: Dialogue | None = None
    extraction: Extraction
    defaults: Defaults
    wording: dict[str, Any] = Field(default_factory=dict)
    """Texts in the experiment's own terms; see its ``Wording``."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings of that experiment alone; see its ``Options``."""


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


def read_file(path: Path) -> dict[str, Any]:
    """A user's own preset, as the plain data that is stored with a run (``Study.preset_data``).

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
    _validated(data, str(path), text)
    return data


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


def of(study: Study, experiment: Experiment) -> Preset:
    """The preset of a study: its own wording, the one it names, or the experiment's.

    Raises:
        UsageError: there is no such preset.
    """
    if study.preset_data is not None:
        return _validated(study.preset_data, study.preset or "preset")
    return load(study.preset or experiment.preset)


def _validated(data: dict[str, Any], where: str, text: str = "") -> Preset:
    """``text``: of the file that the data comes from, to name the line of what is wrong."""
    try:
        return Preset.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        keys = [str(part) for part in first["loc"]]
        known = next((key for key in reversed(keys) if line_of(text, key)), "")
        what = first["msg"].removeprefix("Value error, ")
        if first["type"] == "model_type":
            what = f"this is a table: begin it with [{'.'.join(keys)}]"
        raise UsageError(f"{place(where, text, known)}{'.'.join(keys)}: {what[:1].lower()}{what[1:]}") from None


def _folder() -> Traversable:
    return files("mlxintro") / "data" / "presets"
