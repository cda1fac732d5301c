"""Head figures of runs over depth or strength, or side by side over all trials, with what they are set against."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlxintro.analysis.head_figures import FigureKind, HeadFigure
from mlxintro.analysis.results import Analysis, Row
from mlxintro.analysis.tally import Place, RunTally
from mlxintro.backends.errors import UsageError
from mlxintro.rendering.figures.panels import (
    Axis,
    DotPanel,
    Level,
    LinePanel,
    Measured,
    PaperFigure,
    PlottedPoint,
    Series,
)
from mlxintro.store.records import Run

MOST_PANELS = 12
UNITS: dict[FigureKind, str] = {"rate": "% of trials", "mean": "mean over concepts", "log-odds": "log-odds"}
"""What the axis of a head figure counts."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Holds a run as a figure sees it."""

    label: str
    run: Run | None
    """Stored run; ``None`` where a figure is drawn from an analysis alone."""
    analysis: Analysis
    tally: RunTally
    rows: Sequence[Row] = ()
    """Its trials as they were analysed."""

    @property
    def layers(self) -> int:
        """Return how many layers the model has; 1 where it is not known."""
        return int(self.run.model.get("layers") or 1) if self.run else 1

    @property
    def unit(self) -> str:
        return str(self.run.study.get("unit") or "raw") if self.run else "raw"

    def depth(self, layer: int) -> float:
        """Return a layer's depth: 0 is the first block, 1 would be behind the last."""
        return layer / self.layers


def has_axis(runs: Sequence[Drawn]) -> bool:
    """Tell whether any run has several layers or several strengths."""
    return any(len({place[at] for place in run.tally.cells}) > 1 for run in runs for at in (0, 1))


def by_axis(runs: Sequence[Drawn], x: Axis | None, names: Sequence[str]) -> PaperFigure:
    """Draw head figures over depth or strength; cells that differ in the other get lines or panels of their own.

    Raises:
        UsageError: unknown figures, one value on that axis, or more panels than fit.
    """
    if x is None:
        x = "depth" if _varies(runs, 0) else "strength"
    at = 0 if x == "depth" else 1
    if not _varies(runs, at):
        raise UsageError(f"every cell has one {x}: choose --x {'strength' if at == 0 else 'depth'}", setting="x")
    figures = chosen(runs, names)
    if len(runs) == 1:
        panels = [(number, _of_one(runs[0], number, at)) for number in figures]
    else:
        others = sorted({_other(run, place, at) for run in runs for place in run.tally.cells})
        several = len(others) > 1
        panels = [(number, _of_many(runs, number, at, other, several)) for number in figures for other in others]
    kept = tuple(panel for _, panel in panels if panel.lines)
    shown = [runs[0].tally.display.figures[number].label for number, panel in panels if panel.lines]
    if len(kept) > MOST_PANELS:
        raise UsageError(f"that would be {len(kept)} panels: choose fewer with --figure, or runs with fewer cells")
    return PaperFigure("rates", kept, _caption(runs, kept, shown, x))


def chosen(runs: Sequence[Drawn], names: Sequence[str]) -> list[int]:
    """Find head figures by name, as places in the display; all of them where none is named.

    Raises:
        UsageError: the experiment has no such figure.
    """
    figures = runs[0].tally.display.figures
    known = [figure.name for figure in figures]
    for name in names:
        if name not in known:
            raise UsageError(f"there is no figure {name!r}: choose from {', '.join(known)}", setting="figure")
    return [number for number, name in enumerate(known) if not names or name in names]


def _varies(runs: Sequence[Drawn], at: int) -> bool:
    return any(len({place[at] for place in run.tally.cells}) > 1 for run in runs)


def _other(run: Drawn, place: Place, at: int) -> float:
    """Return the coordinate that is not on the axis; layers as depths, so that models can share a panel."""
    return place[1] if at == 0 else round(run.depth(place[0]), 2)


def _x(run: Drawn, place: Place, at: int) -> float:
    return run.depth(place[0]) if at == 0 else place[1]


def _of_one(run: Drawn, number: int, at: int) -> LinePanel:
    """A panel with a line for each value of the other coordinate."""
    figure = run.tally.display.figures[number]
    others = sorted({place[1 - at] for place in run.tally.cells})
    lines = []
    for order, other in enumerate(others):
        places = sorted(place for place in run.tally.cells if place[1 - at] == other)
        label = f"strength {other:g}" if at == 0 else f"layer {other:g}"
        lines.append(Series(label, _spots(run, places, number, at), order))
    return _panel(figure, f"{run.label}: ", "", run, at, lines, _levels([run], number))


