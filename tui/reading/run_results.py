"""What runs come to, as the results screen shows it: analysed in a thread, compared line by line."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mlxintro.analysis.across.comparison import model_differences, protocol_differences, side_by_side
from mlxintro.analysis.results import Analysis
from mlxintro.analysis.run import analysis_of, tally_of
from mlxintro.analysis.tally import RunTally
from mlxintro.backends.errors import UsageError
from mlxintro.rendering.text import table_lines
from mlxintro.store.records import Run
from mlxintro.store.store import Store

from . import head_text, wording


@dataclass(frozen=True, slots=True)
class Findings:
    """Holds the analysis of a run as it stood."""

    run: Run
    grader: str
    analysis: Analysis
    tally: RunTally | None = None
    """Counts of its trials by class and cell, where they were counted."""

    @property
    def key(self) -> tuple[str, int, int, str]:
        return key_of(self.run, self.grader)


def key_of(run: Run, grader: str) -> tuple[str, int, int, str]:
    """Return what changes when there is more to analyse."""
    return run.id, run.done, run.errors, grader


def analyse(run: str, grader: str, store: Store) -> Findings:
    """Analyse a run by one grader's verdicts; takes seconds for a hundred thousand trials."""
    found = store.runs.get(run)
    return Findings(found, grader, analysis_of(store, found, grader), tally_of(store, found, grader))


def known_lines(run: Run, grader: str, store: Store) -> str:
    """Return what run it is and its head figures, which take a moment where the whole analysis takes seconds."""
    tally = tally_of(store, run, grader)
    figures = [f"{label}  {text}" for label, text in head_text.lines(tally)]
    classes = [f"{sign} {label}  {count:,}" for sign, label, _, count in head_text.class_counts(tally)]
    return wording.plain("\n".join([wording.identity(run), "", *figures, "", *classes]))


def beside(first: Findings, second: Findings, width: int = 0) -> list[str]:
    """Return two runs figure by figure, with the difference of rates, and where protocol and model differ.

    A table that is wider than ``width`` has a block for each figure.

    Runs of different experiments get the one line that says why they cannot be compared.
    """
    runs = [first.run, second.run]
    try:
        table = side_by_side([(one.run, one.analysis) for one in (first, second)])
    except UsageError as error:
        return [wording.plain(str(error))]
    verdicts = [one.analysis.verdict.kind if one.analysis.verdict else None for one in (first, second)]
    rows = (("verdict", *verdicts, None), *table.rows)
    lines = table_lines(replace(table, rows=rows), width)
    for title, differences in (
        ("the protocols differ", protocol_differences(runs)),
        ("the models differ", model_differences(runs)),
    ):
        if differences:
            lines += ["", f"{title}:", *(f"  {text}" for text in differences)]
    return [wording.plain(text) for text in lines]
