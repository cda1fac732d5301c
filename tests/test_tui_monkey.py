"""Random keys, mouse and sizes on every screen, over stores in every state: nothing ends the app, nothing is a bug.

The fast test does fifty events a screen, ``-m slow`` five thousand on each screen and store. A failure names
its seed; the last events are in the message.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click
import pytest
from textual import events
from textual.pilot import Pilot

from mlxintro import experiments
from mlxintro.backends.errors import KnownError
from mlxintro.cli.main import cli
from mlxintro.paths import DataHome
from mlxintro.store.store import Store
from mlxintro.tui.app import IntroApp
from mlxintro.tui.running.dry_run import DryRun
from mlxintro.tui.running.lab_client import LabClient
from mlxintro.tui.running.processes import Processes
from mlxintro.tui.shell.places import PLACES

SIZES = ((80, 24), (120, 36), (200, 50), (40, 12), (20, 5), (300, 20))
_BURST = 8
"""Events that are posted before the app is given time for them."""
_COMMON = (
    *("up", "down", "left", "right", "home", "end", "pageup", "pagedown", "enter", "escape", "tab", "shift+tab"),
    *("space", "backspace", "ctrl+p", "f1", "ctrl+a", "ctrl+k"),
)
_LEAVES = {"q", "ctrl+q", "ctrl+c"}


def all_keys() -> list[str]:
    """Every key that is bound anywhere, but those that quit."""
    app = IntroApp.__new__(IntroApp)
    groups = IntroApp._key_groups.func(app)  # type: ignore[attr-defined]
    bound = {key for group in groups for one in group.values() for key in one.key.split(",")}
    return sorted((bound | set(_COMMON) | set("xy §[]{}:\"'0129日é")) - _LEAVES)


def _every_experiment(home: Path) -> None:
    few = ["--backend", "fake", "--concepts", "ocean,fear", "--trials", "1", "--max-tokens", "12"]
    ran = []
    for name in experiments.names():
        arguments = ["--db", str(home / "mlxintro.db"), "run", name, *few, "--name", f"of {name}"]
        # In this process: one of its own for each takes longer than all of the events.
        with suppress(KnownError, click.ClickException):
            cli.main(arguments, standalone_mode=False)
            ran.append(name)
    assert {"injected-thoughts", "prefill", "localization", "latent-detection"} & set(ran)
    assert len(ran) > 4


@pytest.fixture(scope="session")
def stored(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A home with a run of every experiment, only copied from."""
    return made_once("every-experiment", _every_experiment)


