"""Review and blind labelling, held against the store: what is found, what is shown, what is hidden, what is stored."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.events import Key
from textual.pilot import Pilot
from textual.widgets import Static

from mlxintro.backends.errors import KnownError, UsageError
from mlxintro.store.records import GradeRecord, Trial
from mlxintro.store.store import Store
from mlxintro.tui.app import IntroApp
from mlxintro.tui.reading.map_plan import map_study
from mlxintro.tui.screens.labelling import Blind
from mlxintro.tui.screens.new_study import NewStudyPage
from mlxintro.tui.screens.review import ReviewPage
from mlxintro.tui.widgets.filter_field import FilterField
from mlxintro.tui.widgets.trial_list import TrialList
from tests.cli import mlxintro
from tests.tui_kit import NARROW_AT_ONCE, check_snapshot, settled, shown, text, until


def trials_of(home: Path) -> list[Trial]:
    with Store(home / "mlxintro.db", read_only=True) as store:
        return list(store.trials.of_run(store.runs.find("first").id))


def notices(app: IntroApp) -> str:
    return "\n".join(one.message for one in app._notifications)


async def opened(app: IntroApp, pilot: Pilot[int]) -> ReviewPage:
    await until(pilot, lambda: "first" in text(app))
    await pilot.press("enter", "4")
    await until(pilot, lambda: isinstance(app.screen, ReviewPage) and "18 of 18 trials" in text(app))
    await until(pilot, lambda: "prompt, as a dialogue" in str(app.screen.query_one("#trial-text", Static).visual))
    assert isinstance(app.screen, ReviewPage)
    return app.screen


def ordinals(page: ReviewPage) -> list[int]:
    """Places in the plan of everything the list holds."""
    assert page._search.shown is not None
    rows = list(page._search.shown.rows)
    return [seen.trial.ordinal for seen in page.home.ask(lambda store: store.browse.seen(page.home.run_id, rows))]


def over(page: ReviewPage, line: str) -> bool:
    return (
        page.field.value == line and page._search.shown is not None and page._search.shown.over and not page.field.wrong
    )


@pytest.mark.parametrize("size", NARROW_AT_ONCE, ids=str)
@pytest.mark.parametrize("keys", [(), ("v",), ("b",), ("b", "enter"), ("enter",)], ids=lambda k: "-".join(k) or "plain")
def test_a_screen_looks_as_it_did(
    home: Path, size: tuple[int, int], keys: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "ada")

    async def look() -> str:
        async with shown(home, size) as (app, pilot):
            page = await opened(app, pilot)
            for key in keys:
                await pilot.press(key)
                await pilot.pause(0.3)
            if keys == ("v",):
                await until(pilot, lambda: over(page, "grade:names"))
            if keys == ("b", "enter"):
                await until(pilot, lambda: isinstance(app.screen, Blind))
            await pilot.pause(0.3)
            return await settled(app, pilot)

    check_snapshot(f"review-{'-'.join(keys) or 'plain'}-{size[0]}x{size[1]}", asyncio.run(look()))


def test_keys_and_words_find_what_reading_every_trial_finds(home: Path) -> None:
    trials = trials_of(home)
    injected = [t.ordinal for t in trials if t.condition == "injected"]
    word = next(t.response for t in trials if t.concept == "fear").split()[2]
    said = [t.ordinal for t in trials if word.lower() in t.response.lower()]
    at_four = [t.ordinal for t in trials if t.strength == 4.0 and t.concept == "fear"]
    assert 0 < len(at_four) < len(injected) < len(trials)

    async def go() -> None:
        async with shown(home) as (app, pilot):
            page = await opened(app, pilot)
            await pilot.press("i")
            await until(pilot, lambda: over(page, "is:injected"))
            assert ordinals(page) == injected
            await pilot.press("i")
            await until(pilot, lambda: over(page, "is:control"))
            assert sorted([*ordinals(page), *injected]) == list(range(len(trials)))
            await pilot.press("escape", "down", "down", "slash", *word)
            await until(pilot, lambda: over(page, word))
            assert ordinals(page) == said
            assert f"{len(said)} of 18 trials" in text(app)
            page.field.value = "strength:4 concept:fear"
            await until(pilot, lambda: over(page, "strength:4 concept:fear") and len(ordinals(page)) == len(at_four))
            assert ordinals(page) == at_four
            await pilot.press("enter", "end")
            await pilot.pause(0.2)
            last = page.trials.current
            assert last is not None
            await pilot.press("escape")
            await until(pilot, lambda: over(page, "") and page.trials.current is not None)
            assert page.trials.current is not None
            assert page.trials.current.trial.key == last.trial.key

    asyncio.run(go())


def test_disputed_and_a_second_grader(home: Path) -> None:
    with Store(home / "mlxintro.db") as store:
        run = store.runs.find("first").id
        verdicts = store.grades.latest(run, grader="rules")
        flipped = [replace(one, grader="other", affirms=not one.affirms, created="") for one in verdicts[:3]]
        store.grades.add(run, [*flipped, *(replace(one, grader="other", created="") for one in verdicts[3:])])
        places = {t.key: t.ordinal for t in store.trials.of_run(run)}
    expected = sorted(places[one.key] for one in flipped)

    async def go() -> None:
        async with shown(home, (200, 50)) as (app, pilot):
            page = await opened(app, pilot)
            await pilot.press("d")
            await until(pilot, lambda: over(page, "is:disputed"))
            assert ordinals(page) == expected
            await until(pilot, lambda: text(app).count("≠") == 3)
            await until(pilot, lambda: "other:" in text(app) and "rules:" in text(app))

    asyncio.run(go())


def test_a_filter_that_means_nothing_says_what_would(home: Path) -> None:
    async def go() -> None:
        async with shown(home) as (app, pilot):
            page = await opened(app, pilot)
            page.field.value = "layer:deep"
            await until(pilot, lambda: "after layer: comes a number" in text(app))
            assert len(ordinals(page)) == 18

    asyncio.run(go())


# -- blind


def answer(trial: Trial) -> str:
    """What a person would press, from the reply alone; the simulated subject denies plainly."""
    said = trial.response.lower()
    if "do detect" not in said and "do sense" not in said and "yes" not in said and "something unusual" not in said:
        return "n"
    return "yd" if any(word in said for word in ("ocean", "fear")) else "yt"


async def label_all(app: IntroApp, pilot: Pilot[int], home: Path, wrong: int = 0) -> int:
    """Label what is left of a set; returns the keys it took. The first ``wrong`` answers are turned around."""
    by_reply = {trial.key: trial for trial in trials_of(home)}
    pressed = 0
    while isinstance(app.screen, Blind) and app.screen._session.item is not None:
        session = app.screen._session
        assert session.item is not None
        keys = answer(by_reply[session.item.key])
        if wrong > 0:
            keys = "n" if keys[0] == "y" else "yt"
            wrong -= 1
        left = len(session.queue)
        for key in keys:
            for hidden in ("layer", "raw", "no claim", "claims, names", "(control)", session.item.key[3:11]):
                assert hidden not in text(app)
            if session.stage == "claim":
                assert "The word is" not in text(app)
            await pilot.press(key)
            pressed += 1
        assert len(session.queue) == left - 1
        await pilot.pause()
    return pressed


async def begin(app: IntroApp, pilot: Pilot[int], labeller: str) -> None:
    await pilot.press("b")
    await pilot.pause(0.2)
    app.screen.query_one("#labeller").value = labeller  # type: ignore[attr-defined]
    await pilot.press("enter")
    await until(pilot, lambda: isinstance(app.screen, Blind))
    await pilot.pause(0.1)


def test_labels_take_few_keys_and_reach_store_and_export(home: Path) -> None:
    async def go() -> None:
        async with shown(home) as (app, pilot):
            await opened(app, pilot)
            await begin(app, pilot, "ada")
            assert await label_all(app, pilot, home) <= 3 * 18
            await until(pilot, lambda: "ada" in text(app) and "rules" in text(app) and "kappa" in text(app))
            await pilot.press("q")
            await begin(app, pilot, "lin")
            await label_all(app, pilot, home, wrong=3)
            await until(pilot, lambda: "15/18" in text(app))
            (line,) = (
                one
                for one in text(app).splitlines()
                if "15/18" in one and "affirms" in one and "lin" in one and "ada" in one
            )
            assert "83 %" in line

    asyncio.run(go())
    with Store(home / "mlxintro.db", read_only=True) as store:
        run = store.runs.find("first").id
        labels = {(one.key, one.labeller): one for one in store.labels.latest(run)}
    trials = trials_of(home)
    assert len(labels) == 2 * len(trials) == 36
    lines = mlxintro(home, "runs", "export", "first").out.splitlines()
    rows = {row["trial_key"]: row for row in map(json.loads, lines)}
    for trial in trials:
        claims = answer(trial).startswith("y")
        assert labels[trial.key, "ada"].fields["affirms"] is claims
        assert rows[trial.key]["label.ada.affirms"] is claims
        if trial.condition == "control":
            assert labels[trial.key, "ada"].fields["identifies"] is None


def test_undo_withdraws_stop_keeps_and_the_set_goes_on(home: Path) -> None:
    def labels() -> list[dict[str, Any]]:
        with Store(home / "mlxintro.db", read_only=True) as store:
            return [one.fields for one in store.labels.latest(store.runs.find("first").id)]

    async def go() -> None:
        async with shown(home) as (app, pilot):
            await opened(app, pilot)
            await begin(app, pilot, "ada")
            await pilot.press("n", "n")
            await until(pilot, lambda: "reply 3 of 18" in text(app))
            await pilot.press("u")
            await until(pilot, lambda: "reply 2 of 18" in text(app))
            await until(pilot, lambda: sorted(map(len, labels()))[0] == 0)
            await pilot.press("g", "q")
            await until(pilot, lambda: isinstance(app.screen, ReviewPage))
            await until(pilot, lambda: sorted(fields["class"] for fields in labels() if fields) == ["g", "n"])
            app.screen.query_one("#trial-filter").value = "is:labelled"  # type: ignore[attr-defined]
            await until(pilot, lambda: "2 of 18 trials" in text(app) and text(app).count("✎") >= 2)
            await begin(app, pilot, "ada")
            assert "reply 3 of 18" in text(app)

    asyncio.run(go())


def test_a_label_that_is_not_stored_is_kept_and_stored_with_the_next(home: Path) -> None:
    async def go() -> int:
        async with shown(home) as (app, pilot):
            await opened(app, pilot)
            await begin(app, pilot, "ada")

            def full(step: object) -> None:
                raise KnownError("the disk is full: free some space")

            change = app.change
            app.change = full  # type: ignore[assignment]
            await pilot.press("n")
            await until(pilot, lambda: "the disk is full" in notices(app))
            await pilot.press("q")
            await until(pilot, lambda: "1 labels wait for the store" in notices(app))
            app.change = change  # type: ignore[method-assign]
            await pilot.press("n")
            await until(pilot, lambda: labels_of(home) == 2)
            return labels_of(home)

    assert asyncio.run(go()) == 2


def labels_of(home: Path) -> int:
    with Store(home / "mlxintro.db", read_only=True) as store:
        return len(list(store.labels.latest(store.runs.find("first").id)))


def test_a_frozen_set_is_refused_with_the_way_out(home: Path) -> None:
    with Store(home / "mlxintro.db") as store:
        run = store.runs.find("first").id
        store.label_sets.draw(run, "labels", 0, [next(store.trials.of_run(run)).key])
        store.label_sets.freeze(run, "labels")

    async def go() -> None:
        async with shown(home) as (app, pilot):
            await opened(app, pilot)
            await pilot.press("b")
            await pilot.pause(0.2)
            await pilot.press("enter")
            await until(pilot, lambda: "give another name" in notices(app))

    asyncio.run(go())


def test_evidence_is_marked_by_more_than_colour(home: Path) -> None:
    from mlxintro.tui.trials.trial_text import MARKED, reply

    trial = next(one for one in trials_of(home) if one.response)
    grade = GradeRecord(key=trial.key, grader="x", version="1", evidence={"affirmation": [0, 3], "mention": [4, 9999]})
    spans = [(span.start, span.end, str(span.style)) for span in reply(trial, grade).spans]
    assert spans == [(0, 3, MARKED["affirmation"][0])]
    assert all("$" not in style and "#" not in style for style, _ in MARKED.values())


def test_m_plans_the_map_of_the_trial_under_the_cursor(home: Path) -> None:
    async def go() -> None:
        async with shown(home) as (app, pilot):
            page = await opened(app, pilot)
            await pilot.press("i")
            await until(pilot, lambda: over(page, "is:injected") and page.trials.current is not None)
            spec = page._seen().trial.spec
            await pilot.press("m")
            await until(pilot, lambda: isinstance(app.screen, NewStudyPage) and "a map by layer" in text(app))
            assert isinstance(app.screen, NewStudyPage)
            await pilot.pause(0.2)
            draft = app.screen._draft()
            assert (draft.experiment, draft.preset) == ("patching", "patching")
            assert draft.concepts[0] == spec.concept
            assert len(draft.concepts) > 1, "intervals are over concepts"
            assert draft.fields["layers"] == str(spec.injections[0].layer)
            assert float(draft.fields["strengths"]) == spec.injections[0].strength
            assert draft.fields["unit"] == spec.injections[0].unit

    asyncio.run(go())


def test_a_trial_without_an_injection_has_no_map(home: Path) -> None:
    control = next(trial.spec for trial in trials_of(home) if trial.spec.condition == "control")
    with (
        Store(home / "mlxintro.db", read_only=True) as store,
        pytest.raises(UsageError, match="choose an injected one"),
    ):
        map_study(store.runs.find("first"), control)


@pytest.mark.parametrize("visited", [False, True])
def test_keys_typed_at_one_go_end_where_they_belong(home: Path, visited: bool) -> None:
    async def go() -> str:
        async with shown(home) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))
            await pilot.press("enter")
            await until(pilot, lambda: "latest replies" in text(app))
            if visited:
                await pilot.press("4")
                await until(pilot, lambda: "18 of 18" in text(app))
                await pilot.press("3")
            for key in ("4", "/", *"sense", "enter"):
                # As a terminal sends what is pasted or comes over a slow line: nobody waits between keys.
                app.post_message(Key("slash" if key == "/" else key, key if len(key) == 1 else None))
            await until(pilot, lambda: isinstance(app.focused, TrialList) and 'has "sense"' in text(app))
            return app.screen.query_one(FilterField).value

    assert asyncio.run(go()) == "sense"


def test_a_key_whose_widget_is_gone_holds_up_the_next_ones_for_a_moment_only(home: Path) -> None:
    async def go() -> None:
        async with shown(home) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))
            gone = Static()
            await app.screen.mount(gone)
            app._passing, app._target = time.monotonic() + 60, gone
            await gone.remove()
            app.post_message(Key("2", "2"))
            await until(pilot, lambda: app.current_mode == "new", 5)

    asyncio.run(go())


def test_keys_that_wait_when_the_app_ends_are_dropped(home: Path) -> None:
    async def go() -> None:
        async with shown(home) as (app, pilot):
            await until(pilot, lambda: "first" in text(app))
        app._held.append(Key("2", "2"))
        await app._next_key()
        assert not app._held

    asyncio.run(go())
