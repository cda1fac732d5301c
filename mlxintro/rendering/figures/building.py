"""From analysed runs to what a figure shows: which kinds there are, and the panels of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mlxintro.analysis.counted_rows import analysed_rows
from mlxintro.analysis.head_figures import Display
from mlxintro.analysis.results import Analysis
from mlxintro.analysis.run import analysis_of, tally_of
from mlxintro.analysis.tally import RunTally
from mlxintro.backends.errors import UsageError
from mlxintro.rendering.figures.maps import curves, heat_maps, rung_panels, value_maps
from mlxintro.rendering.figures.panels import KINDS, Axis, PaperFigure, PictureKind
from mlxintro.rendering.figures.rates import Drawn, by_axis, has_axis, overall
from mlxintro.rendering.figures.sizes import by_size
from mlxintro.store.records import Run
from mlxintro.store.store import Store


@dataclass(frozen=True, slots=True)
class FigureChoice:
    """Says what the user wants to see; ``None`` and empty mean what suits the runs."""

    kind: PictureKind | None = None
    x: Axis | None = None
    figures: tuple[str, ...] = ()
    """Names of head figures, of plots or of maps."""


def drawn_runs(store: Store, runs: Sequence[Run], grader: str) -> list[Drawn]:
    """Analyse runs for a figure.

    Raises:
        UsageError: a run was not graded by that grader, or two runs are of different experiments.
    """
    kinds = {run.experiment for run in runs}
    if len(kinds) > 1:
        said = ", ".join(f"{run.name} is {run.experiment}" for run in runs)
        raise UsageError(f"one figure shows runs of one experiment: {said}")
    labels = labels_of(runs)
    found = []
    for run in runs:
        rows = analysed_rows(store, run, grader)
        analysis = analysis_of(store, run, grader, rows)
        found.append(Drawn(labels[run.id], run, analysis, tally_of(store, run, grader), rows))
    return found


def labels_of(runs: Sequence[Run]) -> dict[str, str]:
    """Name each run on a figure by id: by its model where that tells them apart, else by the run's name."""
    models = {run.id: _model(run) for run in runs}
    apart = len(set(models.values())) == len(models)
    return models if apart else {run.id: run.name for run in runs}


def _model(run: Run) -> str:
    name = str(run.model.get("model", run.name)).rstrip("/").rsplit("/", 1)[-1]
    adapter = str(run.model.get("adapter") or "").rstrip("/").rsplit("/", 1)[-1]
    return f"{name} + {adapter}" if adapter else name


def paper_figure(runs: Sequence[Drawn], choice: FigureChoice = FigureChoice()) -> PaperFigure:
    """Build one figure of one or more runs of an experiment.

    Raises:
        UsageError: the runs have nothing of that kind; the message says what they have.
    """
    if choice.x == "size" and choice.kind in (None, "rates"):
        return by_size(runs, choice.figures)
    kind = choice.kind or best_kind(runs)
    if kind not in kinds_of(runs):
        there = ", ".join(kinds_of(runs)) or "nothing yet"
        raise UsageError(f"{_names(runs)} has no {kind}: it has {there}", setting="kind")
    if kind == "rates":
        return by_axis(runs, choice.x, choice.figures)
    if choice.x is not None:
        raise UsageError(f"only rates have a choice of x, and this figure is {kind}: leave --x out", setting="x")
    if kind == "overall":
        return overall(runs, choice.figures)
    return _BUILDERS[kind](runs, choice.figures)


_BUILDERS: dict[PictureKind, Callable[[Sequence[Drawn], Sequence[str]], PaperFigure]] = {
    "heat-maps": heat_maps,
    "curves": curves,
    "maps": value_maps,
    "ladder": rung_panels,
}


def kinds_of(runs: Sequence[Drawn]) -> list[PictureKind]:
    """List the kinds of figures that these runs have something for."""
    there: dict[PictureKind, bool] = {
        "rates": has_axis(runs),
        "overall": any(figure.observations for run in runs for figure in run.tally.case.figures),
        "heat-maps": any(run.analysis.heat_maps for run in runs),
        "curves": any(run.analysis.plots for run in runs),
        "maps": any(run.analysis.value_maps for run in runs),
        "ladder": any(run.analysis.ladder for run in runs),
    }
    return [kind for kind in KINDS if there[kind]]


def best_kind(runs: Sequence[Drawn]) -> PictureKind:
    """Choose what says most: maps where the experiment is about them, then rates over an axis, then curves.

    Raises:
        UsageError: there is nothing to draw.
    """
    there = kinds_of(runs)
    for kind in ("maps", "rates", "curves", "heat-maps", "overall", "ladder"):
        if kind in there:
            return kind
    raise UsageError(f"{_names(runs)} has no finished trials that a figure could show: run it first")


def _names(runs: Sequence[Drawn]) -> str:
    return ", ".join(one.run.name for one in runs if one.run)


def report_figures(analysis: Analysis) -> list[PaperFigure]:
    """Build the figures that a report of one run shows: its heat maps, maps and curves, one for each.

    The ladder stands in a report as a table, with what was seen on every rung.
    """
    one = Drawn("", None, analysis, RunTally(Display()))
    found = [heat_maps([one], [map_.name]) for map_ in analysis.heat_maps]
    found += [value_maps([one], [map_.name]) for map_ in analysis.value_maps]
    return [*found, *(curves([one], [plot.name]) for plot in analysis.plots if any(c.points for c in plot.curves))]
