"""A run beside published figures, with every difference in protocol that stands between them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import BaseModel, ConfigDict

from mlxintro import concepts, experiments, presets
from mlxintro.analysis import Analysis
from mlxintro.rendering import cell_text
from mlxintro.run_analysis import study_of
from mlxintro.statistics import Rate, rate
from mlxintro.store.records import Run

_NEAR = 0.05
"""Depths closer than this count as the same."""


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Protocol(_Data):
    experiment: str
    preset: str
    window: str
    strengths: tuple[float, ...]
    unit: str
    temperature: float
    max_tokens: int
    concepts: int
    grader: str
    model: str
    depth: float | None = None


class Result(_Data):
    """One published figure. Counts where they are published, else rates alone, without intervals."""

    source: str
    url: str
    setting: str
    basis: str
    protocol: Protocol
    arm: str = ""
    detects: int | None = None
    names: int | None = None
    trials: int | None = None
    detects_rate: float | None = None
    names_rate: float | None = None
    false_alarms: int
    controls: int

    def detection(self) -> Rate | float | None:
        return _known(self.detects, self.trials, self.detects_rate)

    def identification(self) -> Rate | float | None:
        return _known(self.names, self.trials, self.names_rate)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One published result, and what differs from the run."""

    source: str
    url: str
    setting: str
    basis: str
    figures: tuple[tuple[str, str, str], ...]
    """Name, published, this run."""
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Card:
    comparisons: tuple[Comparison, ...]


@cache
def results() -> tuple[Result, ...]:
    """Every published figure that ships."""
    data = tomllib.loads((files("mlxintro") / "data" / "published.toml").read_text("utf-8"))
    return tuple(Result.model_validate(item) for item in data["results"])


def compare(run: Run, analysis: Analysis, grader: str) -> Card:
    """Set a run beside the published results of its experiment."""
    wanted = [one for one in results() if one.protocol.experiment == run.experiment]
    return Card(tuple(_compare(one, run, analysis, grader) for one in wanted))


def _compare(one: Result, run: Run, analysis: Analysis, grader: str) -> Comparison:
    ours = {figure.name: figure.value for figure in analysis.figures}
    published = {
        f"{one.arm}_detection" if one.arm else "detection": one.detection(),
        "identification": None if one.arm else one.identification(),
        "false_alarms": rate(one.false_alarms, one.controls),
    }
    figures = tuple(
        (name.replace("_", " "), cell_text(value), cell_text(ours.get(name)))
        for name, value in published.items()
        if value is not None
    )
    found = differences(one.protocol, run, grader)
    if one.trials is not None and (here := _trials(ours.get(f"{one.arm}_detection" if one.arm else "detection"))):
        found += [f"trials: {here} here, {one.trials} there"] * (here != one.trials)
    return Comparison(one.source, one.url, one.setting, one.basis, figures, tuple(found))


def differences(protocol: Protocol, run: Run, grader: str) -> list[str]:
    """Every setting in which a run differs from a published protocol, one sentence each."""
    study = study_of(run)
    said = []
    for name in ("preset", "window", "unit", "temperature", "max_tokens"):
        theirs, ours = getattr(protocol, name), getattr(study, name)
        if theirs != ours:
            said.append(f"{name.replace('_', ' ')}: {_text(ours)} here, {_text(theirs)} there")
    if tuple(study.strengths or ()) != protocol.strengths:
        said.append(f"strengths: {_list(study.strengths or ())} here, {_list(protocol.strengths)} there")
    count = len(concepts.library().resolve(study.concepts, allow_unknown=True))
    if count != protocol.concepts:
        said.append(f"concepts: {count} here, {protocol.concepts} there")
    total = int(run.model.get("layers") or 0)
    if protocol.depth is not None and total:
        depths = [_depth(layer, total) for layer in study.layers or ()]
        if any(abs(depth - protocol.depth) > _NEAR for depth in depths):
            said.append(f"depth: {', '.join(f'{d:.0%}' for d in depths)} here, {protocol.depth:.0%} there")
    if study.transform != "none":
        said.append(f"the vector is transformed ({study.transform}) here")
    if study.preset == protocol.preset:
        said += [
            f"by the preset {study.preset}: {text}"
            for text in presets.of(study, experiments.find(study.experiment)).differences
        ]
    said.append(f"model: {_model(run.model)} here, {protocol.model} there")
    said.append(f"grader: {grader} here, {protocol.grader} there")
    return said


def card_lines(card: Card) -> list[str]:
    """The card as text."""
    if not card.comparisons:
        return ["no published figures are known for this experiment"]
    lines = ["Beside published figures (they differ in more than the model: read the differences)"]
    for one in card.comparisons:
        lines += ["", f"{one.setting}", f"  {one.source}; {one.basis}", f"  {one.url}"]
        width = max(len(name) for name, _, _ in one.figures)
        lines += [f"  {name:<{width}}  published {theirs:<32}  here {ours}" for name, theirs, ours in one.figures]
        lines += [f"  differs: {text}" for text in one.differences]
    return lines


def _known(count: int | None, trials: int | None, share: float | None) -> Rate | float | None:
    return share if count is None or trials is None else rate(count, trials)


def _trials(value: Any) -> int | None:
    return value.trials if isinstance(value, Rate) else None


def _depth(layer: int | float, layers: int) -> float:
    return layer if isinstance(layer, float) and not layer.is_integer() else int(layer) / layers


def _model(model: Mapping[str, Any]) -> str:
    details = ", ".join(str(model[name]) for name in ("dtype", "quantization") if model.get(name) not in (None, "none"))
    return f"{model.get('model')} ({details})" if details else str(model.get("model"))


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _list(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
