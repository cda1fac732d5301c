"""The arithmetic of the peers' table, by hand; how fast anybody is, is not a matter for a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.report import BEGIN, END, Missing, Timing, table, write
from benchmarks.workload import Contestant


def contestant(title: str) -> Contestant:
    def make(work: object) -> None:
        raise AssertionError("nobody runs here")

    return Contestant(title, (), make)  # type: ignore[arg-type]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_ratios_are_taken_within_a_round_and_their_median_is_shown() -> None:
    people = {name: contestant(name) for name in ("base", "ours", "absent")}
    results: dict[str, list[Timing | Missing]] = {
        # 0.5 and 0.25 trials/s: the machine was busier in the second round.
        "base": [Timing(2, 4.0, 8.0, 2, 2), Timing(2, 8.0, 8.0, 2, 2)],
        # 8 and 2 trials/s: 16 and 8 times as many.
        "ours": [Timing(16, 2.0, 4.0, 16, 16), Timing(16, 8.0, 8.0, 15, 16)],
        "absent": [Missing("absent is not installed")],
    }
    lines = table(people, results, {"base": "the base"}, ceiling=10.0).splitlines()
    assert cells(lines[3]) == [
        "ours", "a layer per trial", "5.00", "12.00 (8.00-16.00)", "50%", "0.38", "15 of 16", "16 x 2"
    ]  # fmt: skip
    assert cells(lines[0])[3] == "times the base"
    assert cells(lines[2])[3] == "1.00 (1.00-1.00)"
    assert cells(lines[4])[2] == "absent is not installed"
    assert len({len(cells(line)) for line in lines}) == 1


def test_results_go_between_the_markers_and_nowhere_else(tmp_path: Path) -> None:
    document = tmp_path / "doc.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write(document, "new")
    assert document.read_text() == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    document.write_text("no markers")
    with pytest.raises(SystemExit, match="has no"):
        write(document, "new")
