"""One run's analysis from top to bottom: verdict, figures, heat maps, curves, tables, remarks."""

from __future__ import annotations

from collections.abc import Iterable

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from mlxintro.rendering.text import figure_lines, heat_map_lines, table_lines, value_map_lines

from ..reading import wording
from ..reading.result_bars import forest, taxonomy
from ..reading.run_results import Findings
from .curves import CurvePlot, legend
from .ladder_panel import LadderPanel
from .text import cleaned

_LEAST, _BESIDE = 40, 4
"""Fewest columns that it is drawn for, and those at its sides."""


class RunReport(Vertical):
    """Shows findings, or why there are none yet."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._findings: Findings | None = None
        self._note = ""
        self._laid_out = 0
        """Columns for which it was drawn."""

    @property
    def findings(self) -> Findings | None:
        return self._findings

    def show(self, findings: Findings | None, note: str = "") -> None:
        """Show findings in place of the last ones, with a line above them."""
        if findings is not self._findings:
            self._findings, self._note = findings, note
            self.refresh(recompose=True)
        elif note != self._note:
            self._note = note
            self.query_one(".note", Static).update(Content(wording.plain(note)))

    @property
    def _width(self) -> int:
        return max(_LEAST, (self.size.width or self.app.size.width) - _BESIDE)

    def on_resize(self) -> None:
        if self._findings is not None and self._laid_out != self._width:
            self.refresh(recompose=True)

    def compose(self) -> ComposeResult:
        yield Static(Content(wording.plain(self._note)), classes="note quiet")
        self._laid_out = self._width
        if self._findings is not None:
            yield from _blocks(self._findings, self._width, dark=self.app.current_theme.dark)


def _blocks(findings: Findings, width: int, *, dark: bool) -> ComposeResult:
    analysis = findings.analysis
    if analysis.verdict is not None:
        # What the ladder says stands in a panel of its own.
        said = set(analysis.ladder.lines) if analysis.ladder else set()
        evidence = "\n".join(f"· {line}" for line in analysis.verdict.evidence if line not in said)
        headline = Content.styled(wording.plain(analysis.verdict.headline), "bold")
        card = Static(Content.assemble(headline, "\n" if evidence else "", wording.plain(evidence)), classes="card")
        card.border_title = wording.plain(f"verdict: {analysis.verdict.kind}")
        yield card
    if analysis.ladder is not None:
        yield LadderPanel(analysis.ladder)
    if analysis.figures:
        yield _block(figure_lines(analysis.figures, width))
    bars = forest(analysis.figures, width)
    if bars:
        yield _block(["rates on one axis, with their 95 % intervals", *bars], titled=True)
    shares = taxonomy(findings.tally, width, dark=dark) if findings.tally is not None else None
    if shares is not None:
        title = Content.styled("what the trials came to, as shares of each cell", "bold")
        yield Static(Content.assemble(title, "\n", cleaned(shares)), classes="block wide")
    for map_ in analysis.heat_maps:
        yield _block(heat_map_lines(map_), titled=True)
    for values in analysis.value_maps:
        yield _block(value_map_lines(values), titled=True)
    for plot in analysis.plots:
        if any(curve.points for curve in plot.curves):
            yield _block(legend(plot).splitlines(), titled=True)
            yield CurvePlot(plot)
    for table in analysis.tables:
        if table.rows:
            yield _block(table_lines(table, width), titled=True)
    if analysis.remarks:
        yield Static(Content(wording.plain("\n".join(f"! {remark}" for remark in analysis.remarks))), classes="block")


def _block(lines: Iterable[str], *, titled: bool = False) -> Static:
    first, *rest = [wording.plain(line) for line in lines]
    text = Content.assemble(Content.styled(first, "bold" if titled else ""), "\n" if rest else "", "\n".join(rest))
    return Static(text, classes="block wide")
