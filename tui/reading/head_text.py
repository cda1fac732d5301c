"""Head figures of a run and the read-out of a trial as text: ``26/200 = 13 % [9, 18]``, ``log-odds of yes +1.13``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from mlxintro.analysis.head_figures import Display
from mlxintro.analysis.results import Row
from mlxintro.analysis.stats import Mean, Rate
from mlxintro.analysis.tally import CellTally, FigureTally, RunTally
from mlxintro.analysis.trial_classes import ColourRole
from mlxintro.replies.log_odds import log_odds

NONE = "–"


def short(value: Rate | Mean) -> str:
    """Return a figure with its interval: ``13 % [9, 18]`` or ``+1.13 [0.80, 1.46]``."""
    if value.value is None:
        return NONE
    number = f"{100 * value.value:.0f} %" if isinstance(value, Rate) else f"{value.value:+.2f}"
    return " ".join(filter(None, (number, _bounds(value))))


def _bounds(value: Rate | Mean) -> str:
    if isinstance(value, Rate):
        return f"[{100 * value.low:.0f}, {100 * value.high:.0f}]"
    return "" if value.low is None or value.high is None else f"[{value.low:.2f}, {value.high:.2f}]"


def counted(tally: FigureTally) -> str:
    """Return a figure with its counts and its interval: ``26/200 = 13 % [9, 18]``."""
    value = tally.value
    if value.value is None:
        return NONE
    if isinstance(value, Rate):
        return f"{tally.hits}/{tally.observations} = {short(value)}"
    return f"{short(value)} n={tally.observations}"


def bare(tally: FigureTally) -> str:
    """Return a figure alone: ``13 %`` or ``+1.13``."""
    value = tally.value
    if value.value is None:
        return ""
    return f"{100 * value.value:.0f} %" if isinstance(value, Rate) else f"{value.value:+.2f}"


def share(tally: FigureTally) -> float | None:
    """Return a rate as a share; nothing for what is no rate."""
    value = tally.value
    return value.value if isinstance(value, Rate) else None


def lines(tally: RunTally) -> Iterator[tuple[str, str]]:
    """Name and text of every head figure, each with what it is set against."""
    for case, against in zip(tally.case.figures, tally.baseline.figures, strict=True):
        yield case.figure.label, counted(case)
        if case.figure.baseline is not None:
            yield f"  {case.figure.baseline.label}", counted(against)


def class_counts(tally: RunTally) -> Iterator[tuple[str, str, ColourRole, int]]:
    """Return sign, label, colour role and number of trials of every class, in the order of the display."""
    for one in tally.display.classes:
        count = tally.case.classes[one] + tally.baseline.classes[one]
        if count:
            yield one.sign, one.label, one.role, count


def read_out(display: Display, row: Row) -> str:
    """Return what a trial without a reply has measured, by the figures it counts for."""
    found = []
    for figure in display.figures:
        value = figure.value(row)
        if value is None:
            continue
        if figure.kind == "rate":
            found.append(f"{figure.label}: {'yes' if value else 'no'}")
        else:
            found.append(f"{figure.label} {value:+.2f}")
    return "; ".join(dict.fromkeys(found)) or _options(row.measurements)


def _options(measurements: Mapping[str, Any]) -> str:
    """Return the log-odds of yes where yes and no were scored, else the likeliest options with probabilities."""
    scored = measurements.get("logprobs")
    if not isinstance(scored, Mapping):
        return ""
    values = {str(one): value for one, value in scored.items() if isinstance(value, (int, float))}
    sides = {side: [one for one in values if one.strip().lower() == side] for side in ("yes", "no")}
    if all(sides.values()) and sum(map(len, sides.values())) == len(values):
        return f"log P(yes)/P(no) = {log_odds(values, sides['yes'], clip=False):+.2f}"
    likely = sorted(values.items(), key=lambda item: -item[1])[:3]
    return ", ".join(f"P({option.strip()}) = {math.exp(min(0.0, value)):.2f}" for option, value in likely)


def cell_text(cell: CellTally | None, planned: int, at: int = 0) -> str:
    """Return a cell of a map in full: the figure with its interval and counts, or how many trials there are yet.

    ``3 of 20`` are trials that are done; ``3/20 = 15 %`` is a rate.
    """
    if cell is None or not cell.trials:
        return f"0 of {planned}" if planned else "·"
    figure = cell.figures[at]
    return counted(figure) if figure.observations else f"{cell.trials} of {planned}" if planned else str(cell.trials)


def in_lines(tally: FigureTally, width: int, height: int) -> list[str]:
    """Return a figure in at most that many lines of that many columns; what has no room is left out, never cut.

    The first line has the figure and its counts, the second its interval, the third the interval as a bar from 0 to
    100 %.
    """
    value = tally.value
    counts = f"{tally.hits}/{tally.observations}" if isinstance(value, Rate) else f"n={tally.observations}"
    number = bare(tally)
    if height == 1:
        return [next((one for one in (counted(tally), f"{number} {counts}", number) if len(one) <= width), number)]
    equal = f"{counts} = {number}" if isinstance(value, Rate) else f"{number}  {counts}"
    lines = [next((one for one in (equal, f"{number} {counts}", number) if len(one) <= width), number)]
    if value.low is not None and value.high is not None:
        interval = _bounds(value)
        lines.append(interval if len(interval) <= width else "")
        if isinstance(value, Rate) and value.value is not None:
            lines.append(interval_bar(value.low, value.value, value.high, width))
    return lines[:height]


def interval_bar(low: float, value: float, high: float, width: int) -> str:
    """Draw a value with its interval on an axis from 0 to 1: ``├──●───┤``."""

    def place(share: float) -> int:
        return min(width - 1, max(0, round(share * (width - 1))))

    cells = ["·" if at % max(1, (width - 1) // 4) == 0 else " " for at in range(width)]
    for at in range(place(low), place(high) + 1):
        cells[at] = "─"
    cells[place(low)], cells[place(high)] = "├", "┤"
    cells[place(value)] = "●"
    return "".join(cells)