def _of_many(runs: Sequence[Drawn], number: int, at: int, other: float, several: bool) -> LinePanel:
    """A panel with a line for each run."""
    figure = runs[0].tally.display.figures[number]
    lines = []
    for order, run in enumerate(runs):
        places = sorted(place for place in run.tally.cells if _other(run, place, at) == other)
        lines.append(Series(run.label, _spots(run, places, number, at), order))
    where = (f"strength {other:g}" if at == 0 else f"depth {other:.0%}") if several else ""
    shown = [run for run, line in zip(runs, lines, strict=True) if line.spots]
    levels = [one for one in _levels(runs, number) if one.order is not None and lines[one.order].spots]
    return _panel(figure, "", where, (shown or runs)[0], at, [line for line in lines if line.spots], levels)


def _spots(run: Drawn, places: Iterable[Place], number: int, at: int) -> tuple[PlottedPoint, ...]:
    found = ((_x(run, place, at), Measured.of(run.tally.cells[place].figures[number].value)) for place in places)
    return tuple(PlottedPoint(x, measured) for x, measured in found if measured is not None)


def _levels(runs: Sequence[Drawn], number: int) -> list[Level]:
    found = []
    for order, run in enumerate(runs):
        figure = run.tally.display.figures[number]
        measured = Measured.of(run.tally.baseline.figures[number].value)
        if figure.baseline is not None and measured is not None:
            label = figure.baseline.label if len(runs) == 1 else f"{run.label}, {figure.baseline.label}"
            found.append(Level(label, measured, None if len(runs) == 1 else order))
    return found


def _panel(
    figure: HeadFigure,
    who: str,
    where: str,
    run: Drawn,
    at: int,
    lines: Sequence[Series],
    levels: Sequence[Level],
) -> LinePanel:
    x = "depth (layer / number of layers)" if at == 0 else f"strength ({run.unit})"
    title = who + ", ".join(filter(None, (figure.label, where)))
    return LinePanel(
        title,
        x,
        UNITS[figure.kind],
        tuple(lines),
        tuple(levels),
        share=figure.kind == "rate",
        depth=at == 0,
    )


def overall(runs: Sequence[Drawn], names: Sequence[str]) -> PaperFigure:
    """Draw the head figures of every run over all its trials, side by side; rates and means in panels of their own."""
    figures = runs[0].tally.display.figures
    panels = []
    for kind, x in UNITS.items():
        numbers = [number for number in chosen(runs, names) if figures[number].kind == kind]
        rows = [(number, side) for number in numbers for side in range(len(figures[number].groups))]
        if not rows:
            continue
        labels = tuple(f"{figures[number].label}, {figures[number].groups[side].label}" for number, side in rows)
        lines = []
        for order, run in enumerate(runs):
            sides = (run.tally.case.figures, run.tally.baseline.figures)
            values = (Measured.of(sides[side][number].value) for number, side in rows)
            spots = tuple(PlottedPoint(float(at), value) for at, value in enumerate(values) if value is not None)
            lines.append(Series(run.label, spots, order))
        panels.append(DotPanel("", x, labels, tuple(lines), share=kind == "rate"))
    said = f"Head figures of {_who(runs)} over all trials. {intervals(panels)}"
    return PaperFigure("overall", tuple(panels), said)


def _caption(runs: Sequence[Drawn], panels: Sequence[LinePanel], figures: Sequence[str], x: Axis) -> str:
    shown = " and ".join(dict.fromkeys(figures))
    against = any(panel.levels for panel in panels)
    dotted = " Dotted: the same over trials without an injection." if against else ""
    depth = " Depth is the layer's index over the number of layers." if x == "depth" else ""
    return f"{shown[:1].upper()}{shown[1:]} by {x}: {_who(runs)}.{dotted} {intervals(panels)}{depth}"


def _who(runs: Sequence[Drawn]) -> str:
    names = ", ".join(run.label for run in runs)
    experiment = runs[0].run.experiment if runs[0].run else ""
    return f"{names} ({experiment})" if experiment else names


def intervals(panels: Sequence[LinePanel | DotPanel]) -> str:
    """Say what bars are and how many observations a point rests on."""
    counts = [spot.measured.count for panel in panels for line in panel.lines for spot in line.spots]
    known = sorted(count for count in counts if count is not None)
    n = f"; n = {span(known)} {'trials' if panels[0].share else 'concepts'} per point" if known else ""
    kind = "Wilson's" if panels[0].share else "Student's, over concepts"
    return f"Bars are 95 % intervals ({kind}){n}."


def span(counts: Sequence[int]) -> str:
    """Say the smallest and the largest of sorted counts, once where they are equal."""
    return f"{counts[0]:,}" if counts[0] == counts[-1] else f"{counts[0]:,} to {counts[-1]:,}"
