"""Comparisons across runs and categories, set against scipy and against counts made by hand."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mlxintro.analysis.across.categories import category_table
from mlxintro.analysis.across.depths import depth_table
from mlxintro.analysis.across.pairs import paired
from mlxintro.analysis.across.sizes import concept_slopes, trends, why_no_trend
from mlxintro.analysis.across.tables import across_tables, compared
from mlxintro.analysis.across.units import ComparedRun, combined, mean_tested
from mlxintro.analysis.head_figures import CLAIMS_DISPLAY
from mlxintro.analysis.reply_tally import detects
from mlxintro.analysis.results import Row, Table
from mlxintro.analysis.stats import Difference, difference, rate
from mlxintro.backends.errors import UsageError
from mlxintro.grading.base import Grade
from mlxintro.store.records import Run
from tests.cli import RUN, Call


def claim(yes: bool) -> Grade:
    return Grade(affirms=yes, identifies=False, named_before_affirming=False, coherent=True, refuses=False)


def row(concept: str | None, yes: bool, layer: int = 5, trial: int = 0, strength: float = 2.0) -> Row:
    if concept is None:
        return Row("k", "control", "", None, None, None, trial, "r", {}, {}, claim(yes))
    return Row("k", "injected", "", concept, layer, strength, trial, "r", {}, {}, claim(yes), (concept,))


def run_of(name: str, rows: Sequence[Row], size: float | None = None, layers: int = 8) -> ComparedRun:
    study = {"model": "m", "experiment": "injected-thoughts"}
    made = Run(name, name, "injected-thoughts", "done", "run", 1, 1, 0, study, {"layers": layers}, {}, 1, "2026-01-01")
    return ComparedRun(made, CLAIMS_DISPLAY, rows, size)


def shares(hits: Sequence[int], alarms: int = 0, controls: int = 20, trials: int = 10) -> list[Row]:
    """One concept for each number of hits among its trials, and the controls."""
    rows = [row(f"w{w}", t < n, trial=t) for w, n in enumerate(hits) for t in range(trials)]
    return [*rows, *(row(None, t < alarms, trial=t) for t in range(controls))]


ONE, TWO = (1, 3, 2, 0, 5, 4), (4, 7, 2, 5, 9, 6)


def test_a_pair_is_students_test_over_concepts() -> None:
    found = {one.label: one for one in paired(run_of("a", shares(ONE, 1)), run_of("b", shares(TWO, 3)))}
    case = found["detects, injected"]
    other = scipy_stats.ttest_rel([n / 10 for n in TWO], [n / 10 for n in ONE])
    low, high = other.confidence_interval()
    assert (case.p, case.concepts) == (pytest.approx(other.pvalue), 6)
    assert (case.gap.value, case.gap.low, case.gap.high) == pytest.approx((18 / 60, low, high))
    alarms = found["detects, false alarms"]
    assert alarms.gap == difference(rate(3, 20), rate(1, 20))
    pooled = 4 / 40
    z = (3 / 20 - 1 / 20) / math.sqrt(pooled * (1 - pooled) * 2 / 20)
    assert alarms.p == pytest.approx(2 * scipy_stats.norm.sf(z))
    net = found["detects, net of false alarms"].gap
    assert net.value is not None
    assert net.value == pytest.approx(18 / 60 - 2 / 20)
    assert case.gap.value is not None
    assert alarms.gap.value is not None
    assert net.low == pytest.approx(
        net.value - math.hypot(case.gap.value - case.gap.low, alarms.gap.high - alarms.gap.value)
    )


def test_a_pair_looks_at_cells_and_concepts_that_both_runs_have() -> None:
    extra = [row("w0", True, layer=2, trial=t) for t in range(50)] + [row("only here", True)]
    plain = paired(run_of("a", shares(ONE)), run_of("b", shares(TWO)))
    assert paired(run_of("a", [*shares(ONE), *extra]), run_of("b", shares(TWO))) == plain
    assert paired(run_of("a", [row("x", True)]), run_of("b", [row("y", True)])) == []


def test_concepts_without_spread_have_the_interval_of_their_trials() -> None:
    (case, _, net, _) = paired(run_of("a", shares([0] * 8)), run_of("b", shares([0] * 8)))
    assert case.gap == Difference(
        0.0, *(difference(rate(0, 80), rate(0, 80)).low, difference(rate(0, 80), rate(0, 80)).high)
    )
    assert case.p == 1.0
    assert net.gap.value == 0.0
    assert mean_tested([0.5] * 8).p == pytest.approx(2 * 0.5**8), "the sign test"


def test_a_sum_of_two_rates_has_newcombes_interval() -> None:
    for a, b in ((rate(7, 20), rate(2, 30)), (rate(0, 10), rate(0, 40)), (rate(10, 10), rate(3, 9))):
        found = combined([(1.0, a.value or 0, a.low, a.high), (-1.0, b.value or 0, b.low, b.high)])
        other = difference(a, b)
        assert (found.value, found.low, found.high) == pytest.approx((other.value, other.low, other.high))


def test_intervals_of_a_slope_hold_the_truth_as_often_as_they_say() -> None:
    """Three sizes with true rates 0, 5 and 20 %; 40 trials each: the textbook interval is too short here."""
    dice, truth, weights = random.Random(1), (0.0, 0.05, 0.2), (-0.5, 0.0, 0.5)
    hold = 0
    for _ in range(1000):
        rates = [rate(sum(dice.random() < p for _ in range(40)), 40) for p in truth]
        found = combined([(w, one.value or 0.0, one.low, one.high) for w, one in zip(weights, rates, strict=True)])
        hold += found.low <= 0.1 <= found.high
    assert 0.93 <= hold / 1000 <= 0.99


def test_a_trend_is_the_mean_slope_of_the_concepts_over_doublings() -> None:
    hits, sizes, alarms = (ONE, (3, 4, 4, 2, 6, 5), TWO), (0.135, 0.5, 3.0), (1, 2, 6)
    runs = [run_of(str(s), shares(h, a), s) for h, s, a in zip(hits, sizes, alarms, strict=True)]
    xs = [math.log2(size) for size in sizes]
    slopes = [scipy_stats.linregress(xs, [h[w] / 10 for h in hits]).slope for w in range(6)]
    found = {one.label: one for one in trends(runs)}
    other = scipy_stats.ttest_1samp(slopes, 0.0)
    low, high = other.confidence_interval()
    case = found["detects, injected"]
    assert (case.slope.value, case.slope.low, case.slope.high) == pytest.approx((np.mean(slopes), low, high))
    assert case.p == pytest.approx(other.pvalue)
    each = concept_slopes(CLAIMS_DISPLAY.figures[0], runs)
    assert [one.value for one in each.values()] == pytest.approx(slopes)
    # Cochran and Armitage by the formula of Armitage 1955, on the hypergeometric variance.
    n, total, scores = 20, 60, np.array(xs)
    share = sum(alarms) / total
    t = sum(x * (a - n * share) for x, a in zip(xs, alarms, strict=True))
    variance = share * (1 - share) * (n * np.sum(scores**2) - (n * scores.sum()) ** 2 / total) * total / (total - 1)
    assert found["detects, false alarms"].p == pytest.approx(2 * scipy_stats.norm.sf(abs(t) / math.sqrt(variance)))


def test_a_row_that_stands_for_several_trials_counts_as_often() -> None:
    def folded(hits: Sequence[int], alarms: int) -> list[Row]:
        counts = [(f"w{w}", yes, n) for w, k in enumerate(hits) for yes, n in ((True, k), (False, 10 - k))]
        rows = [replace(row(word, yes), times=n) for word, yes, n in counts]
        rows += [replace(row(None, yes), times=n) for yes, n in ((True, alarms), (False, 20 - alarms))]
        return [one for one in rows if one.times]

    hits, alarms, sizes = (ONE, TWO, ONE), (1, 3, 2), (0.5, 1.0, 4.0)
    single, many = (
        [run_of(str(s), of(h, a), s) for h, a, s in zip(hits, alarms, sizes, strict=True)] for of in (shares, folded)
    )
    assert across_tables(single, by_concept=True) == across_tables(many, by_concept=True)

    def half(one: Row) -> str:
        return "low" if str(one.concept) < "w3" else "high"

    tables = [category_table([r for r in of(TWO, 0) if r.concept], detects, half, "c") for of in (shares, folded)]
    assert tables[0] == tables[1]
    assert len(tables[0].rows) == 1


def test_a_trend_needs_three_known_sizes() -> None:
    runs = [run_of(str(n), shares(ONE), size) for n, size in enumerate((0.5, 1.0, 1.0))]
    assert not any(table.name == "trend" for table in across_tables(runs))
    runs[2] = run_of("2", shares(TWO), 2.0)
    names = [table.name for table in across_tables(runs, by_concept=True)]
    assert names == ["paired_1", "paired_2", "trend", "trend_by_concept"]
    assert why_no_trend(runs, asked=True) is None
    with pytest.raises(UsageError, match="2 sizes for 3 runs"):
        compared([(run.run, run.rows) for run in runs], (1.0, 2.0))
    with pytest.raises(UsageError, match="above 0"):
        compared([(run.run, run.rows) for run in runs], (1.0, 2.0, 0.0))


def test_what_a_trend_is_missing_is_said_where_one_could_be_expected() -> None:
    small, other, large, unknown = (run_of(str(size), shares(ONE), size) for size in (0.135, 0.135, 0.5, None))
    assert "have 2 (0.135B, 0.5B)" in str(why_no_trend([small, large]))
    assert "the models of None are is not known; say so by --sizes" in str(why_no_trend([small, large, unknown]))
    assert why_no_trend([small, other]) is None
    assert why_no_trend([small, unknown]) is None
    assert "have 1 (0.135B)" in str(why_no_trend([small, other], asked=True))


def of_categories(**hits: Sequence[int]) -> Table:
    rows = [
        row(f"{name}.{w}", t < n, trial=t) for name, each in hits.items() for w, n in enumerate(each) for t in range(10)
    ]
    return category_table(rows, detects, lambda one: str(one.concept).split(".")[0], "claims")


def test_categories_are_compared_by_welchs_test_over_concepts() -> None:
    one, two, three = (1, 3, 2, 0), (6, 7, 2, 5, 9), (4, 4, 5)
    table = of_categories(a=one, b=two, c=three, few=(10, 10))
    pairs = {cells[0]: cells for cells in table.rows}
    assert set(pairs) == {"a - b", "a - c", "b - c"}, "two concepts are too few"
    raw = [scipy_stats.ttest_ind(x, y, equal_var=False).pvalue for x, y in ((one, two), (one, three), (two, three))]
    gap = pairs["a - b"][1]
    assert isinstance(gap, Difference)
    welch = scipy_stats.ttest_ind([n / 10 for n in one], [n / 10 for n in two], equal_var=False).confidence_interval()
    assert (gap.low, gap.high) == pytest.approx((welch.low, welch.high))
    assert float(str(pairs["a - b"][3])) == pytest.approx(3 * min(raw), rel=0.05), "Holm"
    assert "Welch's analysis of variance" in table.note


def test_repeating_trials_of_the_same_concepts_makes_no_category_differ() -> None:
    """A test over trials would find anything after enough repeats; concepts are what was sampled."""
    few = of_categories(a=(0, 10, 0), b=(10, 0, 10))
    assert float(str(few.rows[0][3])) > 0.4


def test_categories_alike_or_without_spread_are_said_to_be_so() -> None:
    assert "all concepts alike" in of_categories(a=(0, 0, 0), b=(0, 0, 0)).note
    clear = of_categories(a=(0,) * 5, b=(10,) * 5)
    assert "Kruskal" in clear.note
    assert float(str(clear.rows[0][3])) == pytest.approx(2 / math.comb(10, 5), rel=0.05)
    assert of_categories(a=(1, 2, 3)).rows == ()


def test_models_of_different_depths_meet_at_equal_depths() -> None:
    shallow = run_of("shallow", [row("w", True, layer=layer) for layer in (2, 4) for _ in range(9)], layers=8)
    deep = run_of("deep", [row("w", False, layer=layer) for layer in (4, 8) for _ in range(9)], layers=16)
    table = depth_table([shallow, deep])
    assert [cells[:2] for cells in table.rows] == [("0.2", "2"), ("0.5", "2")]
    assert [(cells[2], cells[3]) for cells in table.rows] == [(rate(9, 9), rate(0, 9))] * 2
    fisher = scipy_stats.fisher_exact(np.array([[9, 0], [0, 9]])).pvalue
    assert float(str(table.rows[0][5])) == pytest.approx(2 * fisher, rel=0.1), "two cells"
    assert depth_table([shallow]).rows == ()


def test_compare_shows_pairs_depths_and_the_trend(call: Call) -> None:
    grid = ("--concepts", "ocean,fear,bread", "--layers", "2,5", "--strengths", "2", "--trials", "2", "--controls", "4")
    for name, model in (("one", "null"), ("two", "detector?hit=0.5"), ("three", "detector?hit=1&layers=16")):
        assert call(*RUN, "-m", model, *grid, "--name", name).code == 0
    done = call("compare", "one", "two", "three", "--sizes", "0.1,0.5,2")
    assert done.code == 0
    for title in ("two minus one, paired by concept", "by depth", "Trend over size (0.1B, 0.5B, 2B)"):
        assert title in done.out
    (found,) = call("compare", "one", "two", "--json").lines
    assert [table["name"] for table in found["across"]] == ["paired_two", "by_depth"]
    assert found["no_trend"] is None
    assert "no trend over size: it takes 3 sizes or more" in call("compare", "one", "two", "--sizes", "0.1,0.5").out
    assert "no trend over size" in call("compare", "one", "two", "--by-concept").out
    assert "no trend over size" not in done.out
    assert call("compare", "one", "two", "--sizes", "1").code == 2


def test_a_report_of_several_runs_begins_with_their_comparison_and_one_figure(call: Call, tmp_path: Path) -> None:
    grid = ("--concepts", "ocean,fear,bread", "--layers", "2,5", "--strengths", "2", "--trials", "1", "--controls", "2")
    for name, model in (("one", "null"), ("two", "detector")):
        assert call(*RUN, "-m", model, *grid, "--name", name).code == 0
    page, text = tmp_path / "both.html", tmp_path / "both.md"
    for path in (page, text):
        assert call("report", "one", "two", "-o", str(path)).code == 0
        found = path.read_text("utf-8")
        places = [found.index(said) for said in ("Side by side", "two minus one, paired by concept", "Verdict")]
        assert places == sorted(places)
    found = page.read_text("utf-8")
    ids = re.findall(r'\bid="([^"]+)"', found)
    assert len(ids) == len(set(ids))
    assert found.index("by depth: null, detector") < found.index("<h2>Side by side")
