"""Text that fits the terminal: tables, figures, maps and first steps lose nothing and are no wider than it is."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from mlxintro import experiments
from mlxintro.analysis.head_figures import CLAIMS_DISPLAY, Display
from mlxintro.analysis.reply_tally import AnswerCount
from mlxintro.analysis.results import Cell, Figure, Row, Table
from mlxintro.analysis.stats import difference
from mlxintro.analysis.stats import rate as rate_of
from mlxintro.analysis.tally import CellTally
from mlxintro.rendering.grids import fitted
from mlxintro.rendering.text import cell_text, figure_lines, table_lines
from mlxintro.tui.reading.first_steps import first_steps
from mlxintro.tui.reading.head_text import read_out
from mlxintro.tui.reading.wording import fit_figure, joined
from mlxintro.tui.widgets import heatmap

RATES = [rate_of(52, 400), rate_of(31, 400), rate_of(9, 40)]
RUNS = ("a-run-of-the-base-model", "a-run-of-the-instruct-model", "a-run-with-the-adapter")
ROW: tuple[Cell, ...] = ("claims a thought, injected", *RATES, *(difference(one, RATES[0]) for one in RATES[1:]))
THREE = Table(
    "comparison",
    "Side by side",
    ("figure", *RUNS, *(f"{run} - {RUNS[0]}" for run in RUNS[1:])),
    (ROW, ROW, ROW),
    "differences of rates in points, with an explanation of their intervals that is longer than any terminal is wide "
    * 2,
)
WORDS = st.text(st.characters(categories=("Ll", "Lo")), min_size=1, max_size=12)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_three_runs_side_by_side_fit_every_terminal(width: int) -> None:
    assert max(map(len, table_lines(THREE))) > 190
    lines = table_lines(THREE, width)
    assert max(map(len, lines)) <= width
    shown = " ".join(" ".join(lines).split())
    for name, cell in zip(THREE.columns[1:], THREE.rows[0][1:], strict=True):
        assert shown.count(f" {name} {cell_text(cell)}") == 3


def test_a_block_leaves_out_what_has_no_value() -> None:
    lines = fitted(("figure", "first", "second"), [("claims", "a long value that has no room", "-")], (), 40)
    assert lines == ["claims", "  first   a long value that has no room"]


def test_as_many_parts_stand_side_by_side_as_there_is_room_for() -> None:
    parts = ["12/440", "7.4/s", "16.8 GB free"]
    assert joined(parts, 28) == "12/440   7.4/s"
    assert joined(parts, 29) == joined(parts) == "12/440   7.4/s   16.8 GB free"
    assert joined(parts, 3) == "12/440"


def test_a_table_that_fits_keeps_its_columns() -> None:
    assert table_lines(THREE, 400) == table_lines(THREE)


@given(st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=4), st.integers(30, 60))
def test_no_cell_is_lost_and_no_line_too_wide(rows: list[tuple[str, str, str]], width: int) -> None:
    header = ("the first column", "the second column", "the third")
    lines = fitted(header, rows, (), width)
    assert max(map(cell_len, lines)) <= width
    shown = "".join("".join(lines).split())
    assert all(cell in shown for row in rows for cell in row)


def test_figures_and_their_notes_fit() -> None:
    figures = [
        Figure("a", "cosine with the model's own vector, another word's own", rate_of(5, 10)),
        Figure("b", "detection", difference(RATES[0], RATES[1]), "p = 0.067, Fisher's exact test over all pairs"),
        Figure("c", "nothing", rate_of(0, 0)),
    ]
    lines = figure_lines(figures, 60)
    assert max(map(len, lines)) <= 60
    shown = " ".join(" ".join(lines).split())
    for figure in figures[:2]:
        assert f"{figure.label} {cell_text(figure.value)}" in shown
    assert "p = 0.067, Fisher's exact test over all pairs" in shown
    assert figure_lines(figures)[1].endswith("all pairs")


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (40, "finds the sentence 8/12 = 67 % [39, 86]"),
        (38, "finds the sentence 8/12 = 67 %"),
        (29, "finds the sentence 67 %"),
        (20, "finds the sentence …"),
    ],
)
def test_a_figure_loses_its_interval_and_then_its_counts_before_it_is_cut(width: int, shown: str) -> None:
    assert fit_figure("finds the sentence 8/12 = 67 % [39, 86]", width) == shown.ljust(width)


@pytest.mark.parametrize("width", [40, 50, 80, 160])
def test_a_narrow_map_shows_every_strength_and_cuts_no_figure(width: int) -> None:
    cells = {}
    for strength in (0.5, 1.0, 2.0, 4.0):
        cells[3, strength] = CellTally.empty(CLAIMS_DISPLAY)
        cells[3, strength].trials = 20
        cells[3, strength].figures[0].count = AnswerCount(20, 20)
    grid = heatmap.RateGrid([3], [0.5, 1.0, 2.0, 4.0, 8.0], cells, 2000, "raw")
    head, line = heatmap.draw(grid, width, 1).plain.splitlines()
    assert max(len(head), len(line)) <= width
    assert all(f"α {strength:g}" in head for strength in grid.strengths)
    assert line.count("100 %") == 4
    # What waits for its trials looks like no rate.
    assert line.split()[-1] == ("0" if width < 70 else "2000")
    assert ("0 of 2000" in line) == (width > 70)


def test_yes_against_no_is_read_out_as_what_it_means() -> None:
    logprobs = {" yes": math.log(0.3), "Yes": math.log(0.3), " no": math.log(0.2)}
    assert read_out(Display(), _scored(logprobs)) == f"log P(yes)/P(no) = {math.log(0.6 / 0.2):+.2f}"
    assert read_out(Display(), _scored({"1": math.log(0.75), "2": math.log(0.25)})) == "P(1) = 0.75, P(2) = 0.25"


def _scored(logprobs: dict[str, float]) -> Row:
    return Row("t", "injected", "question", "ocean", 3, 2.0, 0, "", {"logprobs": logprobs}, {}, None)


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_first_steps_name_every_experiment_and_cut_nothing(width: int) -> None:
    lines = re.sub(r"\{.*?\}", "^p", first_steps(width, Path("/home/somebody/mlxintro.db"))).splitlines()
    assert max(map(len, lines)) < width
    assert len(lines) <= {80: 20, 120: 32, 200: 46}[width]
    assert all(name in " ".join(lines) for name in experiments.names())
