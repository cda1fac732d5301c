"""The list of runs: names, notes, order, groups, marks, curves on shared axes, reports; and what the palette finds."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from textual.command import CommandInput
from textual.widgets import Input

from mlxintro.store.records import Run
from mlxintro.store.store import Store
from mlxintro.tui.reading.run_preview import about, note_of
from mlxintro.tui.reading.run_rows import GROUP, Arrangement, Counted, RunRows
from mlxintro.tui.screens.new_study import NewStudyPage
from mlxintro.tui.screens.overlay import Overlay
from mlxintro.tui.screens.review import ReviewPage
from mlxintro.tui.screens.runs import RunsPage
from mlxintro.tui.shell.dialogues import AskLine
from mlxintro.tui.widgets.run_list import RunList
from tests.cli import RUN, mlxintro
from tests.tui_kit import shown, text, until


def runs_of(home: Path) -> list[Run]:
    with Store(home / "mlxintro.db", read_only=True) as store:
        return store.runs.all()


def test_a_run_is_renamed_and_a_taken_name_is_refused_in_place(home: Path) -> None:
    with Store(home / "mlxintro.db") as store:
        store.runs.create("injected-thoughts", planned=1, name="other")

    async def go() -> None:
        async with shown(home) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))
            await pilot.press("end", "f2")
            await until(pilot, lambda: isinstance(app.screen, AskLine))
            field = app.screen.query_one(Input)
            assert field.value == "first"
            field.value = "other"
            await pilot.press("enter")
            await until(pilot, lambda: "there is a run called 'other' already" in text(app))
            field.value = "tide tables"
            await pilot.press("enter")
            await until(pilot, lambda: "tide tables" in text(app))

    asyncio.run(go())
    assert {run.name for run in runs_of(home)} == {"other", "tide tables"}


def test_a_note_is_kept_with_the_run_and_shown_below_the_list(home: Path) -> None:
    async def go() -> None:
        async with shown(home) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))
            await pilot.press("i")
            await until(pilot, lambda: isinstance(app.screen, AskLine))
            app.screen.query_one(Input).value = "the one in the paper"
            await pilot.press("enter")
            await until(pilot, lambda: "✎ the one in the paper" in text(app))

    asyncio.run(go())
    (run,) = runs_of(home)
    assert note_of(run) == "the one in the paper"
    assert run.environment["python"], "the rest of what is recorded stays"
    assert mlxintro(home, "runs", "note", "first", "").code == 0
    assert note_of(runs_of(home)[0]) == ""


def run_called(name: str, **more: object) -> Run:
    values: dict[str, object] = {
        "id": name,
        "name": name,
        "experiment": "injected-thoughts",
        "state": "done",
        "control": "run",
        "planned": 10,
        "done": 10,
        "errors": 0,
        "study": {},
        "model": {"model": "m"},
        "environment": {},
        "batch_size": None,
        "created": "2026-01-01T00:00:00+00:00",
        **more,
    }
    return Run(**values)  # type: ignore[arg-type]


RUNS = [
    run_called("b", done=5, model={"model": "y"}),
    run_called("c", done=7, state="failed", model={"model": "x"}),
    run_called("a", done=9, experiment="prefill", model={"model": "x"}),
]


def rows_in(arrangement: Arrangement, wanted: str = "") -> list[str]:
    listed = RunRows()
    listed.update(RUNS, (), {"a": "night", "c": "night"})
    listed.counted([Counted("a", 9, {"result": ""}, 0.2), Counted("b", 5, {"result": ""}, 0.5)])
    listed.arrangement = arrangement
    return list(listed.rows(wanted, bars=False))


@pytest.mark.parametrize(
    ("order", "turned", "expected"),
    [
        ("created (UTC)", False, "bca"),
        ("created (UTC)", True, "acb"),
        ("name", False, "abc"),
        ("name", True, "cba"),
        ("trials", False, "acb"),
        ("trials", True, "bca"),
        ("result", False, "bac"),
        ("result", True, "abc"),
        ("state", False, "abc"),
        ("model", False, "cab"),
    ],
)
def test_the_list_is_sorted_by_any_column_and_runs_without_a_figure_come_last(
    order: str, turned: bool, expected: str
) -> None:
    assert "".join(rows_in(Arrangement(order, turned))) == expected


def test_groups_have_headings_and_fold() -> None:
    assert rows_in(Arrangement(grouping="model")) == [f"{GROUP}x", "c", "a", f"{GROUP}y", "b"]
    assert rows_in(Arrangement(grouping="model", folded={"x"})) == [f"{GROUP}x", f"{GROUP}y", "b"]
    assert rows_in(Arrangement(grouping="experiment"), "prefill") == [f"{GROUP}prefill", "a"]
    assert rows_in(Arrangement(grouping="study")) == [f"{GROUP}night", "c", "a", f"{GROUP}no study", "b"]
    assert sorted(rows_in(Arrangement(), "night")) == ["a", "c"]


def test_a_mark_keeps_its_number_as_others_come_and_go() -> None:
    listed = RunRows()
    listed.update(RUNS, ())
    for run in "abc":
        listed.mark(run)
    listed.mark("a")
    assert listed.marks == {"b": 1, "c": 2}
    listed.mark("a")
    assert listed.marks == {"b": 1, "c": 2, "a": 0}
    listed.update(RUNS[:1], ())
    assert listed.marks == {"b": 1}


def test_what_failed_stands_first_in_the_preview() -> None:
    run = replace(RUNS[0], state="failed", error="the disk is full")
    assert about(run, None).splitlines()[0] == "✗ failed: the disk is full"


def test_the_preview_leaves_out_what_has_no_room_and_cuts_nothing(home: Path) -> None:
    with Store(home / "mlxintro.db", read_only=True) as store:
        run = store.runs.all()[0]
    row = {
        "result": "detects 5/12 = 42 % [19, 68]",
        "against": "false alarms 0/6 = 0 % [0, 39]",
        "more": "names it 5 %",
    }
    whole, short = about(run, row).splitlines(), about(run, row, 60).splitlines()
    assert "detects 5/12 = 42 % [19, 68]   false alarms 0/6 = 0 % [0, 39]   names it 5 %" in whole
    assert "detects 5/12 = 42 % [19, 68]" in short
    for line in short[1:]:
        assert len(line) <= 60
        assert any(one.startswith(line) for one in whole)


def test_order_group_filter_cursor_and_marks_are_found_again(home: Path) -> None:
    with Store(home / "mlxintro.db") as store:
        store.runs.create("prefill", planned=1, name="other")

    async def first() -> None:
        async with shown(home) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))
            await pilot.press("o", "g", "end", "m")
            await pilot.press("slash", *"fi", "enter", "q")

    async def second() -> None:
        async with shown(home) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))
            page = app.screen
            assert isinstance(page, RunsPage)
            assert page.query_one("#filter", Input).value == "fi"
            assert "name ▲" in text(app)
            assert page.listed.arrangement.grouping == "model"
            (marked,) = page.listed.marks
            assert page.query_one(RunList).chosen == marked
            assert page.listed.runs[marked].name == "first"

    asyncio.run(first())
    asyncio.run(second())


def test_curves_of_marked_runs_stand_on_shared_axes(home: Path) -> None:
    more = ("--concepts", "ocean,fear", "--strengths", "2,4", "--trials", "2", "--controls", "4", "-m", "yes-biased")
    assert mlxintro(home, *RUN, *more, "--name", "second").code == 0

    async def go() -> None:
        async with shown(home, (120, 40)) as (app, pilot):
            await until(pilot, lambda: "second" in text(app))
            await pilot.press("home", "m", "down", "m", "v")
            await until(pilot, lambda: isinstance(app.screen, Overlay))
            await until(pilot, lambda: "● second   ▲ first" in text(app))
            before = text(app)
            await pilot.press("right")
            await until(pilot, lambda: text(app) != before)
            await pilot.press("escape")
            await until(pilot, lambda: isinstance(app.screen, RunsPage))

    asyncio.run(go())


def test_a_report_is_written_from_the_list(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def go() -> None:
        async with shown(home) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))
            await pilot.press("w")
            await until(pilot, lambda: isinstance(app.screen, AskLine))
            await pilot.press("enter")
            await until(pilot, lambda: any("is written to" in one.message for one in app._notifications), 60)

    asyncio.run(go())
    assert "<h2>Verdict" in (tmp_path / "first.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("typed", "hit"), [("first", "Open first"), ("ocean", "Concept ocean"), ("injected thou", "Trial ")]
)
def test_the_palette_finds_runs_concepts_and_trials(home: Path, typed: str, hit: str) -> None:
    async def go() -> None:
        async with shown(home, (120, 40)) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))
            run = app.ask(lambda store: store.runs.all()[0])
            app.open_run(run.id, run.name, "runs")
            await pilot.pause(0.2)
            await pilot.press("ctrl+p")
            await until(pilot, lambda: app.screen.query(CommandInput))
            app.screen.query_one(CommandInput).value = typed
            await until(pilot, lambda: hit in text(app))
            if hit == "Concept ocean":
                await pilot.press("enter")
                await until(pilot, lambda: isinstance(app.screen, ReviewPage))
                await until(pilot, lambda: "concept ocean" in text(app))

    asyncio.run(go())


def test_a_concept_without_an_open_run_becomes_a_study(tmp_path: Path) -> None:
    async def go() -> None:
        async with shown(tmp_path, (120, 40)) as (app, pilot):
            await until(pilot, lambda: "No runs yet" in text(app))
            await pilot.press("ctrl+p")
            await until(pilot, lambda: app.screen.query(CommandInput))
            app.screen.query_one(CommandInput).value = "lightning"
            await until(pilot, lambda: "a new study of it" in text(app))
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.screen, NewStudyPage))
            await until(pilot, lambda: "a study of lightning" in text(app))

    asyncio.run(go())


def test_a_note_with_quotes_leaves_the_record_whole(tmp_path: Path) -> None:
    with Store(tmp_path / "mlxintro.db") as store:
        run = store.runs.create("injected-thoughts", planned=1)
        store.runs.note(run.id, 'a "quoted" note')
        assert store.runs.get(run.id).environment == {"note": 'a "quoted" note'}
    with sqlite3.connect(tmp_path / "mlxintro.db") as db:
        assert db.execute("SELECT json_valid(environment) FROM runs").fetchone() == (1,)
