"""A run beside published figures, with every difference in protocol that stands between them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any

from mlxintro import data, experiments
from mlxintro.analysis.results import Cell, Figure, Row
from mlxintro.analysis.run import study_of
from mlxintro.analysis.stats import Rate, rate
from mlxintro.protocol.bounds import Data
from mlxintro.protocol.words.imported import resolve_concepts
from mlxintro.rendering.text import cell_text
from mlxintro.store.records import Run

_NEAR = 0.05
"""Depths closer than this count as the same."""


class Protocol(Data):
    experiment: str
    preset: str
    window: str | None = None
    """Window of the injection; left out where the experiment's design says where it is."""
    strengths: tuple[float, ...]
    unit: str
    temperature: float
    max_tokens: int
    concepts: int
    grader: str | None = None
    """Who reads the replies; ``None`` where nobody does, e.g. for probabilities."""
    model: str
    depth: float | None = None


class Number(Data):
    """Holds one published figure: a count where one is published, else a rate alone, without an interval."""

    count: int | None = None
    trials: int | None = None
    rate: float | None = None

    @property
    def value(self) -> Rate | float | None:
        return self.rate if self.count is None or self.trials is None else rate(self.count, self.trials)


class Result(Data):
    """Says what a source says of one setting."""

    setting: str
    figures: Mapping[str, Number]
    """Published figures, by the names of the experiment's own."""
    basis: str | None = None
    strengths: tuple[float, ...] | None = None
    depth: float | None = None


class PublishedSource(Data):
    source: str
    url: str
    basis: str
    """Place where the figures stand: in the text, in released data."""
    protocol: Protocol
    results: tuple[Result, ...]

    def protocol_of(self, result: Result) -> Protocol:
        given = {name: value for name in ("strengths", "depth") if (value := getattr(result, name)) is not None}
        return self.protocol.model_copy(update=given)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Sets one published result beside the run, with what differs between them."""

    source: str
    url: str
    setting: str
    basis: str
    cell: str | None
    """The layer and strength of the run that the figures are of; ``None`` where it has no such cell."""
    figures: tuple[tuple[str, str, str], ...]
    """Name, published, this run."""
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Card:
    comparisons: tuple[Comparison, ...]


class _MeasuredCells:
    """Holds figures of the run's cells, each analysed once."""

    def __init__(self, run: Run, rows: Sequence[Row]) -> None:
        self._study = study_of(run)
        self._rows = rows
        self._total = int(run.model.get("layers") or 0)
        self._found: dict[tuple[tuple[int, float], ...], dict[str, Figure]] = {}

    def matching(self, protocol: Protocol) -> list[tuple[int, float]] | None:
        """Find the layers and strengths at which the run did what was published; ``None`` where nothing has a place."""
        placed = sorted({(row.layer, row.strength) for row in self._rows if row.layer is not None and row.strength})
        if not placed:
            return None
        if self._study.unit != protocol.unit:
            return []
        found = [
            (layer, strength)
            for layer, strength in placed
            if any(math.isclose(strength, wanted, rel_tol=1e-6) for wanted in protocol.strengths)
        ]
        depth = protocol.depth
        if depth is None or not self._total:
            return found
        gaps = {layer: abs(layer / self._total - depth) for layer, _ in found}
        nearest = min(gaps, key=lambda layer: gaps[layer], default=None)
        return [place for place in found if place[0] == nearest and gaps[place[0]] <= _NEAR]

    def figures(self, places: Sequence[tuple[int, float]] | None) -> dict[str, Figure]:
        """Analyse the trials of some cells, beside all that have no injection."""
        chosen = tuple(places or ())
        if chosen not in self._found:
            kept = [row for row in self._rows if places is None or not row.layer or (row.layer, row.strength) in chosen]
            experiment = experiments.find(self._study.experiment)
            analysis = experiment.analyse(kept, self._study, experiment.preset_of(self._study))
            self._found[chosen] = {figure.name: figure for figure in analysis.figures}
        return self._found[chosen]

    def said(self, places: Sequence[tuple[int, float]] | None) -> str | None:
        """Name the cells in words."""
        if places is None:
            return "all trials"
        layers = sorted({layer for layer, _ in places})
        strengths = _list(tuple(sorted({strength for _, strength in places})))
        if not layers:
            return None
        where = f"layer {layers[0]}" if len(layers) == 1 else f"layers {layers[0]} to {layers[-1]}"
        depth = f" ({layers[0] / self._total:.0%} of the depth)" if len(layers) == 1 and self._total else ""
        return f"{where}{depth}, strength {strengths}"


@cache
def sources() -> tuple[PublishedSource, ...]:
    """Read every published figure that ships."""
    return tuple(PublishedSource.model_validate(item) for item in data.load("published.toml")["sources"])


