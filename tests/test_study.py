from __future__ import annotations

import json
import math
from typing import Any

import pytest

from mlxintro.backends.errors import UsageError
from mlxintro.protocol import presets
from mlxintro.protocol.study import Study, make_study
from mlxintro.running import launch


def resolved(**settings: Any) -> Study:
    return make_study(model="m", **settings).resolve(presets.load("lindsey"))


def refusal(**settings: Any) -> str:
    with pytest.raises(UsageError) as error:
        resolved(**settings)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_strength_that_is_no_number_is_refused(bad: float) -> None:
    assert refusal(strengths=(2.0, bad)).startswith("strengths: ")


@pytest.mark.parametrize("name", ["concepts", "layers", "strengths"])
def test_an_empty_list_is_refused_by_name(name: str) -> None:
    assert refusal(**{name: ()}).startswith(f"{name}: the list is empty")


def test_a_setting_that_does_not_exist_is_refused_by_name() -> None:
    assert refusal(strenghts=(2.0,)).startswith("strenghts: ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trials", 0),
        ("controls", -1),
        ("max_tokens", 0),
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("top_p", math.nan),
        ("seed", -1),
        ("unit", "furlong"),
        ("transform", "invert"),
        ("window", "middle"),
        ("layers", ("late",)),
        ("strengths", ("strong",)),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name: str, value: object) -> None:
    assert refusal(**{name: value}).startswith(f"{name}: ")


@pytest.mark.parametrize("name", ["trials", "controls"])
def test_greedy_copies_are_refused(name: str) -> None:
    assert f"--{name} 1" in refusal(temperature=0.0, **{name: 2})
    assert getattr(resolved(temperature=0.0, **{name: 1}), name) == 1
    assert getattr(resolved(temperature=0.1, **{name: 2}), name) == 2


def test_greedy_copies_are_refused_when_only_the_preset_asks_for_them() -> None:
    preset = presets.load("lindsey")
    more = preset.model_copy(update={"defaults": preset.defaults.model_copy(update={"trials": 3})})
    with pytest.raises(UsageError, match="--trials 1"):
        make_study(model="m", temperature=0.0).resolve(more)


@pytest.mark.parametrize("preset", presets.names())
def test_what_is_left_open_comes_from_the_preset_and_what_is_said_stays(preset: str) -> None:
    defaults = presets.load(preset).defaults
    open_ = make_study(model="m", preset=preset).resolve(presets.load(preset))
    assert {name: getattr(open_, name) for name in type(defaults).model_fields} == defaults.model_dump()
    said = {"layers": (3,), "strengths": (0.25,), "unit": "resid", "temperature": 0.5, "trials": 7, "window": "prompt"}
    kept = make_study(model="m", preset=preset, **said).resolve(presets.load(preset))
    assert {name: getattr(kept, name) for name in said} == said


def test_zero_is_a_setting_and_not_an_open_one() -> None:
    study = resolved(temperature=0.0, controls=0)
    assert (study.temperature, study.controls) == (0.0, 0)


def test_a_stored_study_comes_back_as_it_was() -> None:
    study = resolved(layers=(3, 0.66, 5.0), strengths=(-1.0, 0.1), concepts=("ocean", "set:blueprint"), seed=2**60)
    again = make_study(**json.loads(json.dumps(study.model_dump(mode="json"))))
    assert again == study
    assert [type(layer) for layer in again.layers or ()] == [int, float, float]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"experiment": "telepathy"}, "no experiment called 'telepathy': choose one of"),
        ({"preset": "nobody"}, "no preset called 'nobody': choose one of .*blueprint, "),
        ({"preset": "../lindsey"}, "no preset called"),
        ({"concepts": ("oceen",)}, "did you mean 'ocean'.*--any-word"),
        ({"concepts": ("set:nobody",)}, "no set of concepts called 'nobody': choose one of"),
        ({"concepts": ("category:nobody",)}, "no category called 'nobody': choose one of"),
    ],
)
def test_unknown_names_are_found_before_any_model_is_loaded(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        launch.check(make_study(model="m", **settings))
