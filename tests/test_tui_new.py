"""Setting up a study: errors stay at their field, studies and files open in the form, downloads are asked for."""

from __future__ import annotations

import asyncio
import dataclasses
import tomllib
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from mlxintro.protocol import study_file
from mlxintro.protocol.study import make_study
from mlxintro.protocol.words.own_concepts import OwnConcepts
from mlxintro.store.store import Store
from mlxintro.tools.model_list import ModelRow
from mlxintro.tui.app import IntroApp
from mlxintro.tui.running.dry_run import DryRun
from mlxintro.tui.running.study_form import READERS, TITLES, Draft, WrongFields, filled
from mlxintro.tui.screens import new_study
from mlxintro.tui.screens.new_study import NewStudyPage
from mlxintro.tui.shell.dialogues import Confirm, OpenPath
from mlxintro.tui.widgets.concept_list import Concepts
from tests.tui_kit import shown, text, until

MODELS = [
    ModelRow("smollm2", "here", 540_000_000, "complete", True, 540_000_000),
    ModelRow("qwen2.5-3b", "Qwen/Qwen2.5-3B-Instruct", 6_200_000_000, "absent", True, 7_000_000_000),
]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_study, "rows", lambda backend: MODELS)
    monkeypatch.setattr(DryRun, "ask", lambda self, arguments: "56 trials")


async def form(pilot: Pilot[int], app: IntroApp) -> NewStudyPage:
    await pilot.press("2")
    await until(pilot, lambda: "simulated" in text(app))
    assert isinstance(app.screen, NewStudyPage)
    return app.screen


WRONG = (
    ("seed", "quokka", "Seed: 'quokka' is no whole number"),
    ("temperature", "11", "Temperature: 11 is not between 0 and 10"),
    ("layers", "deep", "Layers: 'deep' is not a layer"),
    ("strengths", "2, x", "Strengths: 'x' is no number"),
    ("trials", "0", "Trials: 0 is too small"),
    ("unit", "cm", "Unit: 'cm' is none of raw, norm, resid"),
    ("strengths", "inf", "inf is not a finite number"),
    ("adapter", "nowhere", "Adapter: 'nowhere' is no folder, no hub id"),
)


def test_a_wrong_field_is_marked_and_starting_stays_there(home: Path) -> None:
    async def go() -> None:
        async with shown(home) as (app, pilot):
            page = await form(pilot, app)
            for name, typed, said in WRONG:
                field = page.query_one(f"#{name}", Input)
                right = field.value
                field.value = typed
                await pilot.press("ctrl+r")
                await until(pilot, lambda said=said: said in text(app))  # type: ignore[misc]
                assert app.screen is page
                assert page.focused is field
                assert field.has_class("-wrong")
                field.value = right
                await until(pilot, lambda said=said: said not in text(app))  # type: ignore[misc]
                assert not app.processes.running

    asyncio.run(go())


def test_the_form_is_found_again_after_a_restart(home: Path) -> None:
    async def first() -> None:
        async with shown(home) as (app, pilot):
            page = await form(pilot, app)
            await pilot.press("down")
            page.query_one("#layers", Input).value = "3, 5"
            page.query_one("#run-name", Input).value = "tide"
            page.query_one(Concepts).choose(["fear", "ocean"])
            await pilot.press("escape", "q")

    async def second() -> None:
        async with shown(home) as (app, pilot):
            page = await form(pilot, app)
            assert page.query_one("#layers", Input).value == "3, 5"
            assert page.query_one("#run-name", Input).value == "tide"
            assert page.query_one(Concepts).chosen == ["fear", "ocean"]
            assert page._draft().model == "qwen2.5-3b"

    asyncio.run(first())
    asyncio.run(second())


def test_the_study_of_a_run_opens_in_the_form(home: Path) -> None:
    with Store(home / "mlxintro.db", read_only=True) as store:
        stored = store.runs.all()[0].study

    async def go() -> Draft:
        async with shown(home) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))
            await pilot.press("s")
            await until(pilot, lambda: "the study of first" in text(app))
            assert isinstance(app.screen, NewStudyPage)
            return app.screen._draft()

    study = asyncio.run(go()).study()
    again = study.model_dump(mode="json")
    assert {name: again[name] for name in stored if name != "model"} == {
        n: v for n, v in stored.items() if n != "model"
    }


def test_a_saved_file_opens_in_the_form_with_what_it_has_no_field_for(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'concepts = ["fear"]\nlayers = [2]\nwindow = "prompt"\nmodel = "qwen2.5-3b"\ntop_p = 0.9\n', "utf-8"
    )

    async def go() -> Draft:
        async with shown(home, (200, 50)) as (app, pilot):
            page = await form(pilot, app)
            await pilot.press("ctrl+f")
            await until(pilot, lambda: isinstance(app.screen, OpenPath))
            field = app.screen.query_one(Input)
            field.value = str(tmp_path / "none.toml")
            await pilot.press("enter")
            await until(pilot, lambda: "there is no file" in text(app))
            field.value = str(file)
            await pilot.press("enter")
            await until(pilot, lambda: "from mine.toml; also" in text(app))
            return page._draft()

    study = asyncio.run(go()).study()
    assert (study.concepts, study.layers, study.window, study.top_p) == (("fear",), (2,), "prompt", 0.9)
    assert study.model == "qwen2.5-3b"


