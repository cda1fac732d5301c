"""The lab's screen: what keys do to the order, how it looks, and what happens when its process is left or dies."""

from __future__ import annotations

import asyncio
import os
import signal
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input, Select, TextArea

from mlxintro.backends.models.sources import Framework
from mlxintro.lab.messages import Ready
from mlxintro.tools.model_list import ModelRow
from mlxintro.tui.app import IntroApp
from mlxintro.tui.lab_widgets.cosines import Cosines
from mlxintro.tui.lab_widgets.lab_dials import Dials
from mlxintro.tui.lab_widgets.replies import Replies
from mlxintro.tui.lab_widgets.sweep_map import SweepMap
from mlxintro.tui.running.lab_client import LabClient
from mlxintro.tui.screens import lab
from mlxintro.tui.screens.lab import LabPage
from mlxintro.tui.screens.lab_tools import FAKE
from mlxintro.tui.widgets.text import Text
from tests.tui_kit import SIZES, check_snapshot, settled, shown, text, until


@pytest.fixture(autouse=True)
def one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(backend: Framework) -> list[ModelRow]:
        return [
            ModelRow("smollm2", "on PyPI", 540_000_000, "complete", True, 700_000_000),
            ModelRow("large", "owner/large", 65_500_000_000, "absent", False, 70_000_000_000),
        ]

    monkeypatch.setattr(lab, "rows", rows)


async def opened(app: IntroApp, pilot: Pilot[int], subject: str = "detector") -> LabPage:
    """The screen with a simulated subject chosen."""
    await pilot.press("6")
    page = app.screen
    assert isinstance(page, LabPage)
    await until(pilot, lambda: "smollm2" in page.models)
    page.models[FAKE] = (subject, "fake")
    page.query_one("#model", Select).value = FAKE
    await pilot.pause()
    return page


def process(page: LabPage) -> psutil.Process:
    assert page.client is not None
    assert page.client._process is not None
    return psutil.Process(page.client._process.pid)


def replies(page: LabPage) -> dict[str, str]:
    return {side: "".join(parts).strip() for side, parts in page.query_one(Replies)._texts.items()}


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_lab_looks_as_it_did(tmp_path: Path, size: tuple[int, int]) -> None:
    async def look() -> tuple[str, str]:
        async with shown(tmp_path, size) as (app, pilot):
            await opened(app, pilot)
            before = await settled(app, pilot)
            await pilot.press("enter")
            await until(pilot, lambda: "measured:" in text(app), 60)
            await pilot.pause(0.2)
            return before, await settled(app, pilot)

    before, after = asyncio.run(look())
    check_snapshot(f"lab-{size[0]}x{size[1]}", before)
    check_snapshot(f"lab-done-{size[0]}x{size[1]}", after)


def test_arrows_turn_layer_and_strength_and_the_replies_follow(tmp_path: Path) -> None:
    async def go() -> None:
        async with shown(tmp_path) as (app, pilot):
            page = await opened(app, pilot)
            await pilot.press("enter")
            await until(pilot, lambda: "measured:" in text(app), 60)
            first = replies(page)
            assert "ocean" in first["injected"]
            assert "ocean" not in first["control"]
            for key in ("right", "up", "up"):
                app.post_message(events.Key(key, None))
            await until(pilot, lambda: "layer 6, α = 3" in text(app), 60)
            await until(pilot, lambda: "measured:" in text(app), 60)
            # Turned at once, asked once: the number of the order counts them.
            assert page.number == 2
            await pilot.press("minus", "minus", "minus", "minus", "minus")
            await until(pilot, lambda: "α = 0.09375" in text(app) and "measured:" in text(app), 60)
            assert replies(page)["control"] == first["control"]
            assert "ocean" not in replies(page)["injected"]

    asyncio.run(go())


def test_any_word_and_any_prompt_can_be_typed(tmp_path: Path) -> None:
    async def go() -> None:
        async with shown(tmp_path) as (app, pilot):
            page = await opened(app, pilot)
            await pilot.press("enter")
            await until(pilot, lambda: "measured:" in text(app), 60)
            page.query_one("#concept", Input).focus()
            page.query_one("#concept", Input).value = "zeppelin"
            page.query_one("#prompt", TextArea).text = "Tell me about chess."
            await until(pilot, lambda: "zeppelin, layer" in text(app) and "measured:" in text(app), 60)
            found = replies(page)
            assert "zeppelin" in found["injected"]
            assert "Chess" in found["control"]
            page.query_one("#temperature", Input).value = "warm"
            await until(pilot, lambda: "✗ temperature" in text(app))
            await pilot.press("escape")
            assert page.query_one(Dials).has_focus

    asyncio.run(go())


