"""A study as it is being set up: text fields, each read with an error in words, which become a study's settings."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import click

from mlxintro.backends.adapters import sources as adapters
from mlxintro.backends.errors import UsageError
from mlxintro.backends.thinking.marks import THINKING_MODES
from mlxintro.cli.options import LAYERS, ControlsParam
from mlxintro.protocol import study_file
from mlxintro.protocol.study import Study, make_study
from mlxintro.protocol.trials import Unit

TITLES: Mapping[str, str] = {
    "layers": "Layers",
    "strengths": "Strengths",
    "trials": "Trials",
    "controls": "Controls",
    "temperature": "Temperature",
    "max_tokens": "Max. tokens",
    "unit": "Unit",
    "seed": "Seed",
    "thinking": "Thinking",
    "thinking_tokens": "Thought max",
    "adapter": "Adapter",
}
"""Fields that are typed, in the order in which they stand, with their titles."""
_FORM = (*TITLES, "model", "backend", "experiment", "preset", "concepts", "any_word")
_FILE_LINE = re.compile(r"^\S+\.toml(:\d+)?: ")
_UNITS = get_args(Unit)


class WrongFields(UsageError):
    """Some fields cannot be read, or contradict each other."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(problems.values()))
        self.problems = dict(problems)
        """What is wrong, by the name of the field."""


@dataclass(frozen=True, slots=True)
class Draft:
    """Holds a study's form as it is filled in. Empty text means: as the preset says."""

    model: str
    backend: str
    experiment: str
    preset: str
    concepts: tuple[str, ...]
    any_word: bool
    fields: dict[str, str]
    """Texts of the fields of ``TITLES``."""
    grade: bool = True
    rest: dict[str, Any] = field(default_factory=dict)
    """Settings that the form has no field for, of a study that was opened in it."""

    def study(self) -> Study:
        """Return the study.

        Raises:
            WrongFields: with what is wrong, by field.
        """
        problems: dict[str, str] = {} if self.concepts else {"concepts": "Concepts: none is chosen, Space chooses one"}
        settings: dict[str, Any] = {
            **self.rest,
            "experiment": self.experiment,
            "preset": self.preset,
            "model": self.model,
            "backend": self.backend,
            "concepts": self.concepts,
            "any_word": self.any_word,
        }
        for name, text in self.fields.items():
            if text.strip():
                try:
                    settings[name] = READERS[name](text.strip())
                except ValueError as error:
                    problems[name] = f"{TITLES[name]}: {error}"
        if self.backend == "fake" and settings.get("adapter"):
            problems["adapter"] = f"{TITLES['adapter']}: the simulated subject takes none: leave it empty"
        if problems:
            raise WrongFields(problems)
        try:
            return make_study(**settings)
        except UsageError as error:
            raise WrongFields({error.setting or "": in_form_words(str(error))}) from error

    def toml(self) -> str:
        """Return the settings as a file.

        Raises:
            WrongFields: see ``study``.
        """
        return study_file.write(self.study())


def in_form_words(text: str) -> str:
    """Return an error of a study's file or of flags as it reads beside a form."""
    return re.sub(r"--([a-z]+)(-([a-z]+))?", r"\1 \3", _FILE_LINE.sub("", text)).replace("  ", " ").strip()


def filled(study: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """Return a study's settings as texts of the form's fields, and those that it has no field for."""
    fields = {name: _text(study.get(name)) for name in TITLES}
    usual = Study(model="").model_dump(mode="json")
    rest = {
        name: value
        for name, value in study.items()
        if name not in _FORM and name in usual and value is not None and value != usual[name]
    }
    return fields, rest


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(one) for one in value)
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _whole(low: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError(f"{text!r} is no whole number") from None
        if value < low:
            raise ValueError(f"{value} is too small, {low} is the least")
        return value

    return read


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no number") from None


def _temperature(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 10:
        raise ValueError(f"{text} is not between 0 and 10")
    return value


def _strengths(text: str) -> tuple[float, ...]:
    return tuple(_number(part.strip()) for part in text.split(",") if part.strip())


def _of_command(kind: click.ParamType[Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return kind.convert(text, None, None)
        except click.ClickException as error:
            raise ValueError(error.message) from None

    return read


def _one_of(known: Sequence[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in known:
            raise ValueError(f"{text!r} is none of {', '.join(known)}")
        return text

    return read


def adapter_name(text: str) -> str:
    """Return the name of an adapter.

    Raises:
        ValueError: it can be none.
    """
    if not adapters.is_name(text):
        ships = ", ".join(adapters.shipped())
        raise ValueError(f"{text!r} is no folder, no hub id (owner/name), and none of those that ship: {ships}")
    return text


READERS: Mapping[str, Callable[[str], Any]] = {
    "layers": _of_command(LAYERS),
    "strengths": _strengths,
    "trials": _whole(1),
    "controls": _of_command(ControlsParam()),
    "temperature": _temperature,
    "max_tokens": _whole(1),
    "unit": _one_of(_UNITS),
    "seed": _whole(0),
    "thinking": _one_of(THINKING_MODES),
    "thinking_tokens": _whole(1),
    "adapter": adapter_name,
}
"""What reads a field's text; raises ``ValueError`` with what is wrong, in words."""
