"""Nothing that is stored can steer the terminal through the app."""

from __future__ import annotations

import asyncio
from pathlib import Path

from textual.app import App, ComposeResult
from textual.content import Content

from mlxintro.paths import DataHome
from mlxintro.tui.app import IntroApp
from mlxintro.tui.widgets.lines import Lines
from mlxintro.tui.widgets.text import Text

HOSTILE = "a\x1b]52;c;aGk=\x07b\u202ec\x00d"
SAFE = "a\ufffd]52;c;aGk=\ufffdb\ufffdc\ufffdd"


class HostileLines(Lines):
    @property
    def count(self) -> int:
        return 1

    def text_at(self, at: int, width: int) -> str:
        return HOSTILE


class Page(App[None]):
    def compose(self) -> ComposeResult:
        yield Text(id="text")
        yield HostileLines(id="lines")


def test_texts_and_lists_draw_what_steers_a_terminal_as_replacements() -> None:
    async def drawn() -> tuple[str, str, list[object]]:
        app = Page()
        async with app.run_test(size=(60, 8)) as pilot:
            text = app.query_one(Text)
            text.update(Content.assemble(HOSTILE, ("styled", "bold")))
            await pilot.pause()
            return str(text.content), app.query_one(HostileLines).render_line(0).text, list(text.content.spans)  # type: ignore[union-attr]

    text, line, spans = asyncio.run(drawn())
    # Textual itself leaves out the bell.
    assert text == f"{SAFE}styled".replace("=\ufffd", "=")
    assert SAFE in line
    assert len(spans) == 1


def test_notices_are_cleaned(tmp_path: Path) -> None:
    async def told() -> list[str]:
        app = IntroApp(DataHome(tmp_path / "mlxintro.db", tmp_path / "cache"))
        async with app.run_test(size=(80, 24)) as pilot:
            app.notify(HOSTILE, markup=False)
            await pilot.pause()
            return [notice.message for notice in app._notifications]

    assert SAFE in asyncio.run(told())
