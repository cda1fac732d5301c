"""Results, held against counts of the stored verdicts and against statsmodels."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from statsmodels.stats.proportion import confint_proportions_2indep

from mlxintro.replies.grade_terms import GradeState
from mlxintro.store.records import GradeRecord
from mlxintro.store.store import Store
from mlxintro.tui.reading.wording import RUNG_SIGNS
from mlxintro.tui.screens import results
from mlxintro.tui.screens.results import ResultsPage
from mlxintro.tui.widgets.ladder_panel import LadderPanel
from mlxintro.tui.widgets.report import RunReport
from tests.cli import RUN, mlxintro
from tests.tui_kit import NARROW_AT_ONCE, check_snapshot, settled, shown, text, until


def detections(home: Path, name: str) -> tuple[int, int]:
    """Injected replies that claim a thought and are readable, and how many there are, counted by hand."""
    with Store(home / "mlxintro.db", read_only=True) as store:
        run = store.runs.find(name).id
        grades = {one.key: one for one in store.grades.latest(run, grader="rules")}
        found = [grades[t.key] for t in store.trials.of_run(run) if t.condition == "injected" and not t.arm]
    decided = [one for one in found if not one.abstained]
    return sum(bool(one.affirms and one.coherent and not one.refuses) for one in decided), len(decided)


@pytest.mark.parametrize("size", NARROW_AT_ONCE, ids=str)
def test_the_screen_looks_as_it_did(home: Path, size: tuple[int, int]) -> None:
    async def look() -> str:
        async with shown(home, size) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))
            await pilot.press("enter", "5")
            await until(pilot, lambda: "verdict:" in text(app))
            await pilot.pause(0.3)
            return await settled(app, pilot)

    check_snapshot(f"results-{size[0]}x{size[1]}", asyncio.run(look()))


def test_rates_are_those_of_the_verdicts_and_follow_them(home: Path) -> None:
    before, trials = detections(home, "first")

    async def go() -> None:
        async with shown(home, (120, 60)) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))
            await pilot.press("enter", "5")
            await until(pilot, lambda: f"({before}/{trials}, " in text(app))
            with Store(home / "mlxintro.db") as store:
                run = store.runs.find("first").id
                injected = {t.key for t in store.trials.of_run(run) if t.condition == "injected"}
                now: list[GradeRecord] = [
                    replace(one, affirms=True, coherent=True, refuses=False, state=GradeState.SCORED)
                    for one in store.grades.latest(run, grader="rules")
                    if one.key in injected
                ]
                store.grades.add(run, now)
            await until(pilot, lambda: f"100.0% ({trials}/{trials}, " in text(app))

    assert before < trials
    asyncio.run(go())


def test_two_runs_side_by_side_with_newcombes_interval(home: Path) -> None:
    more = ("--concepts", "ocean,fear", "--strengths", "2,4", "--trials", "4", "--controls", "6", "-m", "yes-biased")
    assert mlxintro(home, *RUN, *more, "--name", "second").code == 0
    (a, n), (b, m) = detections(home, "first"), detections(home, "second")
    low, high = confint_proportions_2indep(b, m, a, n, compare="diff", method="newcomb", correction=False)

    async def go() -> None:
        async with shown(home, (200, 50)) as (app, pilot):
            await until(pilot, lambda: "second" in text(app))
            await pilot.press("home", "m", "down", "m", "c")
            await until(pilot, lambda: "Side by side" in text(app), 60)
            assert isinstance(app.screen, ResultsPage)
            runs = [one.findings.run.name for one in app.screen.query(RunReport) if one.findings]
            line = next(one for one in text(app).splitlines() if "claims a thought, injected" in one)
            if runs == ["first", "second"]:
                assert f"({a}/{n}, " in line.partition(f"({b}/{m}, ")[0]
                wanted = f"{100 * (b / m - a / n):+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"
            else:
                assert runs == ["second", "first"]
                wanted = f"{100 * (a / n - b / m):+.1f} points ({-100 * high:+.1f} to {-100 * low:+.1f})"
            assert wanted in line
            assert "the models differ:" in text(app)
            await pilot.press("escape")
            await until(pilot, lambda: "second minus first" not in text(app))
            assert app.screen.query_one("#second").display is False

    asyncio.run(go())


def test_a_large_run_is_analysed_when_asked_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "LARGE", 5)

    async def go() -> None:
        async with shown(home) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))
            await pilot.press("enter", "5")
            await until(pilot, lambda: "r computes" in text(app))
            await pilot.pause(1.5)
            assert "verdict" not in text(app).partition("\n")[2].replace("verdicts", "")
            await pilot.press("r")
            await until(pilot, lambda: "claims a thought, injected" in text(app) or "verdict: " in text(app))

    asyncio.run(go())


def test_the_ladder_says_every_rung_with_sign_word_and_what_tests_it(home: Path) -> None:
    async def go() -> None:
        async with shown(home, (80, 24)) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))
            await pilot.press("enter", "5")
            await until(pilot, lambda: bool(app.screen.query(LadderPanel)))
            ladder = app.screen.query_one(LadderPanel).ladder
            # However far one has to scroll, each line is read as it stands there.
            seen: set[str] = set()
            for _ in range(12):
                await pilot.pause(0.05)
                seen |= {line.strip(" │╭╮╰╯─") for line in text(app).splitlines()}
                await pilot.press("pagedown")
            for rung in ladder:
                begins = f"{RUNG_SIGNS[rung.state]} {rung.state}".ljust(16) + rung.name
                assert any(line.startswith(begins) for line in seen), (begins, seen)
            assert any("mlxintro certify -m detector" in line for line in seen)
            assert {rung.state for rung in ladder} >= {"not tested", "not excluded"}

    asyncio.run(go())
