"""What is said in two places is said by one mechanism: maps, comparisons, formats, copies of trials."""

from __future__ import annotations

import re
import time
from dataclasses import fields, replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlxintro.analysis.across.comparison import side_by_side
from mlxintro.analysis.head_figures import CLAIMS_DISPLAY
from mlxintro.analysis.reply_tally import AnswerCount
from mlxintro.analysis.results import Analysis, Figure, HeatMap
from mlxintro.analysis.stats import difference, rate
from mlxintro.analysis.tally import CellTally
from mlxintro.backends.errors import UsageError
from mlxintro.cli.main import cli
from mlxintro.protocol.trials import TrialSpec
from mlxintro.rendering.report import pictures
from mlxintro.rendering.text import SHADES, cell_text, heat_map_lines, shade
from mlxintro.store.records import Run
from mlxintro.store.store import Store
from mlxintro.tui.reading.run_results import Findings, beside
from mlxintro.tui.widgets.heatmap import RateGrid, cell_width, draw
from tests.plans import plan

CELLS = {(2, 1.0): (0, 4), (2, 2.0): (1, 4), (9, 1.0): (2, 4), (9, 2.0): (4, 4)}
"""Detections and trials: blank, and three different shades."""


def shades(lines: list[str]) -> list[tuple[int, list[str]]]:
    """Layer and shades of each line of a drawn map."""
    found = []
    for line in lines:
        if (head := re.match(r"\s*(\d+)\s", line)) is not None:
            found.append((int(head.group(1)), re.findall(r"([ ░▒▓█])\1\s*\d+%", line[head.end() :])))
    return found


def test_live_and_results_draw_one_map_the_same_way() -> None:
    rates = {cell: rate(*counts) for cell, counts in CELLS.items()}
    tallies = {cell: CellTally.empty(CLAIMS_DISPLAY) for cell in CELLS}
    for cell, (hits, n) in CELLS.items():
        tallies[cell].trials = n
        tallies[cell].figures[0].count = AnswerCount(hits, n)
    results = shades(heat_map_lines(HeatMap("m", "m", (2, 9), (1.0, 2.0), rates)))
    grid = RateGrid([2, 9], [1.0, 2.0], tallies, 4, "raw")
    each = cell_width(grid, 80)
    lines = str(draw(grid, 80)).splitlines()[1:]
    # Behind the layer, a cell begins with its shade.
    live = [(int(line[:6]), [line[8 + each * column] for column in range(2)]) for line in lines]
    assert [layer for layer, _ in results] == [9, 2]
    assert live == results


def test_the_picture_of_a_report_has_the_deepest_layer_on_top() -> None:
    map_ = HeatMap("m", "m", (2, 9), (1.0,), {(2, 1.0): rate(0, 4), (9, 1.0): rate(4, 4)})
    (svg,) = pictures(Analysis(heat_maps=(map_,)))
    assert svg.index(">9<") < svg.index(">2<")


def test_shades_are_quarters_and_only_nothing_is_blank() -> None:
    expected = {0.0: 0, 0.001: 1, 0.25: 1, 0.26: 2, 0.5: 2, 0.51: 3, 0.75: 3, 0.76: 4, 1.0: 4}
    assert {share: SHADES.index(shade(share)) for share in expected} == expected


def run_of(name: str, experiment: str = "injected-thoughts") -> Run:
    study = {"model": "m", "experiment": experiment}
    return Run(name, name, experiment, "done", "run", 1, 1, 0, study, {"model": "m"}, {}, 1, "2026-01-01")


def findings(name: str, hits: int, experiment: str = "injected-thoughts") -> Findings:
    figures = (Figure("other", "something else", 0.5), Figure("detection", "claims a thought", rate(hits, 10)))
    return Findings(run_of(name, experiment), "rules", Analysis(figures=figures))


def test_the_app_and_the_command_line_refuse_to_compare_different_experiments() -> None:
    first, second = findings("one", 3), findings("two", 4, "latent")
    with pytest.raises(UsageError, match="only runs of the same experiment") as refused:
        side_by_side([(one.run, one.analysis) for one in (first, second)])
    assert beside(first, second) == [str(refused.value)]


def test_the_app_shows_the_command_lines_comparison_with_head_figures_first() -> None:
    first, second = findings("one", 3), findings("two", 9)
    table = side_by_side([(one.run, one.analysis) for one in (first, second)])
    assert [row[0] for row in table.rows] == ["claims a thought", "something else"]
    shown = beside(first, second)
    for row in table.rows:
        assert any(all(cell_text(cell) in line for cell in row if cell is not None) for line in shown)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "home" / "mlxintro.db"
    path.parent.mkdir()
    with Store(path) as store:
        store.runs.create("injected-thoughts", planned=0, name="r", study={}, model={"model": "x"}, environment={})
    return path


def test_stats_writes_one_kind_of_difference(stored: Path) -> None:
    done = CliRunner().invoke(cli, ["--db", str(stored), "stats", "r"])
    assert done.exit_code == 0, done.output
    assert ") points" not in done.output
    assert cell_text(difference(rate(5, 10), rate(0, 10))).startswith("+50.0 points (")


def test_a_changed_trial_is_what_a_replaced_one_is() -> None:
    (spec, *_) = plan(1)
    other = {"condition": "control", "arm": "random", "detail": {"question": "said"}}
    kept = spec.key
    assert spec.changed(**other) == replace(spec, **other)  # type: ignore[arg-type]
    assert spec.changed(**other).key == replace(spec, **other).key != kept  # type: ignore[arg-type]
    assert spec.key == kept
    assert {field.name for field in fields(TrialSpec)} <= set(vars(spec.changed()))
    with pytest.raises(TypeError, match="no colour"):
        spec.changed(colour="red")


def test_copies_of_trials_are_cheap() -> None:
    (spec, *_) = plan(1)

    def cost(copy: object) -> float:
        started = time.process_time()
        for _ in range(20_000):
            copy(trial=3)  # type: ignore[operator]
        return time.process_time() - started

    assert cost(spec.changed) < 0.7 * cost(lambda **more: replace(spec, **more))
