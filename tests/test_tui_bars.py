"""Bars of results: intervals stand where their numbers say, shares add up, and nothing needs a colour."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mlxintro.analysis.results import Figure
from mlxintro.analysis.stats import rate as rate_of
from mlxintro.store.store import Store
from mlxintro.tui.reading.head_text import interval_bar
from mlxintro.tui.reading.result_bars import forest, taxonomy
from mlxintro.tui.reading.run_results import analyse


@given(st.integers(0, 50), st.integers(1, 50), st.integers(10, 60))
def test_the_mark_stands_between_the_ends_of_its_interval(hits: int, trials: int, width: int) -> None:
    rate = rate_of(min(hits, trials), trials)
    bar = interval_bar(rate.low, rate.value or 0.0, rate.high, width)
    assert len(bar) == width
    at = bar.index("●")
    assert at == round((rate.value or 0.0) * (width - 1))
    low, high = bar.find("├"), bar.find("┤")
    assert low < 0 or low < at
    assert high < 0 or high > at


def test_only_rates_stand_on_the_axis() -> None:
    figures = (Figure("a", "found", rate_of(5, 10)), Figure("b", "number", 3.5), Figure("c", "none", rate_of(0, 0)))
    lines = forest(figures, 100)
    assert len(lines) == 2
    assert lines[0].startswith("found")
    assert "5/10 = 50 %" in lines[0]


def test_shares_are_drawn_by_sign_and_count_what_the_store_holds(home: Path) -> None:
    with Store(home / "mlxintro.db", read_only=True) as store:
        run = store.runs.all()[0]
        findings = analyse(run.id, "rules", store)
        trials = [one for one in store.trials.of_run(run.id) if not one.arm]
    assert findings.tally is not None
    drawn = taxonomy(findings.tally, 100, dark=True)
    assert drawn is not None
    lines = drawn.plain.splitlines()
    injected = [one for one in trials if one.condition == "injected"]
    assert lines[0].endswith(f"n = {len(injected)}")
    assert lines[-2].endswith(f"n = {len(trials) - len(injected)}")
    widths = {len(line.partition("  n = ")[0]) for line in lines[:-1]}
    assert len(widths) == 1, "bars of shares are equally long"
    claims = findings.tally.case.classes
    for class_, count in claims.items():
        share = lines[0].count(class_.sign) / 60
        assert abs(share - count / len(injected)) < 0.06 or not count
