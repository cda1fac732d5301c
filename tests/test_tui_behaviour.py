"""What keys do: held against the store, the file system and the process table."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from mlxintro.store.records import Run
from mlxintro.store.store import Store
from mlxintro.tui.screens.runs import RunsPage
from mlxintro.tui.shell.page import Page
from tests.cli import ROOT, SMALL, environment, mlxintro, started
from tests.tui_kit import shown, text, until

LONG = ("run", "injected-thoughts", "--backend", "fake", "--concepts", "set:lindsey-50", "--strengths", "1,2,4,8")


def runs_of(home: Path) -> list[Run]:
    with Store(home / "mlxintro.db", read_only=True) as store:
        return store.runs.all()


def test_a_study_is_set_up_started_and_seen_finished_in_few_keys(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLXINTRO_HOME", str(home))
    keys = ["n", "end", "ctrl+r"]

    async def go() -> None:
        async with shown(home) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))
            await pilot.press(keys[0])
            await until(pilot, lambda: "simulated" in text(app) or "smollm2" in text(app))
            await pilot.press(keys[1], keys[2])
            await until(pilot, lambda: "injected-thoughts-1" in text(app) and "done" in text(app), 60)

    asyncio.run(go())
    (run,) = (run for run in runs_of(home) if run.name != "first")
    assert run.state == "done"
    assert run.done == run.planned > 0
    assert run.model["backend"] == "fake"
    assert not (home / "live" / f"{run.id}.json").exists()


def test_delete_asks_and_only_yes_deletes(home: Path) -> None:
    async def go(answer: str) -> None:
        async with shown(home) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))
            await pilot.press("delete")
            await until(pilot, lambda: "cannot be undone" in text(app))
            await pilot.press(answer)
            await pilot.pause(0.5)

    asyncio.run(go("enter"))
    assert [run.name for run in runs_of(home)] == ["first"]
    asyncio.run(go("y"))
    assert runs_of(home) == []


def test_export_writes_what_the_command_writes(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def go() -> None:
        async with shown(home) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))
            await pilot.press("e")
            await until(pilot, lambda: "Export first" in text(app))
            await pilot.press("enter")
            await until(pilot, (tmp_path / "first.jsonl").exists)

    asyncio.run(go())
    command = mlxintro(home, "runs", "export", "first")
    assert (tmp_path / "first.jsonl").read_text("utf-8") == command.out


def test_a_killed_run_is_noticed_within_three_seconds_and_resumed(home: Path) -> None:
    process = started(home, *LONG, "--trials", "40", "--name", "long")
    try:
        while not any(run.name == "long" and run.done for run in runs_of(home)):
            time.sleep(0.05)

        async def go() -> float:
            async with shown(home) as (app, pilot):
                await until(pilot, lambda: "long" in text(app))
                await pilot.press("ctrl+home", "enter")
                await until(pilot, lambda: "running" in text(app))
                os.kill(process.pid, signal.SIGKILL)
                killed = time.monotonic()
                await until(pilot, lambda: "r resumes" in text(app), 10)
                noticed = time.monotonic() - killed
                before = next(run for run in runs_of(home) if run.name == "long")
                assert before.state == "interrupted"
                await pilot.press("r")
                await until(pilot, lambda: next(r for r in runs_of(home) if r.name == "long").state == "running")
                await until(pilot, lambda: next(r for r in runs_of(home) if r.name == "long").done > before.done)
                return noticed

        assert asyncio.run(go()) < 3.0
    finally:
        process.kill()
        process.communicate()


def test_pause_holds_the_run_and_lets_it_go_on(home: Path) -> None:
    process = started(home, *LONG, "--trials", "40", "--name", "long")

    def state() -> str:
        return next((run.state for run in runs_of(home) if run.name == "long"), "")

    try:

        async def go() -> None:
            async with shown(home) as (app, pilot):
                await until(pilot, lambda: state() == "running")
                await until(pilot, lambda: "long" in text(app))
                await pilot.press("ctrl+home", "enter")
                await until(pilot, lambda: "running" in text(app))
                await pilot.press("p")
                await until(pilot, lambda: state() == "paused")
                await until(pilot, lambda: "paused" in text(app))
                await pilot.press("p")
                await until(pilot, lambda: state() == "running")

        asyncio.run(go())
    finally:
        process.kill()
        process.communicate()


def test_a_run_outlives_the_app_that_started_it(home: Path) -> None:
    arguments = [*SMALL, "--name", "kept"]
    code = (
        "import sys, time; from mlxintro.paths import data_home; from mlxintro.tui.running.processes import Processes\n"
        f"s = Processes(data_home()).start('kept', {arguments!r})\n"
        "print(s.process.pid, flush=True); time.sleep(60)"
    )
    app = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment(home)
    )
    assert app.stdout is not None
    run = psutil.Process(int(app.stdout.readline()))
    os.killpg(os.getpgid(app.pid), 0)
    app.kill()
    app.communicate()
    deadline = time.monotonic() + 60
    while not any(one.name == "kept" and one.state == "done" for one in runs_of(home)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not run.is_running() or run.pid != app.pid


def test_a_run_that_is_being_started_can_be_stopped(home: Path) -> None:
    async def go() -> None:
        async with shown(home) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))
            app.start_run("never", [*LONG[1:], "--trials", "40"])
            (started,) = app.processes.running
            await until(pilot, lambda: "never: starting" in text(app))
            await pilot.press("x")
            await until(pilot, lambda: "never was cancelled before it began" in text(app))
            assert started.process.poll() is not None

    # Held by another writer, the store takes no new run: it stays one that is being started, however fast the machine.
    with closing(sqlite3.connect(home / "mlxintro.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        asyncio.run(go())
    assert [run.name for run in runs_of(home)] == ["first"]


def test_the_palette_leads_to_what_other_screens_do(home: Path) -> None:
    async def go() -> None:
        async with shown(home) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))
            await pilot.press("enter", "ctrl+p", *"export")
            await until(pilot, lambda: "goes to Runs, where e does it" in text(app))
            await pilot.press("down", "enter")
            await until(pilot, lambda: isinstance(app.screen, RunsPage))

    asyncio.run(go())


def test_an_error_in_a_screen_is_a_notice_and_the_app_goes_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: RunsPage) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(RunsPage, "action_mark", broken)

    said: list[tuple[str, str]] = []
    after: list[str] = []

    async def go() -> None:
        async with shown(home) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))
            await pilot.press("m")
            await until(pilot, lambda: len(app._notifications))
            said.extend((one.severity, one.message) for one in app._notifications)
            await pilot.press("enter")
            await until(pilot, lambda: "detects, by layer" in text(app))
            after.append(text(app))

    # ``shown`` fails for a bug that reached the border, once the app has ended: not before.
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        asyncio.run(go())
    ((severity, message),) = said
    assert severity == "error"
    assert message.startswith("ZeroDivisionError: a bug\n")
    assert "tui.log" in message
    assert "18/18" in after[0]


def test_keys_can_be_changed_and_a_wrong_file_is_told(home: Path) -> None:
    async def marked(key: str, *, expected: bool = True) -> tuple[bool, list[str]]:
        async with shown(home) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))
            await pilot.press(key)
            if expected:
                await until(pilot, lambda: "● first" in text(app))
            else:
                await pilot.pause(0.5)
            return "● first" in text(app), [one.message for one in app._notifications]

    (home / "keys.toml").write_text('"runs.mark" = "z"\n', "utf-8")
    assert asyncio.run(marked("z"))[0]
    assert not asyncio.run(marked("m", expected=False))[0]
    (home / "keys.toml").write_text('"runs.mark" = \n', "utf-8")
    works, said = asyncio.run(marked("m"))
    assert works
    assert any("keys.toml" in one for one in said)


def test_the_palette_finds_the_actions_of_the_screen(home: Path) -> None:
    async def go() -> str:
        async with shown(home) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))
            await pilot.press("ctrl+p", *"export")
            await pilot.pause(0.5)
            return text(app)

    assert "Export the run to a file" in asyncio.run(go())


def test_a_saved_study_runs_as_it_was_set(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    file = tmp_path / "study.toml"

    async def go() -> None:
        async with shown(home) as (app, pilot):
            await pilot.press("n")
            await until(pilot, lambda: "simulated" in text(app) or "smollm2" in text(app))
            await pilot.press("end")
            app.screen.query_one("#strengths").value = "2, 4"  # type: ignore[attr-defined]
            app.screen.query_one("#layers").value = "1-3"  # type: ignore[attr-defined]
            app.screen.query_one("#controls").value = "6"  # type: ignore[attr-defined]
            for grader in ("later", "rules"):
                app.screen.query_one("#grader").value = grader  # type: ignore[attr-defined]
                file.unlink(missing_ok=True)
                app.clear_notifications()
                await pilot.press("ctrl+s")
                await until(pilot, lambda: "Save the study" in text(app))
                await pilot.press("enter")
                await until(pilot, file.exists)
                await until(pilot, lambda: len(app._notifications))
                said.extend(one.message for one in app._notifications)

    asyncio.run(go())
    # A file has no place for the grader: what starts it must say so.
    started_by = f"Saved. Start it anywhere with: mlxintro run {file}"
    assert said == [f"{started_by} --no-grade", started_by]
    done = mlxintro(home, "run", str(file), "--name", "saved")
    assert done.code == 0, done.err
    (run,) = (run for run in runs_of(home) if run.name == "saved")
    assert run.study["strengths"] == [2.0, 4.0]
    assert run.study["concepts"] == ["set:blueprint"]
    with Store(home / "mlxintro.db", read_only=True) as store:
        trials = [trial for trial in store.trials.of_run(run.id) if not trial.arm]
    assert {trial.layer for trial in trials if trial.condition == "injected"} == {1, 2, 3}
    assert sum(trial.condition == "control" for trial in trials) == 6


def test_every_page_answers_help_and_binds_ids() -> None:
    from mlxintro.tui.shell.places import PLACES

    for place in PLACES:
        page = place.make()
        assert isinstance(page, Page)
        assert place.name == page.PLACE
        assert page.HELP.strip()
        assert all(binding.id for binding in page.BINDINGS), place.name  # type: ignore[union-attr]


def test_state_survives_a_damaged_file(home: Path) -> None:
    (home / "tui.json").write_text(json.dumps({"place": "nowhere", "theme": 3})[:-2], "utf-8")

    async def go() -> None:
        async with shown(home) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))

    asyncio.run(go())


def test_one_key_closes_every_notice(home: Path) -> None:
    async def go() -> None:
        async with shown(home) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))
            for message in ("one", "two"):
                app.notify(message, timeout=600)
            await until(pilot, lambda: len(app._notifications) == 2)
            await pilot.press("ctrl+n")
            await until(pilot, lambda: not len(app._notifications))

    asyncio.run(go())
