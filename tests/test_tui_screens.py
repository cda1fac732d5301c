"""Every screen as it looks at two sizes, over a finished run of the simulated subject."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from textual.content import Content
from textual.widgets import Input, Static

from mlxintro.backends.models.sources import Framework
from mlxintro.running.live import Writing
from mlxintro.store.store import Store
from mlxintro.tools.model_list import ModelRow
from mlxintro.tui.running import run_monitor
from mlxintro.tui.running.dry_run import DryRun
from mlxintro.tui.screens import new_study
from tests.tui_kit import (
    NARROW_AT_ONCE,
    PICTURES,
    SIZES,
    SNAPSHOTS,
    check_snapshot,
    picture,
    settled,
    shown,
    text,
    until,
)


@pytest.mark.parametrize("size", NARROW_AT_ONCE, ids=str)
@pytest.mark.parametrize("keys", [("runs",), ("runs", "f1"), ("runs", "enter"), ("runs", "delete")], ids="-".join)
def test_a_screen_looks_as_it_did(
    home: Path, size: tuple[int, int], keys: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The help names the store's folder, and how many lines that takes must not depend on where tests keep theirs.
    monkeypatch.chdir(home)

    async def look() -> str:
        async with shown(Path(), size) as (app, pilot):
            await until(pilot, lambda: "19, 68]" in text(app))
            await pilot.pause(0.3)
            await pilot.press(*keys[1:])
            if "enter" in keys:
                await until(pilot, lambda: "latest replies" in text(app) and "[10, 70]" in text(app))
            await pilot.pause(0.1)
            return await settled(app, pilot)

    check_snapshot(f"{'-'.join(keys)}-{size[0]}x{size[1]}", asyncio.run(look()))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_new_study_looks_as_it_did(home: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    def two_models(backend: Framework) -> list[ModelRow]:
        return [
            ModelRow("smollm2", "on PyPI", 540_000_000, "complete", True, 700_000_000),
            ModelRow("large", "owner/large", 65_500_000_000, "absent", False, 70_000_000_000),
        ]

    monkeypatch.setattr(new_study, "rows", two_models)
    monkeypatch.setattr(DryRun, "ask", lambda self, arguments: "56 trials\ntime:      about 9 s")

    async def look() -> str:
        async with shown(home, size) as (app, pilot):
            await pilot.press("n")
            # The protocol stands beside the form where there is room.
            wanted = ("about 9 s", *(["its structure and what it discloses"] if size[0] >= 200 else []))
            await until(pilot, lambda: all(one in text(app) for one in wanted))
            return await settled(app, pilot)

    check_snapshot(f"new-{size[0]}x{size[1]}", asyncio.run(look()))


def test_the_theme_and_the_place_are_remembered(home: Path) -> None:
    async def first() -> str:
        async with shown(home) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))
            await pilot.press("enter", "ctrl+t")
            await pilot.pause(0.2)
            return app.theme

    async def second() -> tuple[str, str]:
        async with shown(home) as (app, pilot):
            await until(pilot, lambda: app.current_mode == "live" and "18/18" in text(app))
            return app.theme, app.run_name

    theme = asyncio.run(first())
    assert theme == "textual-light"
    assert asyncio.run(second()) == (theme, "first")


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_an_empty_store_says_what_to_do(tmp_path: Path, size: tuple[int, int]) -> None:
    async def look() -> str:
        async with shown(tmp_path, size) as (app, pilot):
            await until(
                pilot, lambda: all(one in text(app) for one in ("No runs yet", "n New", "F1 Help", "Experiments"))
            )
            return await settled(app, pilot)

    check_snapshot(f"empty-{size[0]}x{size[1]}", asyncio.run(look()))


def test_the_export_asks_where_to(home: Path, tmp_path: Path) -> None:
    async def look() -> str:
        async with shown(home) as (app, pilot):
            await until(pilot, lambda: "19, 68]" in text(app))
            await pilot.press("e")
            await until(pilot, lambda: "Export first" in text(app))
            app.screen.query_one("#line", Input).value = "/data/first.csv"
            await pilot.pause(0.2)
            return await settled(app, pilot)

    check_snapshot("runs-export-80x24", asyncio.run(look()))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_run_that_goes_on_looks_as_it_did(home: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Halfway, with the reply that is being written; what differs from machine to machine is held still."""
    with Store(home / "mlxintro.db") as store:
        run = store.runs.all()[0]
    going = replace(run, state="running", planned=36, errors=0)
    pieces = ("I ", "notice ", "something ", "about ", "ocean", "s.")
    writing = Writing("k", "injected", "ocean", 5, 4.0, "raw", pieces, ((2, 5),), 8)
    real = run_monitor.Watcher.look

    def look_at(self: run_monitor.Watcher, store: Store) -> run_monitor.RunSight:
        return replace(real(self, store), run=going, writing=writing, memory=1_234_000_000, free=8_000_000_000)

    monkeypatch.setattr(run_monitor.Watcher, "look", look_at)
    monkeypatch.setattr(run_monitor.Watcher, "pace", lambda self: 3.0)

    async def look() -> tuple[str, str]:
        async with shown(home, size) as (app, pilot):
            app.open_run(run.id, run.name)
            await until(pilot, lambda: all(one in text(app) for one in ("6 tokens", "[10, 70]", "q Quit")))
            reply = app.screen.query_one("#reply", Static).content
            assert isinstance(reply, Content)
            marked = "".join(reply.plain[one.start : one.end] for one in reply.spans if "underline" in str(one.style))
            return await settled(app, pilot), marked

    seen, marked = asyncio.run(look())
    assert marked == "something about ocean"
    check_snapshot(f"live-running-{size[0]}x{size[1]}", seen)


def test_every_snapshot_is_of_a_screen_that_is_looked_at() -> None:
    assert {path.stem for path in SNAPSHOTS.iterdir()} == PICTURES


def test_a_picture_tells_another_colour_and_another_focus(home: Path) -> None:
    async def look() -> tuple[str, str, str]:
        async with shown(home) as (app, pilot):
            await until(pilot, lambda: "19, 68]" in text(app))
            await pilot.pause(0.3)
            before = picture(app)
            app.screen.set_focus(None)
            await pilot.pause(0.1)
            unfocused = picture(app)
            app.screen.query_one("#runs").focus()
            app.screen.query_one("#about").styles.color = "red"
            await pilot.pause(0.1)
            return before, unfocused, picture(app)

    before, unfocused, red = asyncio.run(look())
    assert "focus: RunList#runs" in before
    assert "focus: none" in unfocused
    assert "#ff0000 on" in red
    assert "#ff0000 on" not in before
