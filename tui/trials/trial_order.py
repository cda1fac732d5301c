"""The order of a list of trials: the plan's, or by a column. Sorted in a thread, for as many as can be held."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlxintro.analysis.head_figures import Display
from mlxintro.analysis.trial_classes import TrialClass
from mlxintro.backends.errors import UsageError
from mlxintro.store.searching.browse import OrderColumn, Seen
from mlxintro.store.store import Store

from .trial_line import TrialLines

COLUMNS = ("trial", "verdict", "reply", "concept", "layer", "α")
"""By what trials can be sorted; the first is the plan's own order."""
MOST = 50_000
"""Trials that are sorted by what has to be read of each: its reply or its class."""
_PORTION = 1_000
_STORED: Mapping[str, OrderColumn] = {
    "trial": "ordinal",
    "concept": "concept",
    "layer": "layer",
    "α": "strength",
}
"""Columns of the store that need no reading of the trials."""


@dataclass(frozen=True, slots=True)
class TrialOrder:
    column: str = COLUMNS[0]
    turned: bool = False
    """Whether the order is reversed."""

    def next(self, wanted: str | None = None) -> TrialOrder:
        """Return the order by the next column or a certain one; by the same one again the other way round."""
        if wanted is not None and wanted == self.column:
            return TrialOrder(self.column, not self.turned)
        return TrialOrder(wanted or COLUMNS[(COLUMNS.index(self.column) + 1) % len(COLUMNS)])

    @property
    def planned(self) -> bool:
        """Tell whether it is the order of the plan, which needs no sorting."""
        return self == TrialOrder()

    @property
    def arrow(self) -> str:
        return "▼" if self.turned else "▲"


def ordered(
    run: str, rows: Sequence[int], order: TrialOrder, display: Display, grader: str, store: Store
) -> array[int]:
    """Return the rows in an order; trials without a value come last, equal ones in the order of the plan.

    Raises:
        UsageError: there are too many for an order by reply or verdict.
    """
    if order.column in _STORED:
        found = store.browse.rows_by(run, _STORED[order.column], descending=order.turned)
        wanted = set(rows)
        return array("q", (row for row in found if row in wanted))
    if len(rows) > MOST:
        raise UsageError(f"{len(rows):,} trials are too many to sort by {order.column}: filter them first")
    lines = TrialLines(display, grader, dark=True)
    ranks = {one: number for number, one in enumerate(display.classes)}
    keyed: list[tuple[int | str, int]] = []
    for start in range(0, len(rows), _PORTION):
        for seen in store.browse.seen(run, list(rows[start : start + _PORTION])):
            keyed.append((_key(order.column, seen, lines, ranks), seen.row))
    keyed.sort(key=lambda item: item[0], reverse=order.turned)
    return array("q", (row for _, row in keyed))


def _key(column: str, seen: Seen, lines: TrialLines, ranks: Mapping[TrialClass, int]) -> int | str:
    if column == "reply":
        return lines.said(seen).casefold()
    return ranks.get(lines.class_of(seen), len(ranks))