def compare(run: Run, rows: Sequence[Row], grader: str) -> Card:
    """Set a run beside the published results of its experiment, each beside the cell of the same depth and strength."""
    wanted = [source for source in sources() if source.protocol.experiment == run.experiment]
    cells = _MeasuredCells(run, rows)
    return Card(tuple(_compare(source, one, run, cells, grader) for source in wanted for one in source.results))


def _compare(source: PublishedSource, one: Result, run: Run, cells: _MeasuredCells, grader: str) -> Comparison:
    protocol = source.protocol_of(one)
    places = cells.matching(protocol)
    cell = cells.said(places)
    labels = cells.figures(None)
    ours = {} if cell is None else cells.figures(places)
    figures = tuple(
        (
            labels[name].label if name in labels else name.replace("_", " "),
            _shown(number.value),
            _shown(_value(ours, name)) if ours else "no such cell",
        )
        for name, number in one.figures.items()
    )
    found = differences(protocol, run, grader, same_cell=bool(places))
    for name, number in one.figures.items():
        here = _value(ours, name)
        if number.trials is not None and isinstance(here, Rate) and here.trials not in (0, number.trials):
            found.append(f"{ours[name].label}: {here.trials} trials here, {number.trials} there")
    return Comparison(source.source, source.url, one.setting, one.basis or source.basis, cell, figures, tuple(found))


def differences(protocol: Protocol, run: Run, grader: str, *, same_cell: bool) -> list[str]:
    """List every setting in which a run differs from a published protocol, one sentence each.

    Args:
        same_cell: the figures are of the cell at the published depth and strength, so these two do not differ.
    """
    study = study_of(run)
    said = []
    for name in ("preset", "window", "unit", "temperature", "max_tokens"):
        theirs, ours = getattr(protocol, name), getattr(study, name)
        if theirs is not None and theirs != ours:
            said.append(f"{name.replace('_', ' ')}: {_text(ours)} here, {_text(theirs)} there")
    if not same_cell and tuple(study.strengths or ()) != protocol.strengths:
        said.append(f"strengths: {_list(study.strengths or ())} here, {_list(protocol.strengths)} there")
    count = len(resolve_concepts(study.concepts, True, study.vectors or {}, study.library))
    if count != protocol.concepts:
        said.append(f"concepts: {count} here, {protocol.concepts} there")
    total = int(run.model.get("layers") or 0)
    if not same_cell and protocol.depth is not None and total:
        depths = [_depth(layer, total) for layer in study.layers or ()]
        if any(abs(depth - protocol.depth) > _NEAR for depth in depths):
            said.append(f"depth: {', '.join(f'{d:.0%}' for d in depths)} here, {protocol.depth:.0%} there")
    if study.transform != "none":
        said.append(f"the vector is transformed ({study.transform}) here")
    if study.preset == protocol.preset:
        said += [
            f"by the preset {study.preset}: {text}"
            for text in experiments.find(study.experiment).preset_of(study).differences
        ]
    said.append(f"model: {_model(run.model)} here, {protocol.model} there")
    if protocol.grader is not None:
        own = grader if experiments.find(study.experiment).graded else "the experiment's own measure"
        said.append(f"grader: {own} here, {protocol.grader} there")
    return said


def card_lines(card: Card) -> list[str]:
    """Return the card as text: what differs from all results of a source is said once."""
    if not card.comparisons:
        return ["no published figures are known for this experiment"]
    lines = [
        "Beside published figures (they differ in more than the model: read the differences)",
        "Each stands beside the cell of the same strength with a layer within 5 % of the depth, where there is one.",
    ]
    for (source, url), group in groupby(card.comparisons, key=lambda one: (one.source, one.url)):
        results = list(group)
        common = [text for text in results[0].differences if all(text in one.differences for one in results)]
        lines += ["", source, f"  {url}", *(f"  differs: {text}" for text in common)]
        for at, one in enumerate(results):
            lines += ["", f"  {one.setting}", f"  here: {one.cell or 'no such cell'}"]
            lines += [f"  ({one.basis})"] if not at or one.basis != results[at - 1].basis else []
            width = max(len(name) for name, _, _ in one.figures)
            lines += [f"    {name:<{width}}  published {theirs:<24}  here {ours}" for name, theirs, ours in one.figures]
            lines += [f"    differs: {text}" for text in one.differences if text not in common]
    return lines


def _value(figures: Mapping[str, Figure], name: str) -> Cell:
    return figures[name].value if name in figures else None


def _shown(value: Cell) -> str:
    """A number without an interval is a share here, too."""
    return f"{100 * value:.3g}%" if isinstance(value, float) else cell_text(value)


def _depth(layer: int | float, layers: int) -> float:
    return layer if isinstance(layer, float) and not layer.is_integer() else int(layer) / layers


def _model(model: Mapping[str, Any]) -> str:
    details = ", ".join(str(model[name]) for name in ("dtype", "quantization") if model.get(name) not in (None, "none"))
    return f"{model.get('model')} ({details})" if details else str(model.get("model"))


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _list(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
