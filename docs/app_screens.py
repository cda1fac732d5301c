"""Make pictures of every screen of the terminal app, at three sizes and in both themes.

    python docs/app_screens.py FOLDER [--only live,review] [--sizes 80x24,200x50] [--themes dark] [--store HOME]

The store is made with the simulated subject, so nobody's data and no model are needed: a run of every experiment, a
larger one, a failed one and one that goes on while the pictures are taken. FOLDER gets an SVG for each picture, and a
PNG where ``cairosvg`` is installed. Look at them before a release: no cut word, no empty half, colour and sign.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from textual.pilot import Pilot

from mlxintro import experiments
from mlxintro.paths import DataHome
from mlxintro.store.records import Run
from mlxintro.store.store import Store
from mlxintro.tui.app import IntroApp

SIZES = ("80x24", "120x36", "200x50")
THEMES = {"dark": "textual-dark", "light": "textual-light"}
FIRST, GOING = "first-look", "larger-study"
_FIRST = ("--layers", "2,3,4,5,6", "--trials", "4")
_GOING = ("--trials", "40", "--concepts", "set:lindsey-50", "--layers", "2,3,4,5,6")
_OTHERS = ("--concepts", "ocean,fear,bread", "--trials", "1", "--max-tokens", "12")
_WAIT = 60.0

Step = Callable[[IntroApp, "Pilot[int]"], Awaitable[None]]


def plain_svg(svg: str) -> str:
    """Return a picture that fetches no fonts from elsewhere: the reader's own fixed-width font will do."""
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).replace("Fira Code", "DejaVu Sans Mono")


# -- the store


def mlxintro(home: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "mlxintro", "--db", str(home / "mlxintro.db"), *arguments]


