"""The arithmetic of the peers' table, by hand; how fast anybody is, is not a matter for a test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks import gpu_peers
from benchmarks.gpu_peers import CardWork
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


def test_on_a_card_hooks_and_we_are_asked_for_the_same(tiny: Callable[[str], Path]) -> None:
    """Here on the CPU, where a tiny model stands in for the one of 7B shapes."""
    random = np.random.default_rng(0)
    vectors = (8 * random.standard_normal((6, 64))).astype(np.float32)
    prompt = tuple(random.integers(4, 400, 40).tolist())
    work = CardWork(tiny("llama"), "cpu", "float32", prompt, 1, vectors, 8)
    lines = gpu_peers.table(work).splitlines()
    same = {cells(line)[0]: cells(line)[4] for line in lines[2:] if line.startswith("|")}
    assert same["plain hooks"] == "4 of 4"
    assert same["plain hooks, 6 rows"] == same["**mlxintro**, 6 rows"] == "6 of 6"
    assert len(set(map(tuple, gpu_peers.hooks(work)(range(6))))) > 1
