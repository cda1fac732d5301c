"""Nothing ends the app and nothing is lost: dialogues, a locked store, files that exist, runs that go away, keys."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from textual.command import CommandList
from textual.events import Key
from textual.pilot import Pilot
from textual.widgets import Input

from mlxintro.backends.errors import UsageError
from mlxintro.store.records import Run
from mlxintro.store.store import Store
from mlxintro.tui.app import IntroApp
from mlxintro.tui.shell.app_state import Memory
from mlxintro.tui.shell.dialogues import AskPath, Confirm, free_path
from mlxintro.tui.shell.help import HelpScreen
from mlxintro.tui.shell.palette.commands import Palette
from mlxintro.tui.shell.run_page import RunPage
from tests.tui_kit import shown, text, until


def said(app: IntroApp) -> list[str]:
    return [one.message for one in app._notifications]


def the_run(home: Path) -> Run:
    with Store(home / "mlxintro.db", read_only=True) as store:
        return store.runs.all()[0]


def set_state(home: Path, state: str) -> None:
    with sqlite3.connect(home / "mlxintro.db") as db:
        db.execute("UPDATE runs SET state = ?", (state,))


async def ready(pilot: Pilot[int], app: IntroApp) -> None:
    await until(pilot, lambda: "first" in text(app))


def test_cancelling_a_finished_run_asks_nothing_and_is_told(home: Path) -> None:
    async def go() -> None:
        async with shown(home) as (app, pilot):
            await ready(pilot, app)
            await pilot.press("x")
            await until(pilot, lambda: any("nothing to cancel" in one for one in said(app)))
            assert not isinstance(app.screen, Confirm)
            await pilot.press("enter", "x")
            await until(pilot, lambda: len([one for one in said(app) if "nothing to cancel" in one]) == 2)

    asyncio.run(go())


def test_a_run_that_ends_while_it_is_asked_about_is_told_and_the_app_goes_on(home: Path) -> None:
    set_state(home, "interrupted")

    async def go() -> None:
        async with shown(home) as (app, pilot):
            await until(pilot, lambda: "interrupted" in text(app))
            await pilot.press("x")
            await until(pilot, lambda: isinstance(app.screen, Confirm))
            set_state(home, "done")
            await pilot.press("y")
            await until(pilot, lambda: any("nothing to cancel" in one for one in said(app)))
            await pilot.press("f1")
            await until(pilot, lambda: isinstance(app.screen, HelpScreen))

    asyncio.run(go())


def test_an_error_after_any_answer_stops_at_the_border(home: Path) -> None:
    """Every dialogue's callback is guarded, whatever it raises that can be foreseen."""

    def broken(answer: bool) -> None:
        raise UsageError("the answer led nowhere: try again")

    async def go() -> None:
        async with shown(home) as (app, pilot):
            await ready(pilot, app)
            page = app.screen
            assert isinstance(page, RunPage)
            page.consult(Confirm("Well?", "Yes"), broken)
            await pilot.pause(0.1)
            await pilot.press("y")
            await until(pilot, lambda: any("led nowhere" in one for one in said(app)))
            # A callback that nobody guards, too: Textual runs it outside of any message.
            app.push_screen(Confirm("Well?", "Yes"), lambda answer: broken(bool(answer)))
            await pilot.pause(0.1)
            await pilot.press("y")
            await until(pilot, lambda: len([one for one in said(app) if "led nowhere" in one]) == 2)
            await pilot.press("f1")
            await until(pilot, lambda: isinstance(app.screen, HelpScreen))

    asyncio.run(go())


def test_an_answer_that_is_given_twice_counts_once(home: Path) -> None:
    answers: list[bool] = []

    async def go() -> None:
        async with shown(home) as (app, pilot):
            await ready(pilot, app)
            page = app.screen
            assert isinstance(page, RunPage)
            page.consult(Confirm("Well?", "Yes"), answers.append)
            await pilot.pause(0.1)
            for _ in range(3):
                app.post_message(Key("y", "y"))
            await until(pilot, lambda: app.screen is page)
            await pilot.pause(0.2)
            assert app.screen is page

    asyncio.run(go())
    assert answers == [True]


