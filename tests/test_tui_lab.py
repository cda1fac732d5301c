"""The lab's screen: what keys do to the order, how it looks, and what happens when its process is left or dies."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input, Select

from mlxintro.backends.models.sources import Framework
from mlxintro.lab.messages import Started, Trace
from mlxintro.tools.model_list import ModelRow
from mlxintro.tui.app import IntroApp
from mlxintro.tui.running.lab_controls import Knobs
from mlxintro.tui.screens import lab
from mlxintro.tui.screens.lab import FAKE, LabPage
from mlxintro.tui.widgets.cosines import bars, drawn
from mlxintro.tui.widgets.lab_dials import Dials
from mlxintro.tui.widgets.replies import Replies
from tests.tui_kit import SIZES, check_snapshot, shown, text, until


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
    await until(pilot, lambda: "smollm2" in page._models)
    page._models[FAKE] = (subject, "fake")
    page.query_one("#model", Select).value = FAKE
    await pilot.pause()
    return page


def process(page: LabPage) -> psutil.Process:
    assert page._client is not None
    assert page._client._process is not None
    return psutil.Process(page._client._process.pid)


def replies(page: LabPage) -> dict[str, str]:
    return {side: "".join(parts).strip() for side, parts in page.query_one(Replies)._texts.items()}


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_lab_looks_as_it_did(tmp_path: Path, size: tuple[int, int]) -> None:
    async def look() -> tuple[str, str]:
        async with shown(tmp_path, size) as (app, pilot):
            await opened(app, pilot)
            before = text(app)
            await pilot.press("enter")
            await until(pilot, lambda: "measured:" in text(app), 60)
            await pilot.pause(0.2)
            return before, text(app)

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
            await until(pilot, lambda: "layer 6, 3x" in text(app), 60)
            await until(pilot, lambda: "measured:" in text(app), 60)
            # Turned at once, asked once: the number of the order counts them.
            assert page._number == 2
            await pilot.press("minus", "minus", "minus", "minus", "minus")
            await until(pilot, lambda: "0.0938x" in text(app) and "measured:" in text(app), 60)
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
            page.query_one("#prompt", Input).value = "Tell me about chess."
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
            await until(pilot, lambda: "2.5x" in text(app), 2)
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


STARTED = Started(
    number=1, concept="ocean", layer=5, readout=6, raw=2.0, norm=52.0, resid=1.5, vector_norm=26.0, resid_norm=104 / 3
)


def test_another_unit_keeps_the_dose() -> None:
    knobs = Knobs(layer=5, strength=2.0, layers=8, dose=STARTED)
    norm = knobs.next_unit()
    assert (norm.unit, norm.strength) == ("norm", 52.0)
    share = norm.next_unit()
    assert (share.unit, share.strength) == ("resid", 1.5)
    assert share.next_unit() == knobs
    # At another layer the dose is not known.
    assert knobs.turned_layer(1).next_unit().strength == 10.0


def test_knobs_stay_inside_the_model_and_cross_zero() -> None:
    knobs = Knobs(layer=7, readout=0, strength=0.5, layers=8, dose=STARTED)
    assert knobs.turned_layer(1).layer == 7
    assert knobs.turned_readout(-1).readout == 0
    assert knobs.turned(-1).strength == 0.0
    assert knobs.turned(-2).strength == -0.5
    assert knobs.turned(-1).scaled(2.0).strength == 0.5
    # Half a vector, whose norm is 26, rounded to 10.
    shallower = replace(knobs, layer=5)
    assert [k.turned(1).strength for k in (shallower, shallower.next_unit())] == [1.0, 23.0]


def test_bars_show_low_high_and_between() -> None:
    assert bars([0.0, 0.5, 1.0], 0.0, 1.0) == "▁▅█"
    assert bars([0.0, 1.0, 1.0, 1.0], 0.0, 1.0, 2) == "▅█"
    assert bars([0.3, 0.3], 0.3, 0.3) == "▁▁"
    lines, scale = drawn(Trace(number=1, layer=3, control=(0.0,) * 200, injected=(1.0,) * 100), 80)
    control, injected = lines.splitlines()
    assert control.count("▁") == 50
    assert injected.count("█") == 25
    assert "4 tokens a bar" in scale
    assert "mean +1.000" in injected
    assert drawn(Trace(number=1, layer=3, control=(), injected=()), 80)[0].startswith("no token")
