"""What swapped thoughts say: does the answer follow the state the subject is in, or the notes that it reads?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mlxintro.analysis import stats
from mlxintro.analysis.results import Table
from mlxintro.ladder.shifts import above
from mlxintro.thinking.swapped import SwappedThoughts


def swap_table(rows: Iterable[tuple[str, Mapping[str, Any]]]) -> Table | None:
    """Compare the sides of all swap trials, concepts as units; ``None`` where there are none.

    Args:
        rows: concepts and measurements of finished trials.
    """
    found = SwappedThoughts.of(rows)
    if not found.by_concept:
        return None
    shown = []
    for name, what, values in (
        ("reads its state", "uninjected twin's thought: vector on minus off", found.state),
        ("reads its notes", "vector off: injected twin's thought minus uninjected twin's", found.notes),
        ("both", "injected twin's thought with the vector on minus neither", found.own),
    ):
        p = above(values)
        shown.append((name, what, stats.mean(values), "" if p is None else f"{p:.2g}"))
    return Table(
        "swapped_thoughts",
        "Swapped thoughts: change of log P(yes)/P(no) at the answer's first token, in nats",
        ("what", "compared", "mean over concepts", "p (above 0)"),
        tuple(shown),
        "An answer that follows the notes alone shows what the subject can read in its own words, not its state: see "
        "the ladder's rung about its own notes.",
    )
