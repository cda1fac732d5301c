"""Trials sorted by any column agree with sorting them here; jumping leads to the pane of the letter."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlxintro.analysis.run import display_of
from mlxintro.backends.errors import UsageError
from mlxintro.store.records import TrialFilter
from mlxintro.store.store import Store
from mlxintro.tui.keys.jump import JumpMode
from mlxintro.tui.screens.review import ReviewPage
from mlxintro.tui.trials import trial_order
from mlxintro.tui.trials.trial_line import TrialLines
from mlxintro.tui.trials.trial_order import TrialOrder, ordered
from tests.tui_kit import shown, text, until


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("column", trial_order.COLUMNS)
def test_rows_come_in_the_order_of_a_column(home: Path, column: str, turned: bool) -> None:
    with Store(home / "mlxintro.db", read_only=True) as store:
        run = store.runs.all()[0]
        display = display_of(run)
        where = store.browse.route(run.id, TrialFilter())
        rows = store.browse.matching(run.id, TrialFilter(), where)[:15]
        found = ordered(run.id, rows, TrialOrder(column, turned), display, "rules", store)
        seen = {one.row: one for one in store.browse.seen(run.id, rows)}
        lines = TrialLines(display, "rules", dark=True)
    value: dict[str, Callable[[Any], Any]] = {
        "trial": lambda one: one.trial.ordinal,
        "verdict": lambda one: display.classes.index(lines.class_of(one)),
        "reply": lambda one: lines.said(one).casefold(),
        "concept": lambda one: one.trial.concept,
        "layer": lambda one: one.trial.layer,
        "α": lambda one: one.trial.strength,
    }
    assert sorted(found) == sorted(rows)
    values = [value[column](seen[row]) for row in found]
    there = [one for one in values if one is not None]
    assert values[len(there) :] == [None] * (len(values) - len(there)), "those without a value come last"
    assert there == sorted(there, reverse=turned)


def test_too_many_trials_are_not_read_one_by_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_order, "MOST", 3)
    with Store(home / "mlxintro.db", read_only=True) as store:
        run = store.runs.all()[0]
        with pytest.raises(UsageError, match="filter them first"):
            ordered(run.id, [1, 2, 3, 4], TrialOrder("reply"), display_of(run), "rules", store)


def test_keys_and_clicks_sort_the_list_and_the_cursor_stays_on_its_trial(home: Path) -> None:
    async def go() -> None:
        async with shown(home, (120, 36)) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))
            await pilot.press("enter", "4")
            page = app.screen
            assert isinstance(page, ReviewPage)
            await until(pilot, lambda: page.trials.current is not None and page.trials.count == 18)
            row = page.trials.row
            await pilot.press("z")
            await until(pilot, lambda: "▲verdict" in text(app))
            await until(pilot, lambda: page.trials.row == row)
            await pilot.click("#columns", offset=(95, 0))
            await until(pilot, lambda: "▲layer" in text(app) or "▲concept" in text(app))
            await pilot.press("Z")
            await until(pilot, lambda: "▼layer" in text(app) or "▼concept" in text(app))

    asyncio.run(go())


def test_a_letter_leads_to_its_pane_and_another_key_leaves(home: Path) -> None:
    async def go() -> None:
        async with shown(home, (120, 36)) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))
            await pilot.press("enter", "4")
            page = app.screen
            assert isinstance(page, ReviewPage)
            await until(pilot, lambda: page.trials.current is not None)
            field = page.field
            await pilot.press("ctrl+g")
            await until(pilot, lambda: isinstance(app.screen, JumpMode))
            assert " a " in text(app)
            await pilot.press("a")
            await until(pilot, lambda: app.screen is page)
            await until(pilot, lambda: app.focused is field)
            await pilot.press("ctrl+g")
            await until(pilot, lambda: isinstance(app.screen, JumpMode))
            await pilot.press("escape")
            await until(pilot, lambda: app.screen is page)
            assert app.focused is field

    asyncio.run(go())


def test_a_chosen_theme_is_remembered(tmp_path: Path) -> None:
    (tmp_path / "themes").mkdir()
    (tmp_path / "themes" / "harbour.toml").write_text('primary = "#4078c0"\nbackground = "#000000"\n', "utf-8")

    async def go(first: bool) -> str:
        async with shown(tmp_path) as (app, pilot):
            await until(pilot, lambda: "No runs yet" in text(app))
            if first:
                app.theme = "harbour"
                await pilot.pause(0.2)
            return app.theme

    asyncio.run(go(True))
    assert asyncio.run(go(False)) == "harbour"
