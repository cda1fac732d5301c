"""Key press to repaint in the terminal app, over a store of one's own, while a run goes on.

    python benchmarks/tui_latency.py HOME [--screens runs,live,lab] [--presses 150] [--run NAME]

HOME holds ``mlxintro.db``. A key is posted as a terminal would post it; the clock stops when the app has drawn a frame
in which the key's effect is there (the cursor moved, the knob turned), its escape sequences included. Frames that other
things cause do not count. The load of the machine while this runs is part of the result, so it is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from textual import events
from textual.pilot import Pilot

from mlxintro.paths import DataHome
from mlxintro.store.records import Run
from mlxintro.store.store import Store
from mlxintro.tui.app import IntroApp

PAUSE = 0.05
"""Seconds between presses: a key held down repeats at 20 to 30 a second."""
LIMIT = 5.0


@dataclass(frozen=True, slots=True)
class Latency:
    wall: float
    """Milliseconds."""
    cpu: float
    """Milliseconds that the app's process worked in the meantime, in all its threads."""


@dataclass
class Watch:
    """Draws as a terminal would be sent, and looks after every frame whether something holds."""

    app: IntroApp

    def __post_init__(self) -> None:
        self._holds: Callable[[], bool] = bool
        self._drawn: asyncio.Future[Latency] | None = None
        original = self.app._display

        def display(screen: Any, renderable: Any) -> None:
            original(screen, renderable)
            if hasattr(renderable, "render_segments"):
                renderable.render_segments(self.app.console)
            if self._drawn is not None and not self._drawn.done() and renderable is not None and self._holds():
                self._drawn.set_result(Latency(time.perf_counter(), time.process_time()))

        self.app._display = display  # type: ignore[method-assign]

    async def press(self, key: str, holds: Callable[[], bool]) -> Latency:
        """Until a frame in which it holds; infinite after ``LIMIT`` seconds."""
        self._holds, self._drawn = holds, asyncio.get_running_loop().create_future()
        pressed, worked = time.perf_counter(), time.process_time()
        self.app.post_message(events.Key(key, key if len(key) == 1 else None))
        try:
            drawn = await asyncio.wait_for(self._drawn, LIMIT)
        except TimeoutError:
            return Latency(float("inf"), float("inf"))
        return Latency(1000 * (drawn.wall - pressed), 1000 * (drawn.cpu - worked))


async def until(holds: Callable[[], Any], seconds: float = 120.0) -> bool:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.05)
    return True


