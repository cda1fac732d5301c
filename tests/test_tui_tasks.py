"""The ten tasks of docs/app.md, with exactly the keys that stand there."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Select

from mlxintro.store.store import Store
from mlxintro.tools.model_list import ModelRow
from mlxintro.tui.app import IntroApp
from mlxintro.tui.running.dry_run import DryRun
from mlxintro.tui.screens import lab, new_study
from mlxintro.tui.screens.lab import LabPage
from mlxintro.tui.screens.lab_tools import FAKE
from mlxintro.tui.screens.labelling import Blind, LabelSetup
from mlxintro.tui.screens.results import ResultsPage
from mlxintro.tui.screens.review import ReviewPage
from tests.cli import RUN, mlxintro
from tests.tui_kit import shown, text, until

PAGE = (Path(__file__).parent.parent / "docs" / "app.md").read_text("utf-8")
KEY_NAMES = {"/": "slash", "Y": "Y"}
MOST = 6


def keys_of(task: str) -> list[str]:
    """Keys of a task as the page names them, as Textual does."""
    line = next(line for line in PAGE.splitlines() if line.startswith(f"| {task}"))
    _, _, keys, count, _ = line.split("|")
    found = [KEY_NAMES.get(key, key) for key in re.findall(r"`([^`]+)`", keys)]
    assert len(found) == int(count) <= MOST
    return found


@pytest.fixture(autouse=True)
def _one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    models = [ModelRow("smollm2", "here", 540_000_000, "complete", True, 540_000_000)]
    monkeypatch.setattr(new_study, "rows", lambda backend: models)
    monkeypatch.setattr(lab, "rows", lambda backend: models)
    monkeypatch.setattr(DryRun, "ask", lambda self, arguments: "56 trials")


def play(home: Path, size: tuple[int, int], steps: Callable[[IntroApp, Pilot[int]], object], ready: str) -> None:
    async def go() -> None:
        async with shown(home, size) as (app, pilot):
            await until(pilot, lambda: ready in text(app))
            await steps(app, pilot)  # type: ignore[misc]

    asyncio.run(go())


def test_start_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(IntroApp, "start_run", lambda self, name, arguments: started.append(arguments))

    async def steps(app: IntroApp, pilot: Pilot[int]) -> None:
        demo, start = keys_of("start the demo")
        await pilot.press(demo)
        await until(pilot, lambda: "the demo study" in text(app))
        await pilot.press(start)
        await until(pilot, lambda: started)

    play(tmp_path, (120, 36), steps, "No runs yet")
    study = tomllib.loads(Path(started[0][0]).read_text("utf-8"))
    assert (study["model"], study["experiment"]) == ("smollm2", "injected-thoughts")


def test_find_the_replies_that_name_the_concept_at_a_layer(tmp_path: Path) -> None:
    grid = ("--layers", "3,5", "--concepts", "ocean,fear", "--strengths", "4", "--trials", "3", "--controls", "4")
    assert mlxintro(tmp_path, *RUN, *grid, "--name", "first").code == 0

    async def steps(app: IntroApp, pilot: Pilot[int]) -> None:
        *first, enter = keys_of("find the replies")
        await pilot.press(*first)
        # The simulated subject has eight layers.
        await pilot.press(*[{" ": "space", ":": "colon"}.get(one, one) for one in "layer:5 grade:names"], enter)
        page = app.screen
        assert isinstance(page, ReviewPage)
        await until(pilot, lambda: "layer 5, verdict claims, names it" in text(app) and "trials" in text(app))
        await until(pilot, lambda: page.trials.current is not None)
        seen = page.trials.current
        assert seen is not None
        assert seen.trial.layer == 5

    play(tmp_path, (120, 36), steps, "first")


def test_compare_two_runs(home: Path) -> None:
    more = ("--concepts", "ocean,fear", "--strengths", "2,4", "--trials", "2", "--controls", "4", "-m", "yes-biased")
    assert mlxintro(home, *RUN, *more, "--name", "second").code == 0

    async def steps(app: IntroApp, pilot: Pilot[int]) -> None:
        await pilot.press(*keys_of("compare two runs"))
        await until(pilot, lambda: isinstance(app.screen, ResultsPage) and "Side by side" in text(app), 60)

    play(home, (200, 50), steps, "second")


def test_label_ten_replies_blind(home: Path) -> None:
    async def steps(app: IntroApp, pilot: Pilot[int]) -> None:
        *first, begin, stop = keys_of("label ten")
        await pilot.press(*first)
        await until(pilot, lambda: isinstance(app.screen, LabelSetup))
        await pilot.press(begin)
        await until(pilot, lambda: isinstance(app.screen, Blind))
        for done in range(1, 11):
            # No claim is one key: `0` or the key that the screen names for it.
            await pilot.press("n")
            await until(pilot, lambda done=done: labelled(home) == done)  # type: ignore[misc]
        await pilot.press(stop)
        await until(pilot, lambda: isinstance(app.screen, ReviewPage))

    play(home, (120, 36), steps, "first")


def labelled(home: Path) -> int:
    with sqlite3.connect(home / "mlxintro.db") as db:
        return int(db.execute("SELECT count(DISTINCT key) FROM labels").fetchone()[0])


def test_copy_a_citation(home: Path) -> None:
    async def steps(app: IntroApp, pilot: Pilot[int]) -> None:
        *first, cite = keys_of("copy a citation")
        await pilot.press(*first)
        await until(pilot, lambda: isinstance(app.screen, ReviewPage) and app.screen.trials.current is not None)
        await pilot.press(cite)
        await until(pilot, lambda: "mlxintro runs show first" in app.clipboard)

    play(home, (120, 36), steps, "first")


def test_turn_a_lab_setting_into_a_study(home: Path) -> None:
    async def steps(app: IntroApp, pilot: Pilot[int]) -> None:
        go, ask, study = keys_of("turn a lab setting")
        await pilot.press(go)
        page = app.screen
        assert isinstance(page, LabPage)
        await until(pilot, lambda: "smollm2" in page.models)
        page.query_one("#model", Select).value = FAKE
        await pilot.press(ask)
        await until(pilot, lambda: "measured:" in text(app), 60)
        await pilot.press(study)
        await until(pilot, lambda: "the lab's setting" in text(app))

    play(home, (120, 36), steps, "first")


def test_open_a_map_cells_replies(home: Path) -> None:
    async def steps(app: IntroApp, pilot: Pilot[int]) -> None:
        enter, right, again = keys_of("open a map cell")
        await pilot.press(enter)
        await until(pilot, lambda: "by layer and strength" in text(app))
        await pilot.press(right, again)
        await until(pilot, lambda: isinstance(app.screen, ReviewPage) and "α 4" in text(app))

    play(home, (120, 36), steps, "first")


def test_rename_a_run(home: Path) -> None:
    async def steps(app: IntroApp, pilot: Pilot[int]) -> None:
        rename, enter = keys_of("rename")
        await pilot.press(rename)
        await until(pilot, lambda: app.screen.query("#line"))
        app.screen.query_one("#line", Input).value = "tides"
        await pilot.press(enter)
        await until(pilot, lambda: "tides" in text(app))

    play(home, (80, 24), steps, "first")


def test_export_a_run(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def steps(app: IntroApp, pilot: Pilot[int]) -> None:
        export, enter = keys_of("export")
        await pilot.press(export)
        await until(pilot, lambda: app.screen.query("#line"))
        await pilot.press(enter)
        await until(pilot, (tmp_path / "first.jsonl").exists)

    play(home, (80, 24), steps, "first")


def test_find_why_a_run_failed(home: Path) -> None:
    with Store(home / "mlxintro.db") as store:
        store.runs.set_state(store.runs.all()[0].id, "failed", "the disk is full: free some space")

    async def steps(app: IntroApp, pilot: Pilot[int]) -> None:
        assert keys_of("find why") == []
        await until(pilot, lambda: "✗ failed: the disk is full: free some space" in text(app))

    play(home, (80, 24), steps, "first")
