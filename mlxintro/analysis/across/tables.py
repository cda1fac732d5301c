"""Everything that runs of one experiment say about each other, as tables in the order in which they should be read."""

from __future__ import annotations

from collections.abc import Sequence

from mlxintro.analysis.across.depths import depth_table
from mlxintro.analysis.across.pairs import pair_table
from mlxintro.analysis.across.sizes import concept_table, have_sizes, trend_table
from mlxintro.analysis.across.units import ComparedRun
from mlxintro.analysis.results import Row, Table
from mlxintro.analysis.run import display_of
from mlxintro.backends.errors import UsageError
from mlxintro.backends.models import aliases
from mlxintro.store.records import Run


def compared(runs: Sequence[tuple[Run, Sequence[Row]]], sizes: Sequence[float] = ()) -> list[ComparedRun]:
    """Make runs ready for comparisons.

    Args:
        runs: each with its rows.
        sizes: parameters in billions, run by run; taken from the models where left out.

    Raises:
        UsageError: not one size for every run.
    """
    if sizes and len(sizes) != len(runs):
        raise UsageError(f"{len(sizes)} sizes for {len(runs)} runs: give one for each, in their order", setting="sizes")
    if any(size <= 0 for size in sizes):
        raise UsageError("a size is above 0: give parameters in billions, such as 0.5", setting="sizes")
    known: Sequence[float | None] = sizes or [size_of(run) for run, _ in runs]
    return [
        ComparedRun(run, display_of(run), rows, size or None) for (run, rows), size in zip(runs, known, strict=True)
    ]


def size_of(run: Run) -> float | None:
    """Return a model's parameters in billions: as counted when it was loaded, else as its alias says."""
    counted = run.model.get("parameters")
    if counted:
        return float(counted) / 1e9
    alias = aliases.find(str(run.model.get("model", "")))
    return alias.parameters if alias else None


def across_tables(runs: Sequence[ComparedRun], *, by_concept: bool = False) -> list[Table]:
    """Compare runs: each with the first concept by concept, all of them by depth, and over size where sizes differ.

    Args:
        runs: two or more of one experiment.
        by_concept: with the trend of every single concept.
    """
    tables = [pair_table(runs[0], later) for later in runs[1:]]
    tables.append(depth_table(runs))
    if have_sizes(runs):
        tables.append(trend_table(runs))
        if by_concept:
            tables.append(concept_table(runs))
    return [table for table in tables if table.rows]
