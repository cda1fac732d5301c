"""From a run's rows to the ladder: every rung has its test in a module of its own; here they are put in order.

What the ladder comes to, and in which words, stands in ``verdict.py``.
"""

from __future__ import annotations

from collections.abc import Callable

from mlxintro.analysis.results import Table
from mlxintro.ladder.answers import compression, yes_bias
from mlxintro.ladder.case import ALPHA, FEW, Case
from mlxintro.ladder.claims import any_disturbance, chance, steering_leak, text_alone
from mlxintro.ladder.mixture import a_mixture, a_patchwork
from mlxintro.ladder.naming import naming_by_luck, own_words
from mlxintro.ladder.observers import a_reader, own_notes
from mlxintro.ladder.rungs import RIVALS, Finding, Ladder, Rung, RungName, rungs_of

TESTS: dict[RungName, Callable[[Case], Finding]] = {
    "chance": chance,
    "steering leak": steering_leak,
    "yes-bias": yes_bias,
    "compression": compression,
    "any disturbance": any_disturbance,
    "text alone": text_alone,
    "own notes": own_notes,
    "a mixture": a_mixture,
    "naming by luck": naming_by_luck,
    "own words": own_words,
    "a reader": a_reader,
    "a patchwork": a_patchwork,
}
"""The test of every rung, from the bottom up."""


def climb(case: Case, advice: str = "mlxintro certify") -> Ladder:
    """Test every rung that is one for this subject.

    Args:
        case: what is judged.
        advice: the command that runs the arms of untested rungs.
    """
    rungs = []
    for name in rungs_of(thinks=case.run.thinks):
        found = TESTS[name](case)
        untested = found.state == "not tested" and found.needs is not None
        remedy = f"{advice} {found.needs}".strip() if untested else ""
        rungs.append(Rung(name, RIVALS[name], found.state, found.said, found.shown, found.p, found.more, remedy))
    return Ladder(tuple(rungs), case.where, case.alpha)


def table_of(ladder: Ladder) -> Table:
    """Return the ladder as a table for a report: what each rung asks, where it stands, and every figure."""
    rows = [
        (rung.name, rung.rival, rung.state, "; ".join(filter(None, (rung.said, rung.more))), rung.p) for rung in ladder
    ]
    columns = ("rung", "rival explanation", "state", "what was seen", "p")
    note = f"judged on {ladder.where}, each test at p < {ladder.alpha:g}"
    return Table("ladder", "The ladder of rival explanations", columns, tuple(rows), note)


def judge(case: Case, best: Case | None, advice: str) -> tuple[Case, Ladder]:
    """Return the ladder of the whole run or of its best cell, whichever is climbed higher.

    Two looks halve the level of each.

    Args:
        case: all trials of the grid.
        best: the best cell, on concepts that did not take part in choosing it.
        advice: see ``climb``.
    """
    if best is None or best.detection.trials < FEW:
        return case, climb(case, advice)
    found = []
    for one in (case, best):
        halved = Case(one.run, one.injected, one.where, ALPHA / 2)
        found.append((halved, climb(halved, advice)))
    return max(found, key=lambda one: _height(one[1]))


def _height(ladder: Ladder) -> tuple[int, int]:
    left = ladder.lowest_left
    names: list[str] = list(TESTS)
    low = len(names) if left is None else names.index(left.name)
    return low, sum(rung.state == "excluded" for rung in ladder)