async def back_and_forth(watch: Watch, keys: tuple[str, str], state: Callable[[], Any], presses: int) -> list[Latency]:
    """A key and its opposite in runs of ten; what ``state`` says changes with every press."""
    times = []
    for number in range(presses):
        before = state()
        times.append(await watch.press(keys[number // 10 % 2], lambda before=before: state() != before))  # type: ignore[misc]
        await asyncio.sleep(PAUSE)
    return times


async def runs(watch: Watch, pilot: Pilot[int], presses: int) -> list[Latency]:
    await pilot.press("1")
    table: Any = watch.app.screen.query_one("#runs")
    await until(lambda: table.count > 12)
    table.focus()
    return await back_and_forth(watch, ("down", "up"), lambda: table.cursor, presses)


async def runs_filter(watch: Watch, pilot: Pilot[int], presses: int) -> list[Latency]:
    """Typing into the filter: until the field and the list below it have changed."""
    page: Any = watch.app.screen
    await pilot.press("slash")
    field = page.query_one("#filter")
    times = []
    for key in (*"gen-1", *["backspace"] * 5) * max(1, presses // 30):
        before = field.value
        times.append(await watch.press(key, lambda before=before: field.value != before))  # type: ignore[misc]
        await asyncio.sleep(PAUSE)
    await pilot.press("escape")
    return times


async def review(watch: Watch, pilot: Pilot[int], presses: int) -> list[Latency]:
    await pilot.press("4")
    trials: Any = watch.app.screen.query_one("#trials")
    await until(lambda: trials.count > 12)
    trials.focus()
    return await back_and_forth(watch, ("down", "up"), lambda: trials.cursor, presses)


async def live(watch: Watch, pilot: Pilot[int], presses: int) -> list[Latency]:
    await pilot.press("3")
    await asyncio.sleep(2)
    # Nothing else on this screen moves with a key.
    return await focus_moved(watch, presses)


async def lab(watch: Watch, pilot: Pilot[int], presses: int) -> list[Latency]:
    """Turning the knobs while the lab's own model answers."""
    await pilot.press("6")
    page: Any = watch.app.screen
    await until(lambda: "smollm2" in page.models)
    await pilot.press("enter")
    print("  lab: loading smollm2 ...", flush=True)
    await until(lambda: page.asked is not None and page.query_one("#sides")._texts["control"])
    keys: tuple[tuple[str, str], ...] = (("up", "down"), ("left", "right"))
    times = []
    for pair in keys:
        times += await back_and_forth(watch, pair, lambda: page.dials.knobs, presses // 2)
    return times


async def lab_streaming(watch: Watch, pilot: Pilot[int], presses: int) -> list[Latency]:
    """Moving the focus over the lab while tokens come in; nothing of the order changes."""
    return await focus_moved(watch, presses)


async def focus_moved(watch: Watch, presses: int) -> list[Latency]:
    return await back_and_forth(watch, ("tab", "shift+tab"), lambda: watch.app.focused, presses)


SCREENS = {"runs": runs, "filter": runs_filter, "live": live, "review": review, "lab": lab, "lab-text": lab_streaming}


def told(name: str, times: Sequence[Latency]) -> str:
    wall = np.percentile([one.wall for one in times], (50, 95, 100), method="higher")
    cpu = np.percentile([one.cpu for one in times], (50, 95), method="higher")
    return (
        f"{name:<8} n={len(times):<4} p50 {wall[0]:6.1f}  p95 {wall[1]:6.1f}  max {wall[2]:6.1f} ms;  "
        f"its own work p50 {cpu[0]:5.1f}  p95 {cpu[1]:5.1f} ms"
    )


def to_show(store: Store, screen: str, name: str) -> Run | None:
    """Live shows the run that goes on; Review, and Live when there is none, the one of that name."""
    runs = store.runs.all()
    going = next((one for one in runs if one.state == "running"), None) if screen == "live" else None
    return going or next((one for one in runs if one.name == name), None)


async def measure(home: Path, screens: Sequence[str], presses: int, run: str) -> None:
    app = IntroApp(DataHome(home / "mlxintro.db", home / "cache"))
    began = time.perf_counter()
    async with app.run_test(size=(200, 50)) as pilot:
        watch = Watch(app)
        await pilot.press("1")
        await until(lambda: app.screen.query("#runs") and app.screen.query_one("#runs").count, 3)  # type: ignore[attr-defined]
        print(f"{app.screen.query_one('#runs').count} runs shown after {time.perf_counter() - began:.2f} s")  # type: ignore[attr-defined]
        for name in screens:
            shown = app.ask(lambda store, name=name: to_show(store, name, run))  # type: ignore[misc]
            if name in ("live", "review") and shown is not None:
                app.open_run(shown.id, shown.name)
                await asyncio.sleep(0.5)
            times = await SCREENS[name](watch, pilot, presses)
            print(f"{told(name, times)}   load {os.getloadavg()[0]:.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("--screens", default=",".join(SCREENS))
    parser.add_argument("--presses", type=int, default=150)
    parser.add_argument("--run", default="", help="Run that Review shows; Live shows the one that goes on.")
    chosen = parser.parse_args()
    asyncio.run(measure(chosen.home, chosen.screens.split(","), chosen.presses, chosen.run))


if __name__ == "__main__":
    main()
