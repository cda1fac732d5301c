"""What a run comes to: the verdict and what it rests on; two runs side by side."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Container, ScrollableContainer
from textual.content import Content
from textual.widget import Widget

from mlxintro.backends.errors import UsageError
from mlxintro.store.records import Run
from mlxintro.store.store import Store

from ..reading import wording
from ..reading.run_results import Findings, analyse, beside, key_of, known_lines
from ..shell.page import Page
from ..widgets.report import RunReport
from ..widgets.text import Text

LARGE = 100_000
"""Trials from which on an analysis is only made when it is asked for: it reads all of them into memory."""
_BESIDE = 2
"""Columns at the sides of a comparison."""
_AGAIN = 20.0
"""A run that goes on is analysed again when this many times the time of the last analysis have passed."""

ResultsSight = tuple[list[Run], tuple[str, ...], int, set[str], int]
"""Runs, graders, number of the newest grade, runs graded since, number of the newest label."""


class ResultsBox(ScrollableContainer, can_focus=True):
    HELP = (
        "The verdict says what the run allows to conclude, and below it stands what that rests on. Intervals are 95 %: "
        "Wilson's for rates, Newcombe's for differences. In curves the vertical line through a mark is its interval. "
        "Arrow and page keys scroll."
    )


class ResultsPage(Page):
    PLACE = "results"
    CSS_PATH = "results.tcss"
    HELP = (
        "Computed from the stored trials and one grader's verdicts, anew when there are more of them. "
        "{results.grader} takes the verdicts of another grader. In the list of runs, {runs.mark} marks two and "
        "{runs.compare} brings them here side by side; "
        "Esc goes back to one."
    )
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (150, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("g", "grader", "Grader", id="results.grader", tooltip="Count the verdicts of the next grader"),
        Binding("r", "compute", "Compute", id="results.compute", tooltip="Compute the results now"),
        Binding("4", "app.go('review')", "Replies", show=False, id="results.review", tooltip="Read the replies"),
        Binding("escape", "single", "Back", id="results.single", tooltip="Only the open run, then the list of runs"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._cache: dict[tuple[str, int, int, str], Findings] = {}
        self._latest: dict[str, Findings] = {}
        """By run: what is shown until there is better."""
        self._known: dict[str, str] = {}
        """By run: what can be said before the analysis is there."""
        self._due: dict[str, float] = {}
        self._wanted: set[str] = set()
        """Large runs that somebody has asked for."""
        self._graders: tuple[str, ...] = ()
        self._grader = ""
        self._newest = 0
        self._labels = 0

    def body(self) -> Iterator[Widget]:
        with ResultsBox(id="results"):
            yield Text(id="beside")
            with Container(id="pair"):
                yield RunReport(id="first")
                yield RunReport(id="second")

    def begin(self) -> None:
        self.query_one("#beside").display = False
        self.query_one("#second").display = False
        self.query_one("#results").focus()

    @property
    def shown(self) -> tuple[str, ...]:
        """Return the ids of the runs that are to be shown."""
        run, pair = self.home.run_id, self.home.compared
        return pair if pair is not None and run in pair else (run,) if run else ()

    def recolour(self) -> None:
        for report in self.query(RunReport):
            report.refresh(recompose=True)

    # -- keeping up to date

    def look(self) -> None:
        runs = self.shown
        if not runs:
            self.query_one("#first", RunReport).show(
                None, self.home.keyed("No run is open: {go.runs} lists the runs, Enter opens one.")
            )
            return
        newest = self._newest
        self.read("results", lambda store: _sight(store, runs, newest), self._looked, last=True)

    def _looked(self, sight: ResultsSight) -> None:
        runs, self._graders, newest, regraded, labels = sight
        if tuple(run.id for run in runs) != self.shown:
            return
        if self._newest and newest != self._newest:
            self._cache = {key: one for key, one in self._cache.items() if key[0] not in regraded}
        if labels != self._labels:
            # Rates are corrected by what people say of the grader.
            self._labels = labels
            self._cache.clear()
        self._newest = newest
        self.home.run_name = " / ".join(run.name for run in runs)
        self._name_run()
        for place, run in zip(("#first", "#second"), runs, strict=False):
            self._bring(self.query_one(place, RunReport), run)
        self._arrange(len(runs))
        self._compare(runs)

    @property
    def grader(self) -> str:
        known = self._graders
        return self._grader if self._grader in known else "rules" if "rules" in known or not known else known[0]

    def _bring(self, report: RunReport, run: Run) -> None:
        findings = self._cache.get(key_of(run, self.grader))
        if findings is None:
            findings = self._latest.get(run.id)
            if findings is not None and findings.grader != self.grader:
                findings = None
            if run.done > LARGE and run.id not in self._wanted:
                note = (
                    f"{run.name} has {run.done:,} trials: {self.home.keyed('{results.compute}')} computes its results, "
                    "which takes a while and some memory."
                )
                report.show(findings, note)
                return
            if self._due.get(run.id, 0.0) <= time.monotonic():
                self.read(f"analysis {run.id}", partial(_timed, run.id, self.grader), self._analysed)
        by = f", verdicts by {self.grader}" if self._graders else ""
        of = f" of {run.planned}" if run.planned != run.done else ""
        note = f"{run.name}: {run.done}{of} trials{by}"
        if findings is None:
            note = f"{note}; computing ...\n\n{self._known.get(run.id, '')}"
            if run.id not in self._known:
                self._known[run.id] = wording.identity(run)
                self.read(f"known {run.id}", partial(known_lines, run, self.grader), partial(self._counted, run.id))
        report.show(findings, note)

    def _counted(self, run: str, lines: str) -> None:
        self._known[run] = lines
        self.look()

    def _analysed(self, answer: tuple[Findings, float]) -> None:
        findings, seconds = answer
        run = findings.run.id
        self._cache = {key: one for key, one in self._cache.items() if key[0] != run or key[3] != findings.grader}
        self._cache[findings.key] = self._latest[run] = findings
        self._due[run] = time.monotonic() + (_AGAIN * seconds if findings.run.state == "running" else 0.0)
        self.look()

    def _arrange(self, reports: int) -> None:
        """Make room for one report or two."""
        self.query_one("#second").display = reports == 2
        if reports < 2:
            self.query_one("#beside").display = False

    def _compare(self, runs: list[Run]) -> None:
        box = self.query_one("#beside", Text)
        reports = [self.query_one(place, RunReport).findings for place in ("#first", "#second")]
        both = len(runs) == 2 and None not in reports
        box.display = both
        if both and reports[0] is not None and reports[1] is not None:
            room = self.query_one("#results").content_size.width - _BESIDE
            box.update(Content("\n".join(beside(reports[0], reports[1], room))))

    # -- what can be done

    def action_grader(self) -> None:
        known = self._graders
        if len(known) < 2:
            raise UsageError("only one grader has verdicts here: mlxintro grade RUN adds others")
        self._grader = known[(known.index(self.grader) + 1) % len(known)]
        self._due.clear()
        self.look()

    def action_compute(self) -> None:
        self._wanted.update(self.shown)
        self._cache.clear()
        self._due.clear()
        self.look()

    def action_single(self) -> None:
        if self.home.compared is not None:
            self.home.compared = None
            # At once: what the store answers comes later, and an answer about both runs may be on its way.
            self._arrange(1)
            self.look()
        else:
            self.home.action_go("runs")


def _sight(store: Store, runs: tuple[str, ...], newest: int) -> ResultsSight:
    last, regraded = store.grades.graded_since(newest)
    graders = sorted({grader for run in runs for grader in store.grades.graders(run)})
    return [store.runs.get(run) for run in runs], tuple(graders), last, regraded, store.browse.newest_verdicts()[1]


def _timed(run: str, grader: str, store: Store) -> tuple[Findings, float]:
    started = time.monotonic()
    return analyse(run, grader, store), time.monotonic() - started