def test_a_change_gives_up_what_is_being_answered(tmp_path: Path) -> None:
    async def go() -> None:
        async with shown(tmp_path) as (app, pilot):
            page = await opened(app, pilot, "detector?delay=0.2")
            await pilot.press("enter")
            await until(pilot, lambda: replies(page)["control"], 60)
            assert "▌" in text(app)
            await pilot.press("up")
            # The first would have taken four more seconds.
            await until(pilot, lambda: "layer 5, α = 2.5" in text(app), 2)
            await pilot.press("x")
            await until(pilot, lambda: "stopped" in text(app))
            assert "▌" not in text(app)

    asyncio.run(go())


def test_a_dead_process_is_told_and_enter_starts_another(tmp_path: Path) -> None:
    async def go() -> None:
        async with shown(tmp_path) as (app, pilot):
            page = await opened(app, pilot, "detector?delay=0.2")
            await pilot.press("enter")
            await until(pilot, lambda: replies(page)["control"], 60)
            dead = process(page)
            os.kill(dead.pid, signal.SIGKILL)
            await until(pilot, lambda: "has ended; Enter starts it again" in text(app), 3)
            await until(pilot, lambda: any("signal 9" in one.message for one in app._notifications), 3)
            await pilot.press("enter")
            await until(pilot, lambda: "measured:" in text(app), 60)
            assert process(page).pid != dead.pid

    asyncio.run(go())


def test_leaving_the_screen_ends_the_process_and_help_does_not(tmp_path: Path) -> None:
    async def go() -> None:
        async with shown(tmp_path) as (app, pilot):
            page = await opened(app, pilot)
            await pilot.press("enter")
            await until(pilot, lambda: "measured:" in text(app), 60)
            held = process(page)
            await pilot.press("f1")
            await pilot.pause(0.3)
            assert "turn the layer" in text(app)
            await pilot.press("escape")
            await pilot.pause(0.3)
            assert held.is_running()
            await pilot.press("1")
            await until(pilot, lambda: not held.is_running(), 5)
            await pilot.press("6")
            await until(pilot, lambda: "Enter starts it again" in text(app))
            assert "ocean" in replies(page)["injected"]
            assert not app._notifications

    asyncio.run(go())


def test_quitting_ends_the_process(tmp_path: Path) -> None:
    async def go() -> psutil.Process:
        async with shown(tmp_path) as (app, pilot):
            page = await opened(app, pilot)
            await pilot.press("enter")
            await until(pilot, lambda: "measured:" in text(app), 60)
            return process(page)

    held = asyncio.run(go())
    held.wait(5)


def test_one_cursor_moves_over_bars_and_both_replies(tmp_path: Path) -> None:
    async def go() -> None:
        async with shown(tmp_path, (120, 40)) as (app, pilot):
            page = await opened(app, pilot)
            await pilot.press("enter")
            await until(pilot, lambda: "measured:" in text(app), 60)
            page.query_one(Cosines).focus()
            await pilot.press("right", "right")
            await until(pilot, lambda: "token 3: control" in text(app))
            trace = page.query_one(Cosines).trace
            assert trace is not None
            marked = [
                content.plain[span.start : span.end]
                for side in ("control", "injected")
                for content in [page.query_one(f"#{side}-text", Text)._said]
                for span in content.spans
                if span.style == "reverse"
            ]
            assert marked == [trace.control_pieces[2], trace.injected_pieces[2]]

    asyncio.run(go())


def test_the_strip_is_answered_in_the_background_and_a_cell_is_taken(tmp_path: Path) -> None:
    async def go() -> None:
        async with shown(tmp_path, (200, 50)) as (app, pilot):
            page = await opened(app, pilot)
            await pilot.press("enter")
            await until(pilot, lambda: "measured:" in text(app), 60)
            await pilot.press("g")
            await until(pilot, lambda: page.sweep is not None and page.sweep.done == 25, 90)
            assert page.sweep is not None
            kinds = {cell.class_.sign for cell in page.sweep.cells.values() if cell.class_ is not None}
            assert len(kinds) > 1, "a weak and a strong dose do not do the same"
            page.query_one(SweepMap).focus()
            await pilot.press("up", "right", "enter")
            layer, strength = page.sweep.layers[1], page.sweep.strengths[1]
            await until(pilot, lambda: (page.dials.knobs.layer, page.dials.knobs.strength) == (layer, strength))

    asyncio.run(go())


def test_a_setting_becomes_a_study(tmp_path: Path) -> None:
    async def go() -> None:
        async with shown(tmp_path, (120, 40)) as (app, pilot):
            page = await opened(app, pilot)
            await pilot.press("enter")
            await until(pilot, lambda: "measured:" in text(app), 60)
            await pilot.press("up", "w")
            await until(pilot, lambda: app.current_mode == "new" and "the lab's setting" in text(app))
            study = app.screen._draft().study()  # type: ignore[attr-defined]
            assert (study.concepts, study.layers, study.strengths) == (("ocean",), (5,), (2.5,))
            assert (study.backend, study.window) == ("fake", "all")
            assert page is not app.screen

    asyncio.run(go())