def fill(home: Path) -> None:
    """Run every experiment once, and a larger study of the first kind."""
    home.mkdir(parents=True, exist_ok=True)
    first = mlxintro(home, "run", "injected-thoughts", "--backend", "fake", *_FIRST, "--name", FIRST)
    subprocess.run(first, check=True, stdout=subprocess.DEVNULL)
    for name in experiments.names():
        other = mlxintro(home, "run", name, "--backend", "fake", *_OTHERS, "--name", f"{name}-1")
        # Some need an earlier run or an instrument that the simulated subject lacks.
        subprocess.run(other, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextmanager
def going_on(home: Path) -> Iterator[None]:
    """Have a run going on meanwhile."""
    name = ("--name", GOING, "--batch-size", "1", "--max-tokens", "40")
    command = mlxintro(home, "run", "injected-thoughts", "--backend", "fake", *_GOING, *name)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


# -- the screens


def text(app: IntroApp) -> str:
    return "\n".join("".join(part.text for part in strip) for strip in app.screen._compositor.render_strips())


async def until(app: IntroApp, pilot: Pilot[int], wanted: str) -> None:
    end = asyncio.get_running_loop().time() + _WAIT
    while wanted not in text(app):
        if asyncio.get_running_loop().time() > end:
            print(f"  {wanted!r} did not come")
            return
        await pilot.pause(0.1)


def run_named(app: IntroApp, name: str) -> Run | None:
    return app.ask(lambda store: next((run for run in store.runs.all() if run.name == name), None))


def opened(name: str, place: str, wanted: str, *keys: str, then: str = "") -> Step:
    """Open a run on a screen, wait for some words, press keys, wait for others."""

    async def step(app: IntroApp, pilot: Pilot[int]) -> None:
        run = run_named(app, name)
        for _ in range(100):
            if run is None or not run.done:
                # One that is being started.
                await pilot.pause(0.3)
                run = run_named(app, name)
        if run is None:
            print(f"  there is no run {name}")
            return
        app.open_run(run.id, run.name, place)
        await until(app, pilot, wanted)
        await pilot.press(*keys)
        if then:
            await until(app, pilot, then)

    return step


def pressed(wanted: str, *keys: str, then: str = "") -> Step:
    async def step(app: IntroApp, pilot: Pilot[int]) -> None:
        await until(app, pilot, wanted)
        for key in keys:
            await pilot.press(key)
            await pilot.pause(0.2)
        if then:
            await until(app, pilot, then)

    return step


async def lab(app: IntroApp, pilot: Pilot[int]) -> None:
    """Ask the simulated subject, and have the strip of layers and strengths answered."""
    app.action_go("lab")
    await until(app, pilot, "loads the model")
    await pilot.pause(3.0)
    from textual.widgets import Select

    app.screen.query_one("#model", Select).value = "simulated"
    await pilot.pause(0.3)
    await pilot.press("enter")
    await until(app, pilot, "measured")
    await pilot.press("g")
    await pilot.pause(6.0)


_MARKED = ("end", "m", "up", "up", "up", "m")
"""Marks two runs of the same experiment."""
_PLANNED = "batches:"
"""Stands in a plan that has been computed."""
SCREENS: dict[str, Step] = {
    "empty": pressed("No runs yet"),
    "runs": pressed(FIRST),
    "runs-groups": pressed(FIRST, "g"),
    "runs-help": pressed(FIRST, "f1"),
    "runs-palette": pressed(FIRST, "ctrl+p", then="Go to"),
    "runs-overlay": pressed(FIRST, *_MARKED, "v", then="left and right"),
    "new": pressed(FIRST, "2", then=_PLANNED),
    "new-protocol": pressed(FIRST, "2", "f3", then=_PLANNED),
    "live": opened(FIRST, "live", "latest replies"),
    "live-going": opened(GOING, "live", "being written", then=" %"),
    "live-read-out": opened("localization-1", "live", "latest replies"),
    "review": opened(FIRST, "review", "trials", "pagedown"),
    "review-filter": opened(FIRST, "review", "trials", "slash", *"sense", "enter", then="sense"),
    "review-whole": opened(FIRST, "review", "trials", "end", "enter"),
    "review-read-out": opened("localization-1", "review", "trials"),
    "review-label": opened(FIRST, "review", "trials", "b", then="Enter"),
    "results": opened(FIRST, "results", "ladder of"),
    "results-compare": pressed(FIRST, *_MARKED, "c", then="verdict:"),
    "lab": pressed(FIRST, "6", then="loads the model"),
    "lab-answered": lab,
}


async def picture(home: Path, step: Step, size: tuple[int, int], theme: str) -> str:
    with suppress(FileNotFoundError):
        (home / "tui.json").unlink()
    app = IntroApp(DataHome(home / "mlxintro.db", home / "cache"))
    async with app.run_test(size=size) as pilot:
        app.theme = theme
        await step(app, pilot)
        await pilot.pause(0.8)
        return plain_svg(app.export_screenshot(title="mlxintro"))


def save(svg: str, path: Path) -> None:
    path.write_text(svg, encoding="utf-8")
    try:
        import cairosvg
    except ImportError:
        return
    cairosvg.svg2png(bytestring=svg.encode(), write_to=str(path.with_suffix(".png")), scale=0.75)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="names of screens, with commas")
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--themes", default=",".join(THEMES))
    parser.add_argument("--store", type=Path, help="folder of a store that was made by an earlier call")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    home, empty = chosen.store or chosen.folder / "store", chosen.folder / "empty"
    empty.mkdir(exist_ok=True)
    if not (home / "mlxintro.db").exists():
        fill(home)
    names = chosen.only.split(",") if chosen.only else list(SCREENS)
    for name in names:
        with going_on(home) if name == "live-going" else nullcontext():
            for size in chosen.sizes.split(","):
                columns, lines = (int(part) for part in size.split("x"))
                for theme in chosen.themes.split(","):
                    where = empty if name == "empty" else home
                    svg = asyncio.run(picture(where, SCREENS[name], (columns, lines), THEMES[theme]))
                    save(svg, chosen.folder / f"{name}-{size}-{theme}.svg")
        print(name, flush=True)
        if name == "live-going":
            with Store(home / "mlxintro.db") as store:
                for run in store.runs.all():
                    if run.name == GOING:
                        store.runs.delete(run.id)


if __name__ == "__main__":
    main()
