"""What runs come to, as the results screen shows it: analysed in a thread, compared line by line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mlxintro.analysis.results import Analysis, Cell
from mlxintro.analysis.run import analysis_of
from mlxintro.analysis.stats import Rate, difference
from mlxintro.rendering.text import cell_text, grid
from mlxintro.store.records import Run
from mlxintro.store.store import Store

from . import wording


@dataclass(frozen=True, slots=True)
class Findings:
    """The analysis of a run as it stood."""

    run: Run
    grader: str
    analysis: Analysis

    @property
    def key(self) -> tuple[str, int, int, str]:
        return key_of(self.run, self.grader)


def key_of(run: Run, grader: str) -> tuple[str, int, int, str]:
    """Changes when there is more to analyse."""
    return run.id, run.done, run.errors, grader


def analyse(run: str, grader: str, store: Store) -> Findings:
    """Analyse a run by one grader's verdicts; takes seconds for a hundred thousand trials."""
    found = store.runs.get(run)
    return Findings(found, grader, analysis_of(store, found, grader))


def beside(first: Findings, second: Findings) -> list[str]:
    """Two runs figure by figure, with the difference of rates, and the settings in which they differ."""
    names = list(dict.fromkeys(figure.name for one in (first, second) for figure in one.analysis.figures))
    rows = [list(_row(first.analysis, second.analysis, name)) for name in names]
    verdicts = [one.analysis.verdict.kind if one.analysis.verdict else "–" for one in (first, second)]
    header = ["", first.run.name, second.run.name, "second minus first"]
    lines = grid(header, [["verdict", *verdicts, ""], *rows])
    settings = list(_settings(first.run, second.run))
    lines += ["", "settings that differ:" if settings else "no setting differs", *(f"  {text}" for text in settings)]
    return [wording.plain(text) for text in lines]


def _row(first: Analysis, second: Analysis, name: str) -> Iterator[str]:
    figures = [one.figure(name) for one in (first, second)]
    values: list[Cell] = [figure.value if figure else None for figure in figures]
    yield next(figure.label for figure in figures if figure)
    yield from map(cell_text, values)
    a, b = values
    yield cell_text(difference(b, a)) if isinstance(a, Rate) and isinstance(b, Rate) else ""


def _settings(first: Run, second: Run) -> Iterator[str]:
    for title, a, b in (("", first.study, second.study), ("model ", first.model, second.model)):
        for name in dict.fromkeys((*a, *b)):
            if a.get(name) != b.get(name):
                yield f"{title}{name}: {_short(a.get(name))} / {_short(b.get(name))}"


def _short(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
