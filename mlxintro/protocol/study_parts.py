"""The parts of a study: one run for every combination of what its file varies, and what holds for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from mlxintro.backends.errors import UsageError, reason_of
from mlxintro.protocol import presets
from mlxintro.protocol.bounds import Data
from mlxintro.protocol.hashing import tagged_hash
from mlxintro.protocol.study import Study

AXES = {"presets": "preset", "dialogues": "dialogue", "dtypes": "dtype", "adapters": "adapter"}
"""Keys of a study's file beside ``models`` -> the setting that they give several values of, the slowest first."""
NO_ADAPTER = "none"
"""Stands in ``adapters`` for the model as it is."""
_DTYPES = ("float32", "bfloat16", "float16")
_DIALOGUES = ("chat", "plain")


class StudyGrader(Data):
    """Says who grades the replies of a study, and how it is asked; the flags of ``mlxintro grade``."""

    name: Literal["rules", "rules-strict", "claude", "openai", "local"]
    model: str | None = None
    """Name of the model of claude and openai, as the service calls it."""
    base_url: str | None = None
    """Address at which ``openai`` is asked."""
    judge: str | None = None
    """Model of local."""
    judge_backend: Literal["auto", "mlx", "torch", "fake"] = "auto"
    price: tuple[float, float] | None = None
    """US dollars per million tokens of input and of output, for a model whose price is not known here."""
    batch: bool = False
    """Let claude answer within a day, at half the price."""


class StudyManner(Data):
    """Says what holds for a study as a whole."""

    name: str | None = None
    """Name for people; by default the name of its file."""
    grader: StudyGrader | None = None
    """Who grades it beside the rules."""
    budget: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """US dollars that the grader may cost for all runs together."""


def manner_of(data: dict[str, Any]) -> StudyManner:
    """Take what holds for the whole study out of a file's data.

    Raises:
        UsageError: it cannot be read; ``setting`` says which key.
    """
    given = {name: data.pop(name) for name in StudyManner.model_fields if name in data}
    if isinstance(given.get("grader"), str):
        given["grader"] = {"name": given["grader"]}
    try:
        found = StudyManner.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        what = reason_of(first)
        raise UsageError(f"{where}: {what[:1].lower()}{what[1:]}", setting=str(first["loc"][0])) from None
    if found.budget is not None and (found.grader is None or found.grader.name not in ("claude", "openai")):
        raise UsageError(
            'budget: only a grader that costs money has one: write grader = "claude", or leave budget out',
            setting="budget",
        )
    if found.grader is not None:
        _check_grader(found.grader)
    return found


def _check_grader(grader: StudyGrader) -> None:
    needs = {"openai": ("base_url", "model"), "local": ("judge",)}.get(grader.name, ())
    for key in needs:
        if getattr(grader, key) is None:
            raise UsageError(
                f'grader: {grader.name} needs {key}: write grader = {{name = "{grader.name}", '
                + ", ".join(f'{one} = "..."' for one in needs)
                + "}",
                setting="grader",
            )


def read_axes(data: dict[str, Any], folder: Path) -> dict[str, tuple[dict[str, Any], ...]]:
    """Take what is varied beside the model out of a file's data.

    Args:
        folder: of the file; paths of presets are relative to it.

    Returns:
        axis -> the settings that each of its values stands for.

    Raises:
        UsageError: an axis is no list of names, or the setting is given as well; ``setting`` says which key.
    """
    axes = {}
    for axis, setting in AXES.items():
        if axis not in data:
            continue
        values = data.pop(axis)
        if setting in data:
            raise UsageError(f"give either {setting} or {axis}", setting=axis)
        if not isinstance(values, list) or not values or not all(isinstance(one, str) and one for one in values):
            raise UsageError(f'{axis} are names: write {axis} = ["...", "..."]', setting=axis)
        if len(set(values)) < len(values):
            raise UsageError(f"{axis}: a name is there twice: leave one out", setting=axis)
        axes[axis] = tuple(_settings(axis, setting, value, folder) for value in values)
    return axes


def _settings(axis: str, setting: str, value: str, folder: Path) -> dict[str, Any]:
    if axis == "adapters" and value == NO_ADAPTER:
        return {setting: None}
    if axis == "dtypes" and value not in _DTYPES:
        raise UsageError(f"dtypes: {value!r} is none: choose from {', '.join(_DTYPES)}", setting=axis)
    if axis == "dialogues" and value not in _DIALOGUES:
        raise UsageError(f"dialogues: {value!r} is none: choose from {', '.join(_DIALOGUES)}", setting=axis)
    if axis == "presets" and value.endswith(".toml"):
        own = folder / value
        if not own.is_file():
            raise UsageError(f"presets: there is no file {own}: give its path from {folder}", setting=axis)
        return {setting: own.stem, "preset_data": presets.read_file(own)}
    return {setting: value}


def combinations(
    subjects: Sequence[Mapping[str, Any]], axes: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Iterator[dict[str, Any]]:
    """Give the settings of every part, the models changing slowest.

    Args:
        subjects: the settings of each model.
        axes: see ``read_axes``.
    """
    for combined in product(subjects, *(axes[axis] for axis in AXES if axis in axes)):
        merged: dict[str, Any] = {}
        for settings in combined:
            merged |= settings
        yield merged


def labels(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say of every part what tells it from the others: its model, and whatever else differs."""
    varied = [
        setting
        for setting in ("model", *AXES.values())
        if setting == "model" or len({part.get(setting) for part in parts}) > 1
    ]
    return [", ".join(_label(setting, part.get(setting)) for setting in varied) for part in parts]


def _label(setting: str, value: Any) -> str:
    if value is None:
        return {"model": "the usual model", "adapter": "no adapter"}.get(setting, f"{setting} as usual")
    return f"adapter {value}" if setting == "adapter" else str(value)


def part_key(study: Study) -> str:
    """Hash what a part asks for. Settings that are left to their defaults are left out, so a later one changes none."""
    return tagged_hash(study.model_dump(mode="json", exclude_defaults=True))