def test_both_replies_and_a_picture_are_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def go() -> dict[str, str]:
        async with shown(tmp_path, (120, 40)) as (app, pilot):
            page = await opened(app, pilot)
            await pilot.press("enter")
            await until(pilot, lambda: "measured:" in text(app), 60)
            await pilot.press("S")
            await until(pilot, lambda: "Save both replies" in text(app))
            await pilot.press("enter")
            await until(pilot, lambda: (tmp_path / "lab-ocean.svg").exists())
            return replies(page)

    said = asyncio.run(go())
    saved = (tmp_path / "lab-ocean.md").read_text("utf-8")
    assert all(part in " ".join(saved.split()) for part in said.values())
    assert "| token | without | cosine | with | cosine |" in saved
    assert "<svg" in (tmp_path / "lab-ocean.svg").read_text("utf-8")


def test_settings_and_history_are_found_again(tmp_path: Path) -> None:
    async def first() -> None:
        async with shown(tmp_path) as (app, pilot):
            page = await opened(app, pilot)
            page.query_one("#prompt", TextArea).text = "Line one.\nLine two."
            page.query_one("#system", Input).value = "Be brief."
            await pilot.press("enter")
            await until(pilot, lambda: "measured:" in text(app), 60)
            await pilot.press("up")
            await until(pilot, lambda: len(page.history.settings) == 2, 60)
            await pilot.press("b")
            await until(pilot, lambda: page.dials.knobs.strength == 2.0)
            await pilot.press("q")

    async def second() -> None:
        async with shown(tmp_path) as (app, pilot):
            await until(pilot, lambda: app.current_mode == "lab")
            page = app.screen
            assert isinstance(page, LabPage)
            assert page.form.prompt == "Line one.\nLine two."
            assert page.form.system == "Be brief."
            assert page.dials.knobs.strength == 2.0
            assert len(page.history.settings) == 2

    asyncio.run(first())
    asyncio.run(second())


def test_a_wrong_number_is_marked_and_said_in_words(tmp_path: Path) -> None:
    async def go() -> None:
        async with shown(tmp_path) as (app, pilot):
            page = await opened(app, pilot)
            await pilot.press("enter")
            await until(pilot, lambda: "measured:" in text(app), 60)
            page.query_one("#seed", Input).value = "quokka"
            await until(pilot, lambda: "✗ seed: 'quokka' is no whole number" in text(app))
            assert page.query_one("#seed").has_class("-wrong")
            page.query_one("#concept", Input).value = ""
            page.query_one("#seed", Input).value = "3"
            await until(pilot, lambda: "✗ concept: it is empty" in text(app))

    asyncio.run(go())


def test_enter_asks_and_ctrl_j_begins_a_line(tmp_path: Path) -> None:
    async def go() -> None:
        async with shown(tmp_path) as (app, pilot):
            page = await opened(app, pilot)
            page.query_one("#prompt").focus()
            page.query_one("#prompt", TextArea).text = ""
            await pilot.press("a", "ctrl+j", "b")
            assert page.form.prompt == "a\nb"
            await pilot.press("enter")
            await until(pilot, lambda: "measured:" in text(app), 60)

    asyncio.run(go())


def test_the_model_is_loaded_with_the_adapter_and_anew_when_it_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[tuple[str, str | None]] = []

    def start(self: LabClient, model: str, backend: str, adapter: str | None = None) -> None:
        loaded.append((model, adapter))
        # A process that is there and never answers.
        self._process = cast(Any, SimpleNamespace(stdin=BytesIO(), kill=lambda: None))

    monkeypatch.setattr(LabClient, "start", start)

    async def go() -> None:
        async with shown(tmp_path) as (app, pilot):
            page = await opened(app, pilot)
            page.query_one("#model", Select).value = "smollm2"
            field = page.query_one("#adapter", Input)
            field.value = "nowhere"
            await pilot.press("enter")
            await until(pilot, lambda: "'nowhere' is no folder" in text(app))
            assert field.has_class("-wrong")
            assert not loaded
            field.value = "smollm2-control"
            await pilot.press("enter", "enter")
            assert loaded == [("smollm2", "smollm2-control")]
            page.ready = Ready(model="smollm2", backend="torch", device="cpu", layers=30, layer=20, readout=25)
            field.value = ""
            await until(pilot, lambda: "loads smollm2" in text(app))
            await pilot.press("enter")
            assert loaded == [("smollm2", "smollm2-control"), ("smollm2", None)]

    asyncio.run(go())


def test_a_setting_with_an_adapter_becomes_a_study_with_it(tmp_path: Path) -> None:
    async def go() -> None:
        async with shown(tmp_path, (120, 40)) as (app, pilot):
            page = await opened(app, pilot)
            page.query_one("#model", Select).value = "smollm2"
            page.query_one("#adapter", Input).value = "smollm2-control"
            page.dials.focus()
            await pilot.press("w")
            await until(pilot, lambda: app.current_mode == "new" and "the lab's setting" in text(app))
            study = app.screen._draft().study()  # type: ignore[attr-defined]
            assert (study.model, study.adapter) == ("smollm2", "smollm2-control")

    asyncio.run(go())
