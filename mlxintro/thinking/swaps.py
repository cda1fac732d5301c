"""What swapped thoughts say: does the answer follow the state the subject is in, or the notes that it reads?"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from mlxintro.analysis import stats
from mlxintro.analysis.results import Table
from mlxintro.ladder.shifts import above

SWAP_SIDES = ("own", "notes", "state", "clean")
"""Injected twin's thought with the vector; that thought without it; the uninjected twin's thought with the vector; that
thought without it."""

_COMPARED = (
    ("reads its state", "state", "clean", "uninjected twin's thought: vector on minus off"),
    ("reads its notes", "notes", "clean", "vector off: injected twin's thought minus uninjected twin's"),
    ("both", "own", "clean", "injected twin's thought with the vector on minus neither"),
)


def swap_table(rows: Iterable[tuple[str, Mapping[str, Any]]]) -> Table | None:
    """Compare the sides of all swap trials, concepts as units; ``None`` where there are none.

    Args:
        rows: concepts and measurements of finished trials.
    """
    shifts: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for concept, measurements in rows:
        logits = measurements.get("logits")
        if not isinstance(logits, Mapping) or not all(side in logits for side in SWAP_SIDES):
            continue
        for name, first, second, _ in _COMPARED:
            shifts[name][concept].append(float(logits[first]) - float(logits[second]))
    if not shifts:
        return None
    shown = []
    for name, _, _, what in _COMPARED:
        values = [math.fsum(one) / len(one) for one in shifts[name].values()]
        p = above(values)
        shown.append((name, what, stats.mean(values), "" if p is None else f"{p:.2g}"))
    return Table(
        "swapped_thoughts",
        "Swapped thoughts: change of log P(yes)/P(no) at the answer's first token, in nats",
        ("what", "compared", "mean over concepts", "p (above 0)"),
        tuple(shown),
        "An answer that follows the notes alone shows what the subject can read in its own words, not its state.",
    )
