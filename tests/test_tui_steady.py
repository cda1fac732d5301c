"""What comes too late or too early: sizes of a dragged window, clicks on what is gone, keys before a thing stands."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.geometry import Size
from textual.message import Message
from textual.widgets import Input

from mlxintro.tui.shell.dialogues import AskLine
from mlxintro.tui.widgets.options import Options
from tests.tui_kit import shown, text, until


class Between(Message):
    """Keeps two sizes apart, so that Textual does not take them for one."""


@pytest.mark.parametrize("opened", ["page", "help", "command_palette"])
def test_sizes_under_way_at_once_do_not_follow_each_other_for_ever(tmp_path: Path, opened: str) -> None:
    laid_out: list[Size | None] = []

    async def go() -> None:
        async with shown(tmp_path, (80, 24)) as (app, pilot):
            await until(pilot, lambda: "No runs yet" in text(app))
            if opened != "page":
                getattr(app, f"action_{opened}")()
                await until(pilot, lambda: len(app.screen_stack) > 1)
            await pilot.pause(0.3)
            screen: Any = app.screen
            lay_out = screen._refresh_layout

            def counted(size: Size | None = None, scroll: bool = False) -> None:
                laid_out.append(size)
                if len(laid_out) > 30:
                    # Else the test would not come to its end.
                    screen._refresh_layout = lambda *_, **__: None
                lay_out(size, scroll)

            screen._refresh_layout = counted
            for size in (Size(100, 30), Size(80, 24), Size(60, 20), Size(80, 24)):
                screen.post_message(events.Resize(size, size))
                screen.post_message(Between())
            await pilot.pause(0.3)

    asyncio.run(go())
    assert len(laid_out) < 10
    assert {one for one in laid_out if one is not None} <= {Size(80, 24)}


def test_a_window_that_is_dragged_ends_at_its_last_size(tmp_path: Path) -> None:
    async def go() -> None:
        async with shown(tmp_path, (80, 24)) as (app, pilot):
            await until(pilot, lambda: "No runs yet" in text(app))
            for width in (90, 100, 110, 120, 70, 130):
                await pilot.resize_terminal(width, 30)
            await until(pilot, lambda: app.screen.size == Size(130, 30))
            assert len(text(app).splitlines()) == 30

    asyncio.run(go())


def test_a_click_on_what_has_been_removed_and_is_still_drawn_is_left_out(tmp_path: Path) -> None:
    """``shown`` fails the test when a bug is told."""

    async def go() -> None:
        async with shown(tmp_path, (80, 24)) as (app, pilot):
            await until(pilot, lambda: "No runs yet" in text(app))
            widget = app.screen.query_one("#places")
            parent, widget._parent = widget._parent, None
            x, y = widget.region.x + 2, widget.region.y
            app.post_message(events.MouseDown(None, x, y, 0, 0, 1, False, False, False, screen_x=x, screen_y=y))
            await pilot.pause(0.2)
            widget._parent = parent

    asyncio.run(go())


def test_a_dialogue_that_is_left_before_it_stands_is_no_error(tmp_path: Path) -> None:
    async def go() -> None:
        async with shown(tmp_path, (80, 24)) as (app, pilot):
            await until(pilot, lambda: "No runs yet" in text(app))
            dialogue = AskLine("A name", "", lambda line: "")
            await app.push_screen(dialogue)
            await dialogue.query("#line-hint").remove()
            dialogue.on_mount()
            dialogue.on_input_changed(Input.Changed(dialogue.query_one(Input), "x"))
            await pilot.pause()
            assert "bug" not in text(app)

    asyncio.run(go())


def test_a_page_is_not_turned_from_an_option_that_has_no_line_yet() -> None:
    class Listed(App[None]):
        def compose(self) -> ComposeResult:
            yield Options("one", "two")

    async def go() -> None:
        app = Listed()
        async with app.run_test() as pilot:
            options = app.query_one(Options)
            await pilot.pause()
            options._line_cache.index_to_line.pop(1)
            options.highlighted = 1
            options.action_page_down()
            options.action_page_up()
            assert options.highlighted == 1

    asyncio.run(go())
