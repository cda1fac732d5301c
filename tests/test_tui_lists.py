"""What the app draws itself: lists against what they were given, texts against Textual's own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual._compositor import Compositor
from textual.app import App, ComposeResult
from textual.content import Content
from textual.pilot import Pilot
from textual.widgets import OptionList, Static

from mlxintro.tui.reading import wording
from mlxintro.tui.widgets.key_hints import Hint, fitting
from mlxintro.tui.widgets.run_list import COLUMNS, RunList, columns, line
from mlxintro.tui.widgets.text import Text
from tests.tui_kit import shown, until


def lines(app: App[None]) -> list[str]:
    return ["".join(part.text for part in strip).rstrip() for strip in app.screen._compositor.render_strips()]


class ListApp(App[None]):
    def compose(self) -> ComposeResult:
        yield RunList(id="runs")

    @property
    def list(self) -> RunList:
        return self.query_one(RunList)

    def marked(self) -> str:
        """The line the cursor stands on, without what is drawn of a scroll bar."""
        (line,) = (one for one in lines(self) if one.startswith("▸"))
        return line[1:11].rstrip()


def rows(names: range) -> Mapping[str, Mapping[str, str]]:
    return {str(name): {"name": f"run {name}"} for name in names}


def test_the_cursor_is_in_sight_whatever_comes_and_goes() -> None:
    async def go() -> None:
        app = ListApp()
        async with app.run_test(size=(40, 10)) as pilot:
            app.list.widths = {"name": 10}
            app.list.show(rows(range(200)), "150")
            await pilot.pause()
            assert app.marked() == "run 150"
            await pilot.resize_terminal(40, 5)
            await pilot.pause()
            assert app.marked() == "run 150"
            app.list.show(rows(range(-50, 200)), "")
            await pilot.pause()
            assert (app.list.chosen, app.marked()) == ("150", "run 150")
            app.list.show(rows(range(3)), "")
            await pilot.pause()
            assert [line[1:].rstrip() for line in lines(app)] == ["run 0", "run 1", "run 2", "", ""]
            app.list.show(rows(range(-50, 200)), "")
            await pilot.pause()
            assert app.marked() == "run 0"
            await pilot.press("end")
            assert app.marked() == "run 199"
            await pilot.press("pageup", "up")
            assert app.marked() == "run 194"

    asyncio.run(go())


def test_a_list_without_rows_has_nothing_chosen() -> None:
    async def go() -> None:
        app = ListApp()
        async with app.run_test(size=(40, 10)) as pilot:
            app.list.show({}, "x")
            await pilot.press("down", "end", "pagedown", "up")
            assert app.list.chosen == ""
            assert not any(lines(app))

    asyncio.run(go())


class TextApp(App[None]):
    CSS = "#one, #two { height: auto; max-height: 4; } #wide { width: auto; height: 1; } #rest { height: 1fr; }"

    def __init__(self, kind: type[Static]) -> None:
        super().__init__()
        self._kind = kind

    def compose(self) -> ComposeResult:
        for name in ("one", "two", "wide", "rest"):
            yield self._kind(id=name)


STEPS = ("said", "resized", "hidden", "shown")


@pytest.mark.parametrize("seed", range(2))
def test_text_stands_where_textual_would_put_it(seed: int) -> None:
    """Updates, resizes and hiding in any order: the screen is the one that laying out every time gives."""

    async def step(app: TextApp, pilot: Pilot[None], draw: random.Random) -> None:
        name = draw.choice(("#one", "#two", "#wide", "#rest"))
        match draw.choices(STEPS, (6, 1, 1, 2))[0]:
            case "said":
                words = " ".join("word" * draw.randint(1, 3) for _ in range(draw.randint(0, 12)))
                app.query_one(name, Static).update(Content.styled(words, draw.choice(("", "bold"))))
            case "resized":
                await pilot.resize_terminal(draw.randint(10, 60), 12)
            case "hidden":
                app.query_one(name).display = False
            case _:
                app.query_one(name).display = True

    async def screens(kind: type[Static]) -> list[list[str]]:
        draw, found = random.Random(seed), []
        app = TextApp(kind)
        async with app.run_test(size=(40, 12)) as pilot:
            for _ in range(30):
                await step(app, pilot, draw)
                await pilot.pause()
                found.append(lines(app))
        return found

    ours, textuals = asyncio.run(screens(Text)), asyncio.run(screens(Static))
    assert ours == textuals
    assert len({tuple(one) for one in ours}) > 15


def test_text_that_fits_where_it_stands_does_not_have_the_screen_laid_out() -> None:
    async def layouts(kind: type[Static]) -> list[int]:
        app = TextApp(kind)
        counted = []
        async with app.run_test(size=(40, 12)) as pilot:
            await pilot.pause()
            real, calls = app.screen._refresh_layout, [0]

            def count(**given: bool) -> None:
                calls[0] += 1
                real(**given)  # type: ignore[arg-type]

            app.screen._refresh_layout = count  # type: ignore[assignment,method-assign]
            for said in ("first", "other", "other", "one\ntwo"):
                app.query_one("#one", Static).update(said)
                await pilot.pause()
                counted.append(calls[0])
        return counted

    ours, textuals = asyncio.run(layouts(Text)), asyncio.run(layouts(Static))
    assert ours[1] == ours[2] == ours[0]
    assert ours[3] > ours[2]
    assert textuals[0] < textuals[1]


def test_moving_the_focus_does_not_draw_the_whole_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        async with shown(tmp_path) as (app, pilot):
            await pilot.press("n")
            await until(pilot, lambda: isinstance(app.focused, OptionList))
            await pilot.pause(0.2)
            whole: list[object] = []
            real = Compositor.render_full_update

            def count(self: Compositor, *args: bool, **given: bool) -> object:
                whole.append(self)
                return real(self, *args, **given)

            monkeypatch.setattr(Compositor, "render_full_update", count)
            for key in ("tab", "tab", "shift+tab"):
                before = app.focused
                await pilot.press(key)
                await pilot.pause(0.1)
                assert app.focused is not before
            assert not whole

    asyncio.run(go())


def test_80_columns_hold_what_matters_and_more_holds_everything() -> None:
    assert list(columns(80, {})[0]) == ["name", "state", "trials", "result"]
    assert list(columns(200, {})[0]) == list(COLUMNS)
    for width in range(80, 260):
        for longest in ({}, dict.fromkeys(COLUMNS, 4), dict.fromkeys(COLUMNS, 60)):
            found, _ = columns(width, longest)
            cells = dict.fromkeys(COLUMNS, "x" * 60)
            assert cell_len("▸" + line(cells, found)) <= width - 2


def test_columns_are_as_wide_as_what_stands_in_them_and_figures_get_the_rest() -> None:
    short = {name: len(name) for name in COLUMNS} | {"state": 6, "result": 45}
    found, _ = columns(80, short)
    assert found["state"] == len("state") + 2
    assert found["result"] == min(45, 80 - 3 - found["name"] - found["state"] - found["trials"] - 3 * 2)


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (30, "moved +0.24 [0.16, 0.31] n=24"),
        (28, "moved +0.24 [0.16, 0.31]"),
        (20, "moved +0.24"),
        (8, "moved +…"),
    ],
)
def test_a_figure_loses_its_count_then_its_interval_and_is_not_cut_within(width: int, shown: str) -> None:
    fitted = wording.fit_figure("moved +0.24 [0.16, 0.31] n=24", width)
    assert fitted.rstrip() == shown
    assert cell_len(fitted) == width


@given(st.text(st.characters(codec="utf-8"), max_size=40), st.integers(6, 30))
def test_what_is_cut_is_exactly_as_wide_as_it_has_to_be(text: str, width: int) -> None:
    for cut in (wording.fit(text, width), wording.fit_middle(text, width)):
        assert cell_len(cut) == width
        assert "\n" not in cut


def test_a_name_keeps_its_number() -> None:
    assert wording.fit_middle("forced-identification-12", 20) == "forced-identi…ion-12"


def test_hints_that_have_no_room_give_way_to_help() -> None:
    def hint(key: str, everywhere: bool) -> Hint:
        return Hint(key, key, "does it", "", True, everywhere)

    hints = [*(hint(key, False) for key in "abcdef"), hint("F1", True)]
    assert fitting(hints, 80) == hints
    shown = fitting(hints, 40)
    assert [one.key for one in shown] == ["a", "b", "F1"]
    assert sum(one.width for one in shown) <= 40
