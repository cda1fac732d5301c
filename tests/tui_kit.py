"""The app in a test: a home of its own, a driver without a terminal, and the screen as text."""

from __future__ import annotations

import asyncio
import itertools
import re
import string
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.segment import Segment
from textual.pilot import Pilot

from mlxintro.paths import DataHome
from mlxintro.protocol.words.own_concepts import OwnConcepts
from mlxintro.tui.app import IntroApp

SNAPSHOTS = Path(__file__).parent / "snapshots"
SIZES = ((80, 24), (200, 50))
NARROW_AT_ONCE = (SIZES[0], pytest.param(SIZES[1], marks=pytest.mark.slow))
"""For screens that are looked at in many states; the wide one is in slow tests."""


@asynccontextmanager
async def shown(
    home: Path, size: tuple[int, int] = (80, 24), own: OwnConcepts | None = None
) -> AsyncIterator[tuple[IntroApp, Pilot[int]]]:
    """The app over the store in ``home``. Whatever reached the border as a bug fails the test."""
    app = IntroApp(DataHome(home / "mlxintro.db", home / "cache"), own)
    bugs: list[BaseException] = []
    tell = app.trouble
    from mlxintro.backends.errors import KnownError

    def trouble(error: BaseException) -> None:
        if not isinstance(error, KnownError):
            bugs.append(error)
        tell(error)

    app.trouble = trouble  # type: ignore[method-assign]
    try:
        async with app.run_test(size=size) as pilot:
            yield app, pilot
    finally:
        for one in app.processes.running:
            if one.process.poll() is None:
                one.process.kill()
            one.process.wait()
    assert not bugs, bugs


def text(app: IntroApp) -> str:
    """What stands on the screen, line by line."""
    lines = ["".join(part.text for part in strip).rstrip() for strip in app.screen._compositor.render_strips()]
    return "\n".join(lines) + "\n"


async def until(pilot: Pilot[int], holds: Callable[[], Any], seconds: float = 30.0) -> None:
    """Wait until something holds."""
    end = asyncio.get_running_loop().time() + seconds
    while not holds():
        assert asyncio.get_running_loop().time() < end, f"did not come to hold:\n{text(pilot.app)}"  # type: ignore[arg-type]
        await pilot.pause(0.05)


def picture(app: IntroApp) -> str:
    """What stands on the screen with what has the focus and the styles of every line, for ``check_snapshot``.

    A style is a letter, explained at the end; a line has the letters of its pieces from left to right. How long pieces
    are is left out, since paths and times differ.
    """
    strips = app.screen._compositor.render_strips()
    letters: dict[str, str] = {}
    styled = []
    for strip in strips:
        used = [_style_name(part) for part in strip if part.text.strip(" │╭╮╰╯─")]
        for name in used:
            letters.setdefault(name, string.ascii_letters[len(letters)])
        styled.append("".join(letters[name] for name, _ in itertools.groupby(used)))
    focus = f"focus: {app.focused.css_identifier if app.focused is not None else 'none'}"
    legend = [f"{letter} {name}" for name, letter in letters.items()]
    return "\n".join([text(app).rstrip("\n"), focus, *styled, *legend]) + "\n"


async def settled(app: IntroApp, pilot: Pilot[int]) -> str:
    """Return the picture of the screen when it does not change any more."""
    before, now = "", picture(app)
    while now != before:
        await pilot.pause(0.3)
        before, now = now, picture(app)
    return now


def _style_name(part: Segment) -> str:
    style = part.style
    if style is None:
        return "plain"
    kinds = [kind for kind in ("bold", "dim", "italic", "underline", "reverse") if getattr(style, kind)]
    colours = [getattr(colour, "name", "none") for colour in (style.color, style.bgcolor)]
    return " on ".join(colours) + "".join(f" {kind}" for kind in kinds)


SCREENS = (
    *("empty", "lab", "lab-done", "live-running", "new", "results", "review-b", "review-b-enter", "review-enter"),
    *("review-plain", "review-v", "runs", "runs-delete", "runs-enter", "runs-f1"),
)
"""Screens of which there is a snapshot at each of the two sizes."""
PICTURES = {f"{name}-{width}x{height}" for name in SCREENS for width, height in SIZES} | {"runs-export-80x24"}
"""Names of all snapshots. A file of another name is of no test any more."""


def check_snapshot(name: str, shown: str) -> None:
    """Compare a screen with the stored one; a file that is missing is written, and the test fails once.

    Times of day and the folder of the test differ every time and are masked.
    """
    assert name in PICTURES, f"add {name} to PICTURES"
    # The bar of places changes with every new screen.
    shown = shown.partition("\n")[2]
    masked = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "YYYY-MM-DD HH:MM", shown)
    # What lies over a date hides the beginning of it.
    masked = re.sub(r"-\d\d-\d\d \d\d:\d\d", "-MM-DD HH:MM", masked)
    # The folder of a test has a number in its name, and a long one is cut off at the edge.
    masked = re.sub(r"─+ (\d+ of \d+ runs in ).*", r"─ \1STORE", masked)
    # Where a scroll bar's thumb ends depends on when its pane was laid out.
    masked = re.sub(r"[▁▂▃▄▅▆▇](?= ?│)", " ", masked)
    masked = re.sub(r"/\S*pytest\S*( *)", "FOLDER ", masked)
    path = SNAPSHOTS / f"{name}.txt"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text(masked, "utf-8")
        raise AssertionError(f"{path} is new: look at it, then run again")
    assert masked == path.read_text("utf-8"), f"{path} differs; delete it to take the new one:\n{masked}"
