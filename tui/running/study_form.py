"""A study as it is being set up: text fields, which become the arguments of `mlxintro run` or a TOML file."""

from __future__ import annotations

import json
from dataclasses import dataclass

from mlxintro.backends.errors import UsageError

NUMBERS = ("trials", "controls", "temperature", "max_tokens", "seed")
LISTS = ("layers", "strengths")
_FLOATS = ("temperature", "strengths")


@dataclass(frozen=True, slots=True)
class Draft:
    """Empty text means: as the preset says."""

    model: str
    backend: str
    experiment: str
    preset: str
    concepts: tuple[str, ...]
    any_word: bool
    fields: dict[str, str]
    """Texts of the fields of ``NUMBERS`` and ``LISTS``, and ``unit``."""
    grade: bool = True

    def arguments(self) -> list[str]:
        """For `mlxintro run`, without the name.

        Raises:
            UsageError: no concept is chosen.
        """
        if not self.concepts:
            raise UsageError("no concept is chosen: Space chooses one in the list of concepts")
        found = [self.experiment, "--preset", self.preset, "--backend", self.backend, "--model", self.model]
        found += ["--concepts", ",".join(self.concepts)]
        for name, text in self.fields.items():
            if text.strip():
                found += [f"--{name.replace('_', '-')}={text.strip()}"]
        found += ["--any-word"] if self.any_word else []
        return found

    def run_arguments(self) -> list[str]:
        return [*self.arguments(), *([] if self.grade else ["--no-grade"])]

    def toml(self) -> str:
        """Return the settings as a file.

        Raises:
            UsageError: a field is no number, or no list of numbers.
        """
        settings: dict[str, object] = {
            "experiment": self.experiment,
            "preset": self.preset,
            "model": self.model,
            "backend": self.backend,
            "concepts": list(self.concepts),
        }
        if self.any_word:
            settings["any_word"] = True
        for name, text in self.fields.items():
            if text.strip():
                settings[name] = _value(name, text.strip())
        # JSON's strings, numbers, booleans and lists are TOML's.
        return "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())


def _value(name: str, text: str) -> object:
    try:
        if name in NUMBERS:
            return float(text) if name in _FLOATS else int(text)
        if name == "strengths":
            return [float(part) for part in text.split(",") if part.strip()]
        if name == "layers":
            from mlxintro.cli.options import LAYERS

            return list(LAYERS.convert(text, None, None))
    except Exception as error:
        raise UsageError(f"{name}: {text!r} is not what is wanted there: correct it first") from error
    return text
