"""Keys: every one that a text names comes from a binding, and people may choose their own."""

from __future__ import annotations

import ast
import asyncio
import re
from pathlib import Path

import pytest
from textual.binding import Binding

from mlxintro.tui.app import IntroApp
from mlxintro.tui.keys import keymap
from mlxintro.tui.shell.places import PLACES
from tests.tui_kit import shown, text, until


def known_ids() -> set[str]:
    app = IntroApp.__new__(IntroApp)
    return {name for group in IntroApp._key_groups.func(app) for name in group}  # type: ignore[attr-defined]


TUI = Path(__file__).parent.parent / "tui"


def test_every_key_in_a_text_comes_from_a_binding() -> None:
    texts = [
        node.value
        for path in TUI.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    named = {match for text in texts for match in re.findall(r"\{([a-z]+\.[a-z_]+)\}", text)}
    ids = known_ids()
    assert named - ids == {"runs.resume"} - ids
    assert {"runs.demo", "live.resume"} <= ids
    capitals = re.compile(r"[\".] ?[A-Z] (resumes|sets up|marks|compares|labels|stops|lets|takes|pauses|computes)\b")
    assert not [hit[0] for text in texts for hit in capitals.finditer(text)]


def test_an_empty_store_names_the_keys_as_they_are_after_they_were_changed(tmp_path: Path) -> None:
    (tmp_path / "keys.toml").write_text('"runs.demo" = "ctrl+y"\n', "utf-8")

    async def go() -> str:
        async with shown(tmp_path) as (app, pilot):
            await until(pilot, lambda: "No runs yet" in text(app))
            return text(app)

    picture = asyncio.run(go())
    assert "^y  the demo study" in picture
    assert "n  a study of your own" in picture


GROUPS = [
    {"runs.cancel": Binding("x", "cancel"), "runs.pause": Binding("p", "pause"), "app.quit": Binding("q", "quit")},
    {"live.pause": Binding("p", "pause"), "app.quit": Binding("q", "quit")},
]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('"runs.nonsense" = "x"', "the name of no key binding"),
        ('"runs.pause" = "blubb"', "there is no key 'blubb'"),
        ('"runs.pause" = "x"', "runs.cancel has this key already"),
        ('"live.pause" = "q"', "app.quit has this key already"),
        ('"runs.pause" = 3', "write it as"),
        ('"runs.pause" = "ctrl+"', "there is no key"),
    ],
)
def test_a_line_of_keys_that_cannot_be_kept_is_left_out_and_named(tmp_path: Path, line: str, problem: str) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(f'{line}\n"runs.cancel" = "ctrl+k"\n' if "runs.cancel has" not in problem else line, "utf-8")
    chosen = keymap.load_keys(file, GROUPS)
    (told,) = chosen.problems
    assert problem in told
    assert set(chosen.keys) <= {"runs.cancel"}


def test_keys_can_be_exchanged(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_text('"runs.pause" = "x"\n"runs.cancel" = "p"\n', "utf-8")
    assert keymap.load_keys(file, GROUPS) == keymap.ChosenKeys({"runs.pause": "x", "runs.cancel": "p"})


def test_no_two_usual_keys_of_a_screen_are_the_same() -> None:
    for place in PLACES:
        page = type(place.make())
        keys = [key for one in page.BINDINGS if isinstance(one, Binding) for key in one.key.split(",")]
        own = keymap.bindings_of(IntroApp)
        mine = {key for one in own.values() for key in one.key.split(",")} - {str(n) for n in range(1, 7)}
        assert len(keys) == len(set(keys)), place.name
        assert not mine & set(keys), place.name