@pytest.fixture(autouse=True)
def _no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that a key starts takes long, and none of it goes on after the test."""
    monkeypatch.setattr(Processes, "command", lambda self, *arguments: [sys.executable, "-c", "raise SystemExit(1)"])
    monkeypatch.setattr(DryRun, "ask", lambda self, arguments: "some trials")
    monkeypatch.setattr(LabClient, "start", lambda self, model, backend, adapter=None: None)

    async def stay(app: IntroApp) -> None:
        """The palette and a click on the hints can quit, too."""

    monkeypatch.setattr(IntroApp, "action_quit", stay)
    for name in ("PAGER", "VISUAL", "EDITOR"):
        monkeypatch.setenv(name, "true")


@contextmanager
def locked(home: Path) -> Iterator[None]:
    db = sqlite3.connect(home / "mlxintro.db", isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        db.execute("ROLLBACK")
        db.close()


@contextmanager
def as_it_is(home: Path) -> Iterator[None]:
    yield


@contextmanager
def read_only(home: Path) -> Iterator[None]:
    """Every change is refused, as by a file that cannot be written, whoever runs the test."""

    def refuse(self: object, step: object) -> object:
        raise KnownError("it cannot be written: make the file and its folder writable")

    before = IntroApp.change
    IntroApp.change = refuse  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        IntroApp.change = before  # type: ignore[method-assign]


def random_event(chance: random.Random, keys: list[str], size: tuple[int, int]) -> events.Event:
    """Return a key press, a click, a turn of the wheel, or another size."""
    kind = chance.random()
    x, y = chance.randrange(size[0]), chance.randrange(size[1])
    if kind < 0.8:
        key = chance.choice(keys)
        return events.Key(key, key if len(key) == 1 else None)
    kinds = (events.MouseDown, events.MouseUp, events.MouseMove, events.MouseScrollDown, events.MouseScrollUp)
    return chance.choice(kinds)(None, x, y, 0, 0, 1, False, False, False, screen_x=x, screen_y=y)


async def play(app: IntroApp, pilot: Pilot[int], place: str, seed: int, count: int, upset: Callable[[], None]) -> None:
    chance, keys, size = random.Random(seed), all_keys(), SIZES[0]
    latest: deque[str] = deque(maxlen=40)
    for number in range(count):
        if number == count // 2:
            upset()
        if chance.random() < 0.01:
            size = chance.choice(SIZES)
            await pilot.resize_terminal(*size)
        event = random_event(chance, keys, size)
        latest.append(repr(event)[:80])
        app.post_message(event)
        if number % _BURST == 0:
            await pilot.pause(0)
        if number % 60 == 0 and app.current_mode != place:
            app.action_go(place)
        assert app.is_running, f"seed {seed}: the app has ended after {list(latest)}"
    while app._held:
        await pilot.pause(0.1)
    await pilot.pause(0.1)
    assert app._exception is None, f"seed {seed}: {app._exception!r} after {list(latest)}"


def monkey(home: Path, place: str, seed: int, count: int, upset: Callable[[], None] = lambda: None) -> None:
    bugs: list[BaseException] = []

    async def go() -> None:
        app = IntroApp(DataHome(home / "mlxintro.db", home / "cache"))
        tell = app.trouble

        def trouble(error: BaseException) -> None:
            if not isinstance(error, KnownError):
                bugs.append(error)
            tell(error)

        app.trouble = trouble  # type: ignore[method-assign]
        async with app.run_test(size=SIZES[0]) as pilot:
            with Store(home / "mlxintro.db") if (home / "mlxintro.db").exists() else as_it_is(home) as store:
                runs = store.runs.all() if isinstance(store, Store) else []
            if runs:
                app.open_run(runs[seed % len(runs)].id, runs[seed % len(runs)].name, place)
            else:
                app.action_go(place)
            await pilot.pause(0.1)
            await play(app, pilot, place, seed, count, upset)

    asyncio.run(go())
    if bugs:
        raise AssertionError(f"{place}, seed {seed}: {len(bugs)} bugs, the first: {bugs[0]!r}") from bugs[0]


def copied(stored: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stored, tmp_path / "home"))


@pytest.mark.parametrize("place", [one.name for one in PLACES])
def test_random_events_end_nothing(filled: Path, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkey(copied(filled, tmp_path), place, 20261125, 50)


@pytest.mark.slow
@pytest.mark.parametrize("place", [one.name for one in PLACES])
def test_random_events_end_nothing_whatever_the_experiment(
    stored: Path, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkey(copied(stored, tmp_path), place, 20261125, 150)


STATES = {"as it is": as_it_is, "locked": locked, "read-only": read_only}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("state", [*STATES, "empty", "deleted"])
@pytest.mark.parametrize("place", [one.name for one in PLACES])
def test_five_thousand_random_events_end_nothing_whatever_the_store(
    stored: Path, tmp_path: Path, place: str, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    home = copied(stored, tmp_path) if state != "empty" else tmp_path

    def delete() -> None:
        for name in ("mlxintro.db", "mlxintro.db-wal", "mlxintro.db-shm"):
            (home / name).unlink(missing_ok=True)

    with STATES.get(state, as_it_is)(home):
        monkey(home, place, 1 + len(state), 5_000, delete if state == "deleted" else lambda: None)