def test_a_model_that_is_not_on_disk_is_asked_for_with_its_size(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(IntroApp, "start_run", lambda self, name, arguments: started.extend([name, *arguments]))

    async def go() -> None:
        async with shown(home) as (app, pilot):
            page = await form(pilot, app)
            await pilot.press("down", "ctrl+r")
            await until(pilot, lambda: isinstance(app.screen, Confirm))
            assert "Fetch 6.2 GB" in text(app)
            await pilot.press("n")
            await until(pilot, lambda: app.screen is page)
            assert started == []
            await pilot.press("ctrl+r")
            await until(pilot, lambda: isinstance(app.screen, Confirm))
            await pilot.press("y")
            await until(pilot, lambda: started)

    asyncio.run(go())
    name, file = started
    assert name == "injected-thoughts-1"
    assert tomllib.loads(Path(file).read_text("utf-8"))["model"] == "qwen2.5-3b"


def test_a_run_gets_the_name_that_was_typed_and_a_taken_one_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr(IntroApp, "start_run", lambda self, name, arguments: started.append(name))

    async def go() -> None:
        async with shown(home) as (app, pilot):
            page = await form(pilot, app)
            await pilot.press("end")
            page.query_one("#run-name", Input).value = "first"
            await pilot.press("ctrl+r")
            await until(pilot, lambda: "there is a run called 'first'" in text(app))
            page.query_one("#run-name", Input).value = "second try"
            await pilot.press("ctrl+r")
            await until(pilot, lambda: started == ["second try"])

    asyncio.run(go())


def test_the_protocol_stands_beside_the_form(home: Path) -> None:
    async def go() -> None:
        async with shown(home) as (app, pilot):
            await form(pilot, app)
            await pilot.press("f3")
            await until(pilot, lambda: "Injected thoughts after" in text(app))

    asyncio.run(go())


def test_every_setting_of_a_study_survives_the_form() -> None:
    study = make_study(
        model="m",
        layers=(0.5, 3),
        strengths=(1.5, 2.0),
        trials=2,
        controls=("tampered",),
        temperature=0.7,
        max_tokens=9,
        unit="norm",
        seed=4,
        adapter="smollm2-control",
        top_p=0.8,
        window="prompt",
        transform="negate",
        options={"trial_numbers": 3},
    )
    texts, rest = filled(study.model_dump(mode="json"))
    draft = Draft("m", "auto", study.experiment, "", study.concepts, False, texts, rest=rest)
    again = dataclasses.replace(draft, preset="lindsey").study()
    assert again.model_copy(update={"preset": None}) == study
    assert study_file.parse(draft.toml().replace('preset = ""\n', ""), "x.toml", Path()).settings["top_p"] == 0.8


def test_every_field_has_a_reader_that_says_what_is_wrong_in_words() -> None:
    assert set(READERS) == set(TITLES)
    for name in TITLES:
        draft = Draft("m", "auto", "injected-thoughts", "lindsey", ("fear",), False, {name: "§"})
        with pytest.raises(WrongFields) as error:
            draft.study()
        assert set(error.value.problems) == {name}
        assert error.value.problems[name].startswith(TITLES[name])


def test_thinking_and_its_budget_are_fields_of_the_form(home: Path) -> None:
    async def go() -> None:
        async with shown(home) as (app, pilot):
            page = await form(pilot, app)
            page._highlight("fake")
            page.query_one("#thinking", Input).value = "on"
            page.query_one("#thinking_tokens", Input).value = "64"
            await pilot.pause(0.1)
            study = page._draft().study()
            assert (study.thinking, study.thinking_tokens) == ("on", 64)
            page.query_one("#thinking", Input).value = "loudly"
            await pilot.press("ctrl+r")
            await until(pilot, lambda: "Thinking: 'loudly' is none" in text(app))
            assert page.query_one("#thinking", Input).has_class("-wrong")
            assert page.focused is page.query_one("#thinking")

    asyncio.run(go())


def test_an_adapter_is_a_field_of_the_form_and_the_simulated_subject_refuses_it(home: Path) -> None:
    async def go() -> None:
        async with shown(home) as (app, pilot):
            page = await form(pilot, app)
            page.query_one("#adapter", Input).value = "smollm2-control"
            page._highlight("smollm2")
            await pilot.pause(0.1)
            assert page._draft().study().adapter == "smollm2-control"
            assert 'adapter = "smollm2-control"' in page._draft().toml()
            page._highlight("fake")
            await pilot.press("ctrl+r")
            await until(pilot, lambda: "Adapter: the simulated subject takes none" in text(app))
            assert page.focused is page.query_one("#adapter")
            assert not app.processes.running

    asyncio.run(go())


def test_own_concepts_are_offered_and_go_into_the_study(home: Path) -> None:
    own = OwnConcepts.model_validate({"concepts": {"weather": {"drizzle": ["light rain"]}}})

    async def go() -> None:
        async with shown(home, (140, 40), own) as (app, pilot):
            page = await form(pilot, app)
            page.query_one("#find").focus()
            await pilot.press(*"drizz", "enter")
            assert "drizzle" in page.query_one(Concepts).chosen
            study = page._draft().study()
            assert not study.any_word
            assert study.library.related("drizzle")[0] == "light rain"
            again = study_file.parse(page._draft().toml(), "new.toml", Path())
            assert make_study(**{"model": "any", **again.settings}).own_concepts == own
            # The study of a run knows what that run knew, not what was given to the app.
            page.take({"experiment": "injected-thoughts", "own_concepts": {"concepts": {"tools": {"adze": []}}}}, "")
            assert page._draft().study().library.category("adze") == "tools"
            assert page.query_one(Concepts)._library.find("drizzle") is None

    asyncio.run(go())