def test_a_locked_store_freezes_nothing_and_the_change_is_made_when_it_is_free(home: Path) -> None:
    set_state(home, "interrupted")
    db = sqlite3.connect(home / "mlxintro.db", isolation_level=None, check_same_thread=False)

    async def go() -> None:
        async with shown(home) as (app, pilot):
            await until(pilot, lambda: "interrupted" in text(app))
            db.execute("BEGIN IMMEDIATE")
            try:
                await pilot.press("x")
                await until(pilot, lambda: isinstance(app.screen, Confirm))
                await pilot.press("y")
                await until(pilot, lambda: any("Waiting for the store" in one for one in said(app)), 10)
                began = time.monotonic()
                await pilot.press("f1")
                await until(pilot, lambda: isinstance(app.screen, HelpScreen))
                assert time.monotonic() - began < 5
            finally:
                db.execute("ROLLBACK")
            await until(pilot, lambda: the_run(home).state == "cancelled")

    asyncio.run(go())
    db.close()


def test_a_change_outlasts_the_time_that_sqlite_itself_waits(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlxintro.store.database.BUSY_SECONDS", 0.3)
    db = sqlite3.connect(home / "mlxintro.db", isolation_level=None, check_same_thread=False)

    async def go() -> None:
        async with shown(home) as (app, pilot):
            await ready(pilot, app)
            db.execute("BEGIN IMMEDIATE")
            threading.Timer(1.5, lambda: db.execute("ROLLBACK")).start()
            run = the_run(home)
            await asyncio.to_thread(app.change, lambda store: store.runs.rename(run.id, "later"))

    asyncio.run(go())
    assert the_run(home).name == "later"
    db.close()


def test_a_file_that_is_there_is_only_replaced_after_a_second_enter(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    precious = tmp_path / "first.csv"
    precious.write_text("precious", "utf-8")

    async def go() -> None:
        async with shown(home) as (app, pilot):
            await ready(pilot, app)
            await pilot.press("e")
            await until(pilot, lambda: isinstance(app.screen, AskPath))
            app.screen.query_one(Input).value = str(precious)
            await pilot.pause(0.1)
            await pilot.press("enter")
            await until(pilot, lambda: "first.csv exists: Enter again replaces it" in " ".join(text(app).split()))
            assert precious.read_text("utf-8") == "precious"
            await pilot.press("x", "backspace", "enter")
            await pilot.pause(0.2)
            assert precious.read_text("utf-8") == "precious", "another name was typed meanwhile"
            await pilot.press("enter")
            await until(pilot, lambda: "precious" not in precious.read_text("utf-8"))

    asyncio.run(go())


def test_a_suggested_path_is_one_that_is_free(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    assert free_path(path) == path
    path.touch()
    (tmp_path / "study-2.toml").touch()
    assert free_path(path) == tmp_path / "study-3.toml"


@pytest.mark.parametrize("keys", ["e", "2 ctrl+s"])
def test_a_path_that_cannot_be_written_is_told_at_its_field_every_time(home: Path, keys: str) -> None:
    async def go() -> None:
        async with shown(home) as (app, pilot):
            await ready(pilot, app)
            await pilot.press(*keys.split())
            await until(pilot, lambda: isinstance(app.screen, AskPath))
            field = app.screen.query_one(Input)
            field.value = f"/proc/x.{'csv' if keys == 'e' else 'toml'}"
            for _ in range(2):
                await pilot.press("enter")
                await until(pilot, lambda: "cannot be written" in text(app))
            assert field.value.startswith("/proc/x.")

    # The list of models may take its time; what matters here does not depend on it.
    if keys != "e":
        pytest.importorskip("mlxintro.tui.screens.new_study")
    asyncio.run(go())


def test_the_same_failure_of_something_asked_for_is_told_every_time(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> int:
        raise UsageError("the disk is full: free some space")

    monkeypatch.setattr("mlxintro.tui.screens.run_actions.export_run", full)
    monkeypatch.chdir(tmp_path)

    async def go() -> None:
        async with shown(home) as (app, pilot):
            await ready(pilot, app)
            for times in (1, 2):
                await pilot.press("e")
                await until(pilot, lambda: isinstance(app.screen, AskPath))
                await pilot.press("enter")
                await until(pilot, lambda times=times: said(app).count("the disk is full: free some space") == times)  # type: ignore[misc]

    asyncio.run(go())


def test_a_failure_that_comes_again_after_it_went_well_is_told_again(home: Path) -> None:
    async def go() -> None:
        async with shown(home) as (app, pilot):
            await ready(pilot, app)
            for _ in range(2):
                app.trouble_once("look", UsageError("gone: look elsewhere"))
            await until(pilot, lambda: said(app).count("gone: look elsewhere") == 1)
            app.well("look")
            app.trouble_once("look", UsageError("gone: look elsewhere"))
            await until(pilot, lambda: said(app).count("gone: look elsewhere") == 2)

    asyncio.run(go())


@pytest.mark.parametrize("place", ["3", "4", "5"])
def test_a_run_deleted_elsewhere_is_said_to_be_so_and_leaves_the_screen(home: Path, place: str) -> None:
    async def go() -> None:
        async with shown(home) as (app, pilot):
            await ready(pilot, app)
            await pilot.press("enter", place)
            await until(pilot, lambda: app.run_name == "first")
            await pilot.pause(1.2)
            run = the_run(home)
            with Store(home / "mlxintro.db") as store:
                store.runs.delete(run.id)
            await until(pilot, lambda: "first was deleted by another program" in said(app))
            await until(pilot, lambda: app.current_mode == "runs" and "No runs yet" in text(app))
            assert (app.run_id, app.run_name) == ("", "")
            assert not any(run.id in one for one in said(app))
            await pilot.press(place)
            await until(pilot, lambda: "No run is open" in text(app))

    asyncio.run(go())


def test_the_notice_of_a_run_that_ended_names_the_key_that_opens_that_run(home: Path) -> None:
    set_state(home, "interrupted")
    with Store(home / "mlxintro.db") as store:
        store.runs.create("injected-thoughts", planned=1, name="other")
        opened = store.runs.find("other")

    async def go() -> None:
        async with shown(home) as (app, pilot):
            await ready(pilot, app)
            run = the_run_called(home, "first")
            app.open_run(opened.id, opened.name, "review")
            app.news.take([(run.id, "first", "running"), (opened.id, "other", "planned")])
            app.news.take([(run.id, "first", "done"), (opened.id, "other", "planned")])
            await until(pilot, lambda: any(one == "first is done: ^o opens it" for one in said(app)))
            await pilot.press("ctrl+o")
            await until(pilot, lambda: app.run_name == "first")

    asyncio.run(go())


def the_run_called(home: Path, name: str) -> Run:
    with Store(home / "mlxintro.db", read_only=True) as store:
        return store.runs.find(name)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"theme": 3}', '{"pages": {"runs": 4}}', "\x00\xff"])
def test_a_damaged_memory_counts_as_none(tmp_path: Path, content: str) -> None:
    file = tmp_path / "tui.json"
    file.write_bytes(content.encode("latin-1"))
    assert Memory.load(file) == Memory()


def test_a_palette_that_is_closed_while_it_searches_ends_nothing(home: Path) -> None:
    """Textual's own search asks a closed palette for its list, and the error ends the app."""

    async def go() -> None:
        async with shown(home) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))
            palette = Palette(id="--command-palette")
            app.push_screen(palette)
            await pilot.pause(0.1)
            await palette.query_one(CommandList).remove()
            await palette._gather_commands("first").wait()
            await pilot.press("escape")
            await until(pilot, lambda: app.screen is not palette)
            assert app.is_running
            assert app._exception is None

    asyncio.run(go())


def test_a_palette_that_is_closed_before_it_begins_ends_nothing(home: Path) -> None:
    """Textual's own looks for the screen below it, which is not there any more."""

    async def go() -> None:
        async with shown(home) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))
            palette = Palette(id="--command-palette")
            pushed = app.push_screen(palette)
            app.pop_screen()
            await pushed
            await pilot.pause(0.2)
            assert app.is_running
            assert app._exception is None

    asyncio.run(go())
