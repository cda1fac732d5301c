"""The experiments beside injected thoughts: what is planned, what is found where it was planted, what is not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlxintro import experiments
from mlxintro.backends.base import Backend, Prompt
from mlxintro.backends.errors import UsageError
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.protocol import presets
from mlxintro.protocol.hashing import canonical_json
from mlxintro.protocol.trials import TrialSpec
from mlxintro.running import launch
from mlxintro.running.runner import run_trials
from mlxintro.running.session import Session
from mlxintro.store.store import Store
from mlxintro.vectors.extraction import extract
from tests.experiment_runs import Ran, planned, ran

TWELVE = ("dust", "trumpets", "cameras", "lightning", "trees", "mirrors", "deserts", "sugar", "poetry", "bags", "milk")
INBAND: dict[str, Any] = {"layers": (5,), "strengths": (2.0,), "unit": "resid", "concepts": TWELVE}
LATENT: dict[str, Any] = {
    **INBAND,
    "options": {"through": None, "framings": ["accurate", "vague"], "infos": ["none"], "orders": 2},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "thought-vs-text": INBAND,
    "prefill": INBAND,
    "forced-identification": INBAND,
    "localization": INBAND,
    "latent": LATENT,
    "intentional-control": {"concepts": TWELVE, "options": {"band": 4, "centre": 3}},
}
NAMES = sorted(SETTINGS)


@pytest.fixture(scope="module")
def subjects() -> Iterator[dict[str, Backend]]:
    opened: dict[str, Backend] = {name: FakeBackend(name) for name in ("detector?hit=0.7", "null", "steering-only")}
    yield opened
    for backend in opened.values():
        backend.close()


@pytest.fixture(scope="module")
def found(subjects: dict[str, Backend]) -> dict[tuple[str, str], Ran]:
    """Every experiment on every subject it is tested with."""
    most = dict.fromkeys(NAMES, ("null", "detector?hit=0.7"))
    tested = {**most, "intentional-control": ("null",), "localization": tuple(subjects)}
    return {
        (name, subject): ran(subjects[subject], name, **SETTINGS[name]) for name in NAMES for subject in tested[name]
    }


def test_experiments_are_found_by_their_module(subjects: dict[str, Backend]) -> None:
    assert set(NAMES) < set(experiments.names())


@pytest.mark.parametrize("name", NAMES)
def test_plans_count_refer_and_repeat(subjects: dict[str, Backend], name: str) -> None:
    _, plan = planned(subjects["null"], name, **SETTINGS[name])
    specs = list(plan)
    keys = [spec.key for spec in specs]
    assert len(plan) == len(keys) == len(set(keys))
    assert [spec.key for spec in plan] == keys == [s.key for s in planned(subjects["null"], name, **SETTINGS[name])[1]]
    assert {spec.prompt for spec in specs} <= set(plan.prompts)
    assert {i.vector for spec in specs for i in spec.injections} <= set(plan.recipes)
    assert all(bool(spec.injections) == (spec.condition == "injected") for spec in specs)
    for spec in specs:
        assert TrialSpec.from_dict(json.loads(spec.to_json())).key == spec.key


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"latent"}))
def test_a_larger_study_holds_the_smaller_one(subjects: dict[str, Backend], name: str) -> None:
    small = {spec.key for spec in planned(subjects["null"], name, **SETTINGS[name])[1]}
    large = {spec.key for spec in planned(subjects["null"], name, **{**SETTINGS[name], "trials": 2})[1]}
    assert small < large


@pytest.mark.parametrize("name", NAMES)
def test_a_planted_effect_is_found_and_a_null_is_not(found: dict[tuple[str, str], Ran], name: str) -> None:
    if name != "intentional-control":  # Every simulated subject thinks of what it is told to.
        detector, null = (found[name, subject].analysis.verdict for subject in ("detector?hit=0.7", "null"))
        assert detector is not None
        assert null is not None
        assert (detector.kind, null.kind) == ("effect", "no effect shown")
    else:
        thinking = found[name, "null"].analysis.verdict
        assert thinking is not None
        assert thinking.kind == "effect"


def test_a_sentence_that_any_question_picks_is_not_introspection(found: dict[tuple[str, str], Ran]) -> None:
    card = found["localization", "steering-only"].analysis.verdict
    assert card is not None
    assert card.kind == "steering only"


OPEN = {
    "forced-identification": {"steering leak"},
    "latent": {"steering leak"},
    "thought-vs-text": {"steering leak"},
}
"""Rivals that an experiment cannot test itself."""


@pytest.mark.parametrize("name", NAMES)
def test_a_verdict_names_its_rivals_and_the_command_that_tests_what_is_open(
    found: dict[tuple[str, str], Ran], name: str
) -> None:
    effect = found[name, "null" if name == "intentional-control" else "detector?hit=0.7"].analysis
    assert effect.ladder is not None
    assert effect.verdict is not None
    states = {rung.name: rung.state for rung in effect.ladder}
    assert "not excluded" not in states.values(), effect.verdict.evidence
    untested = {rung.name for rung in effect.ladder.untested}
    assert untested >= OPEN.get(name, set())
    assert all(rung in effect.verdict.headline for rung in untested)
    for rung in effect.ladder:
        assert bool(rung.remedy) == (rung.state == "not tested")
        assert rung.as_line() in effect.verdict.evidence
    for rung_name in OPEN.get(name, ()):
        assert effect.ladder[rung_name].remedy == "mlxintro certify -m 'detector?hit=0.7' --backend fake"
    if name != "intentional-control":
        nothing = found[name, "null"].analysis.ladder
        assert nothing is not None
        assert "not excluded" in {rung.state for rung in nothing}


def test_the_rung_of_a_liar_is_the_one_that_is_left(found: dict[tuple[str, str], Ran]) -> None:
    picks = found["localization", "steering-only"].analysis.ladder
    assert picks is not None
    assert picks["chance"].state == "excluded"
    assert "not excluded" in [rung.state for rung in picks if rung.name.startswith("stands out")]


@pytest.mark.parametrize("name", NAMES)
def test_an_arm_that_was_not_run_leaves_its_rival_untested(subjects: dict[str, Backend], name: str) -> None:
    bare = ran(subjects["detector?hit=0.7"], name, **{**SETTINGS[name], "controls": "none"}).analysis.ladder
    assert bare is not None
    untested = {rung.name: rung.remedy for rung in bare.untested}
    assert untested.keys() > OPEN.get(name, set())
    assert any("--controls" in remedy for remedy in untested.values())


@pytest.mark.parametrize("name", NAMES)
def test_two_concepts_are_too_few_for_a_conclusion(subjects: dict[str, Backend], name: str) -> None:
    few = ran(subjects["null"], name, **{**SETTINGS[name], "concepts": ("ocean", "music")})
    assert few.analysis.verdict is not None
    assert few.analysis.verdict.kind == "too little data"


@pytest.mark.parametrize("name", NAMES)
def test_no_two_figures_go_by_one_name(subjects: dict[str, Backend], name: str) -> None:
    cells = {} if name == "intentional-control" else {"strengths": (1.0, 2.0), "unit": "raw"}
    few = ran(subjects["null"], name, **{**SETTINGS[name], **cells, "concepts": ("ocean", "music")})
    figures, tables = few.analysis.figures, few.analysis.tables
    for names in ([one.name for one in figures], [one.label for one in figures], [one.name for one in tables]):
        assert len(names) == len(set(names))
    assert {map_.unit for map_ in few.analysis.heat_maps} <= {few.checked.study.unit}


@pytest.mark.parametrize("name", NAMES)
def test_nothing_measured_is_no_conclusion(subjects: dict[str, Backend], name: str) -> None:
    checked, _ = planned(subjects["null"], name, **SETTINGS[name])
    analysis = checked.experiment.analyse([], checked.study, checked.preset)
    assert analysis.verdict is not None
    assert analysis.verdict.kind == "too little data"


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"forced-identification"}))
def test_a_window_of_ones_own_is_refused(subjects: dict[str, Backend], name: str) -> None:
    with pytest.raises(UsageError, match="leave --window out"):
        planned(subjects["null"], name, **{**SETTINGS[name], "window": "all"})


@pytest.mark.parametrize("name", NAMES)
def test_without_controls_only_the_trials_themselves_are_left(subjects: dict[str, Backend], name: str) -> None:
    specs = list(planned(subjects["null"], name, **{**SETTINGS[name], "controls": "none"})[1])
    arms = Counter(spec.arm for spec in specs)
    assert not set(arms) & {"random", "other", "after", "abstract", "exists"}
    if name != "intentional-control":
        assert all(spec.condition == "injected" for spec in specs)


def text_in(ran: Ran, spec: TrialSpec) -> str:
    record = ran.session.prompts[spec.prompt]
    (one,) = spec.injections[:1]
    return "".join(record.pieces[one.start : one.stop])


def test_the_window_is_the_sentence_and_nothing_else(found: dict[tuple[str, str], Ran]) -> None:
    for name in ("thought-vs-text", "prefill"):
        run = found[name, "null"]
        for spec in run.specs:
            if spec.injections and spec.arm != "after":
                assert text_in(run, spec) == spec.detail["sentence"]


def test_after_the_prefill_the_window_is_the_question(found: dict[tuple[str, str], Ran]) -> None:
    run = found["prefill", "null"]
    after = [text_in(run, spec) for spec in run.specs if spec.arm == "after"]
    assert set(after) == {"Did you mean to say that, or was it an accident?"}


def test_a_latent_window_ends_before_the_second_turn(found: dict[tuple[str, str], Ran]) -> None:
    run = found["latent", "null"]
    for spec in run.specs:
        for injection in spec.injections:
            record = run.session.prompts[spec.prompt]
            assert injection.stop is not None
            before, after = "".join(record.pieces[: injection.stop]), "".join(record.pieces[injection.stop :])
            assert before.endswith(record.messages[1]["content"])
            assert record.messages[2]["content"] in after


def test_the_place_of_the_injected_sentence_is_shuffled(found: dict[tuple[str, str], Ran]) -> None:
    run = found["localization", "null"]
    for spec in run.specs:
        if spec.arm == "" and spec.injections:
            line = next(x for x in run.session.prompts[spec.prompt].text.splitlines() if text_in(run, spec) in x)
            assert line.startswith(f"{spec.detail['place']}. ")
    places = Counter(s.detail["place"] for s in run.specs if s.arm == "" and s.injections)
    assert max(places.values()) - min(places.values()) <= 1


def test_of_two_injections_the_stronger_is_twice_the_other(found: dict[tuple[str, str], Ran]) -> None:
    run = found["localization", "null"]
    for spec in run.specs:
        if spec.arm == "stronger" and spec.injections:
            weak, strong = spec.injections
            assert strong.strength == 2 * weak.strength == 4.0
            assert (strong.start > weak.start) == (spec.detail["place"] == 2)


def test_a_range_of_layers_is_injected_at_once(subjects: dict[str, Backend]) -> None:
    settings = {**LATENT, "options": {**LATENT["options"], "through": 0.9}}
    specs = [s for s in planned(subjects["null"], "latent", **settings)[1] if s.injections]
    assert {tuple(i.layer for i in spec.injections) for spec in specs} == {(5, 6, 7)}


@pytest.mark.parametrize(
    "name",
    # One that scores, one that generates; what the runner does is the same for all.
    [
        pytest.param(n, marks=() if n in ("forced-identification", "thought-vs-text") else pytest.mark.slow)
        for n in NAMES
    ],
)
def test_an_interrupted_run_goes_on_to_the_same_end(
    subjects: dict[str, Backend], found: dict[tuple[str, str], Ran], name: str, tmp_path: Path
) -> None:
    backend, whole = subjects["null"], found[name, "null"]
    with Store(tmp_path / "store.db") as store:
        run = launch.begin(store, whole.checked, backend, whole.plan)
        session = Session(backend, whole.plan.prompts, extract(backend, whole.plan.recipes.values()))

        def events() -> Iterator[Any]:
            def measure(specs: Any, on_token: Any) -> Any:
                return whole.checked.experiment.measure(session, specs, on_token)

            return run_trials(store, run.id, whole.plan, measure, batch_size=16)

        first = events()
        for _ in range(30):
            next(first)
        first.close()  # type: ignore[attr-defined]
        assert 0 < store.runs.get(run.id).done < len(whole.plan)
        for _ in events():
            pass
        for key, outcome in whole.outcomes.items():
            stored = store.trials.find(run.id, key)
            assert stored.response == outcome.response
            assert canonical_json(stored.measurements) == canonical_json(outcome.measurements)


def test_prompts_are_read_as_they_are_without_an_injection(found: dict[tuple[str, str], Ran]) -> None:
    run = found["localization", "null"]
    spec = next(spec for spec in run.specs if spec.condition == "control")
    tokenizer = run.session.backend.tokenizer
    options = [tokenizer.encode(option).tokens for option in spec.options]
    (scored,) = run.session.backend.score([Prompt(run.session.prompts[spec.prompt].tokens)], [options])
    wanted = {option: pytest.approx(float(one.sum())) for option, one in zip(spec.options, scored, strict=True)}
    assert run.outcomes[spec.key].measurements["logprobs"] == wanted


def test_a_latent_preset_of_before_its_template_plans_the_same_trials(subjects: dict[str, Backend]) -> None:
    """Runs stored with their own wording keep their trials' keys: the template is what used to be cut out of prose."""
    preset = presets.load("latent").model_dump(mode="json", exclude_none=True)
    for name in ("unrelated", "identify_info"):
        assert preset["wording"].pop(name)
    settings = {**LATENT, "options": {**LATENT["options"], "infos": ["none", "explained"]}, "controls": "full"}
    _, now = planned(subjects["null"], "latent", **settings)
    _, before = planned(subjects["null"], "latent", **settings, preset="latent", preset_data=preset)
    assert [spec.key for spec in before] == [spec.key for spec in now]
    assert any(spec.arm.startswith("question:") for spec in now)
    assert any(spec.arm == "identify" for spec in now)
