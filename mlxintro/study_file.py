"""Studies as TOML files: read, checked with the line of what is wrong, and written back from a stored run.

Keys are the settings of ``Study``, flat, and one table ``[options]``. Beside them: ``models``, several models that are
run one after the other; ``layers = "even:10"``, ten evenly spaced layers; ``preset_file``, a preset of one's own, with
its path relative to the study's.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

from backends.errors import UsageError
from mlxintro import presets
from mlxintro.study import Study, make_study

_BESIDE = ("models", "preset_file")
_ABOUT = {
    "no experiment called": "experiment",
    "no preset called": "preset",
    "no concept called": "concepts",
    "no category called": "concepts",
    "no set of concepts called": "concepts",
    "the preset": "preset",
}
"""How errors begin that come from looking names up, and the setting they speak of."""


@dataclass(frozen=True, slots=True)
class StudyFile:
    name: str
    """As the user gave it, for messages."""
    text: str
    settings: dict[str, Any]
    """What ``make_study`` takes, without the model."""
    models: tuple[str, ...]
    """None named: the backend's default is taken."""

    def at(self, error: UsageError) -> UsageError:
        """The same error with file and line in front, where the setting it speaks of stands in the file."""
        message = str(error)
        key = next((key for start, key in _ABOUT.items() if message.startswith(start)), "")
        if not key and (found := re.match(r"(?:option )?([a-z_]+)\b", message)):
            key = found.group(1)
        line = line_of(self.text, key)
        return UsageError(f"{self.name}:{line}: {message}") if line else error


def is_file(argument: str) -> bool:
    """Whether what was given in an experiment's place is meant as a study's file."""
    return argument.endswith(".toml")


def ready() -> dict[str, str]:
    """Studies that ship: file name and first line."""
    found = {}
    for entry in sorted((files("mlxintro") / "data" / "studies").iterdir(), key=lambda one: one.name):
        if entry.name.endswith(".toml"):
            found[entry.name] = entry.read_text("utf-8").splitlines()[0].lstrip("# ")
    return found


def read(argument: str) -> StudyFile:
    """Read a study: a path, or the bare name of one that ships.

    Raises:
        UsageError: there is no such file, or it holds something that is no setting; with the line.
    """
    path = Path(argument)
    if path.exists() or argument not in ready():
        try:
            text = path.read_text("utf-8")
        except FileNotFoundError:
            raise UsageError(
                f"there is no file {argument}; studies that ship: {', '.join(ready())}, found by these names"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{argument} cannot be read: {error}") from None
    else:
        text = (files("mlxintro") / "data" / "studies" / argument).read_text("utf-8")
    return parse(text, argument, path.parent)


def parse(text: str, name: str, folder: Path) -> StudyFile:
    """Read a study's text; see ``read``."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{name}: {error}") from None
    known = (*Study.model_fields, *_BESIDE)
    for key in data:
        if key not in known:
            close = get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
            raise UsageError(f"{_place(name, text, key)}there is no setting {key!r}: {hint}")
    models = data.pop("models", None)
    if models is not None and "model" in data:
        raise UsageError(f"{_place(name, text, 'models')}give either model or models")
    chosen = [data.pop("model")] if "model" in data else models or []
    if not isinstance(chosen, list) or not all(isinstance(one, str) and one for one in chosen):
        key = "models" if models is not None else "model"
        raise UsageError(f"{_place(name, text, key)}models are names: write {key} = {_EXAMPLE[key]}")
    if isinstance(data.get("layers"), str):
        try:
            data["layers"] = evenly(data["layers"])
        except ValueError as error:
            raise UsageError(f"{_place(name, text, 'layers')}{error}") from None
    if "preset_file" in data:
        own = folder / str(data.pop("preset_file"))
        data |= {"preset": own.stem, "preset_data": presets.read_file(own)}
    found = StudyFile(name, text, data, tuple(chosen))
    try:
        make_study(**{"model": "any", **data})
    except UsageError as error:
        raise found.at(error) from None
    return found


_EXAMPLE = {"model": '"qwen2.5-7b"', "models": '["qwen2.5-7b", "smollm2"]'}


def evenly(text: str) -> tuple[int | float, ...]:
    """``even:10`` as ten depths from the first layer to the last, whatever the model.

    Depths are taken to the nearest layer, so a model with hardly more layers than that runs some fewer.

    Raises:
        ValueError: something else.
    """
    match = re.fullmatch(r"even:(\d+)", text.strip())
    count = int(match.group(1)) if match else 0
    if not 1 <= count <= 1000:
        raise ValueError(f"{text!r} is not a choice of layers: write a list, or even:10 for ten from first to last")
    if count == 1:
        return (0.5,)
    last = 1 - 1e-6
    return (0, *(round(i / (count - 1), 6) for i in range(1, count - 1)), last)


def line_of(text: str, key: str) -> int | None:
    """The line, from 1, at which a key of the top level or of ``[options]`` is set."""
    pattern = re.compile(rf"\s*(?:options\.)?[\"']?{re.escape(key)}[\"']?\s*=") if key else None
    for number, line in enumerate(text.splitlines(), 1):
        if pattern and pattern.match(line):
            return number
    return None


def _place(name: str, text: str, key: str) -> str:
    line = line_of(text, key) or next(
        (n for n, one in enumerate(text.splitlines(), 1) if re.match(rf"\s*\[+\s*{re.escape(key)}\b", one)), None
    )
    return f"{name}:{line}: " if line else f"{name}: "


def write(study: Study) -> str:
    """A study as TOML; reading it gives the same study, and so the same trials."""
    lines = []
    for name, value in study.model_dump(mode="json").items():
        if value is not None and name != "options":
            lines.append(f"{name} = {_toml(value)}")
    if study.options:
        lines += ["", "[options]", *(f"{_key(name)} = {_toml(value)}" for name, value in study.options.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case Mapping():
            return "{" + ", ".join(f"{_key(k)} = {_toml(v)}" for k, v in _present(value)) + "}"
        case Sequence():
            return "[" + ", ".join(_toml(item) for item in value) + "]"
    raise TypeError(f"{type(value).__name__} cannot be written as TOML")


def _present(value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((name, item) for name, item in value.items() if item is not None)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def setting(text: str) -> tuple[str, Any]:
    """``key=value`` of ``--set``; the value is read as TOML, and as text where it is none.

    Raises:
        UsageError: there is no ``=``.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set takes key=value, and {text!r} is none: write e.g. --set trial_numbers=10")
    try:
        return key.strip(), tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()
