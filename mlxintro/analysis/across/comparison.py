"""Runs side by side: every rate, its difference from the first run's, and where their protocols differ."""

from __future__ import annotations

from collections.abc import Sequence

from mlxintro.analysis.results import Analysis, Cell, Table
from mlxintro.analysis.run import display_of, study_of
from mlxintro.analysis.stats import Rate, difference
from mlxintro.backends.errors import UsageError
from mlxintro.store.records import Run

_IDENTITY = ("model", "revision", "backend", "dtype", "quantization")
_NOT_PROTOCOL = {"model", "backend", "device", "dtype", "quantize", "kv_bits", "adapter", "seed", "preset_data"}


def side_by_side(runs: Sequence[tuple[Run, Analysis]]) -> Table:
    """Compare figure by figure, the experiment's head figures first.

    A row holds each run's value, and every later run minus the first with Newcombe's interval.

    Raises:
        UsageError: runs of different experiments, whose figures of one name are different things.
    """
    if len({run.experiment for run, _ in runs}) > 1:
        kinds = ", ".join(f"{run.name} is {run.experiment}" for run, _ in runs)
        raise UsageError(f"only runs of the same experiment have figures in common: {kinds}")
    head = [group.figure for figure in display_of(runs[0][0]).figures for group in figure.groups if group.figure]
    there = dict.fromkeys(figure.name for _, analysis in runs for figure in analysis.figures)
    names = list(dict.fromkeys([*(name for name in head if name in there), *there]))
    columns = ["figure", *(run.name for run, _ in runs)]
    columns += [f"{run.name} - {runs[0][0].name}" for run, _ in runs[1:]]
    rows = []
    for name in names:
        figures = [analysis.figure(name) for _, analysis in runs]
        values: list[Cell] = [figure.value if figure else None for figure in figures]
        label = next(figure.label for figure in figures if figure)
        rows.append((label, *values, *(_minus(value, values[0]) for value in values[1:])))
    note = "differences of rates in points, 95 % intervals after Newcombe; runs are taken as independent"
    return Table("comparison", "Side by side", tuple(columns), tuple(rows), note)


def _minus(later: Cell, first: Cell) -> Cell:
    return difference(later, first) if isinstance(later, Rate) and isinstance(first, Rate) else None


def protocol_differences(runs: Sequence[Run]) -> list[str]:
    """Return the settings in which the runs differ; empty when only the model, its place or the seed does."""
    studies = [study_of(run).model_dump() for run in runs]
    said = []
    for name in studies[0]:
        values = [study[name] for study in studies]
        if name not in _NOT_PROTOCOL and any(value != values[0] for value in values[1:]):
            said.append(f"{name}: " + _values(values))
    if any(study["preset_data"] != studies[0]["preset_data"] for study in studies[1:]):
        said.append("preset_data: the wording differs")
    return said


def model_differences(runs: Sequence[Run]) -> list[str]:
    """Return what differs in the models that were run."""
    return [
        f"{name}: " + _values([run.model.get(name) for run in runs])
        for name in _IDENTITY
        if len({str(run.model.get(name)) for run in runs}) > 1
    ]


def _values(values: Sequence[object]) -> str:
    return " | ".join(", ".join(map(str, v)) if isinstance(v, tuple | list) else str(v) for v in values)
