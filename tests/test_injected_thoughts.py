from __future__ import annotations

import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from mlxintro.backends.errors import UsageError
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.experiments.base import Plan
from mlxintro.protocol.study import make_study
from mlxintro.protocol.trials import TrialSpec
from mlxintro.running import launch

CONCEPTS = ("ocean", "bread", "fear")
GRID = {"concepts": CONCEPTS, "layers": (4, 5), "strengths": (2.0, 4.0), "trials": 3}


@pytest.fixture(scope="module")
def backend() -> Iterator[FakeBackend]:
    with FakeBackend("detector") as opened:
        yield opened


def planned(backend: FakeBackend, **settings: Any) -> Plan:
    return launch.plan(launch.check(make_study(model="detector", backend="fake", **{**GRID, **settings})), backend)


def injected(plan: Plan) -> list[TrialSpec]:
    return [spec for spec in plan if spec.condition == "injected" and not spec.arm]


def controls(plan: Plan) -> list[TrialSpec]:
    return [spec for spec in plan if spec.condition == "control" and not spec.arm]


def keys(specs: Plan | list[TrialSpec]) -> list[str]:
    return [spec.key for spec in specs]


@pytest.mark.parametrize("count", [0, 1, 5, 40])
def test_the_count_is_what_the_plan_expands_to_and_no_trial_stands_twice(backend: FakeBackend, count: int) -> None:
    plan = planned(backend, controls=count)
    assert len(plan) == len(list(plan)) == len(set(keys(plan)))
    assert len(injected(plan)) == 3 * 2 * 2 * 3
    assert len(controls(plan)) == count


def test_every_cell_of_the_grid_holds_as_many_trials_of_every_concept(backend: FakeBackend) -> None:
    cells = Counter((s.concept, s.injections[0].layer, s.injections[0].strength) for s in injected(planned(backend)))
    wanted = {(concept, layer, dose) for concept in CONCEPTS for layer in (4, 5) for dose in (2.0, 4.0)}
    assert cells == dict.fromkeys(wanted, 3)


def test_controls_do_not_depend_on_layers_strengths_or_the_order_of_concepts(backend: FakeBackend) -> None:
    first = keys(controls(planned(backend)))
    for change in (
        {"layers": (0, 1, 7)},
        {"strengths": (0.5,)},
        {"concepts": ("fear", "ocean", "bread")},
        {"concepts": ("silence", "music", "mountain")},
        {"unit": "resid"},
        {"transform": "random"},
        {"window": "all"},
    ):
        assert keys(controls(planned(backend, **change))) == first, change


def test_controls_carry_no_injection_and_no_concept(backend: FakeBackend) -> None:
    for spec in controls(planned(backend)):
        assert (spec.injections, spec.concept) == ((), None)


def test_a_trial_its_control_and_its_neighbours_share_a_seed_and_no_others_do(backend: FakeBackend) -> None:
    plan = planned(backend)
    seeds = {spec.trial: spec.seed for spec in controls(plan)}
    assert len(set(seeds.values())) == len(seeds) == 9
    assert all(spec.seed == seeds[spec.trial] for spec in injected(plan))
    per_pair = Counter(spec.trial for spec in injected(plan))
    assert set(per_pair.values()) == {2 * 2}, "one trial per layer and strength"
    assert all(len({s.concept for s in injected(plan) if s.trial == number}) == 1 for number in seeds)


def test_rates_on_both_sides_grow_together(backend: FakeBackend) -> None:
    seen: Counter[str] = Counter()
    for spec in planned(backend):
        seen[spec.arm or spec.condition] += 1
        assert 0 <= 4 * seen["control"] - seen["injected"] <= 4


def test_the_same_study_gives_the_same_trials(backend: FakeBackend) -> None:
    first = planned(backend)
    assert keys(first) == keys(first) == keys(planned(backend))
    with FakeBackend("detector") as other:
        assert keys(planned(other)) == keys(first)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"temperature": 0.9},
        {"top_p": 0.9},
        {"max_tokens": 99},
        {"preset": "blueprint", "temperature": 1.0, "max_tokens": 100},
    ],
)
def test_a_changed_setting_is_another_trial_everywhere(backend: FakeBackend, change: dict[str, Any]) -> None:
    assert not set(keys(planned(backend))) & set(keys(planned(backend, **change)))


@pytest.mark.parametrize("change", [{"unit": "resid"}, {"transform": "negate"}, {"window": "all"}, {"layers": (1, 2)}])
def test_a_changed_injection_is_another_injected_trial(backend: FakeBackend, change: dict[str, Any]) -> None:
    assert not set(keys(injected(planned(backend)))) & set(keys(injected(planned(backend, **change))))


def test_another_model_or_precision_is_another_trial(backend: FakeBackend) -> None:
    first = set(keys(planned(backend)))
    with FakeBackend("detector") as other:
        for change in ({"revision": "x"}, {"dtype": "bfloat16"}, {"quantization": "4-bit"}, {"template_hash": "x"}):
            other.info = replace(backend.info, **change)  # type: ignore[arg-type]
            assert not first & set(keys(planned(other))), change


def test_a_larger_study_contains_the_smaller_one(backend: FakeBackend) -> None:
    """Save for the control arms, whose trials take turns over the cells there are."""
    small, large = planned(backend), planned(backend, trials=5, layers=(4, 5, 6), strengths=(1.0, 2.0, 4.0))
    assert set(keys(injected(small) + controls(small))) < set(keys(injected(large) + controls(large)))


@pytest.mark.parametrize(
    "repeated",
    [
        {"layers": (4, 5, 4)},
        {"layers": (4, 5, 5.0)},
        {"layers": (0.5, 4, 0.66, 5)},
        {"strengths": (2.0, 4.0, 2)},
        {"concepts": ("ocean", "Ocean", "bread", "fear", "fear")},
    ],
)
def test_what_is_named_twice_runs_once(backend: FakeBackend, repeated: dict[str, Any]) -> None:
    plan = planned(backend, **repeated)
    assert keys(plan) == keys(planned(backend))
    assert len(plan) == len(list(plan))


def test_by_default_a_greedy_study_has_one_control(backend: FakeBackend) -> None:
    plan = planned(backend, temperature=0.0, trials=1)
    assert (len(controls(plan)), len(injected(plan))) == (1, 3 * 2 * 2)


def test_every_injection_refers_to_a_recipe_and_every_trial_to_the_prompt(backend: FakeBackend) -> None:
    plan = planned(backend)
    assert {i.vector for spec in plan for i in spec.injections} == set(plan.recipes)
    assert {spec.prompt for spec in plan} == set(plan.prompts)
    assert {plan.recipes[i.vector].word for spec in plan for i in spec.injections} == set(CONCEPTS)
    assert all(plan.recipes[s.injections[0].vector].word == s.concept for s in injected(plan))


def test_what_the_subject_is_asked_does_not_name_the_concept(backend: FakeBackend) -> None:
    for prompt in planned(backend).prompts.values():
        assert not any(concept in prompt.text.lower() for concept in CONCEPTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": (8,)}, "layer 8 is out of range: detector has layers 0 to 7"),
        ({"layers": (-1,)}, "-1 is no layer"),
        ({"layers": (1.5,)}, "a depth fraction lies between 0 and 1"),
        (
            {"max_tokens": 8192},
            r"the prompt of \d+ tokens and a reply of up to 8192 exceed .* --max-tokens \d+ at most",
        ),
    ],
)
def test_settings_that_do_not_fit_the_model_are_refused(
    backend: FakeBackend, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        planned(backend, **change)


def test_the_longest_reply_that_is_offered_fits_exactly(backend: FakeBackend) -> None:
    with pytest.raises(UsageError, match="--max-tokens") as error:
        planned(backend, max_tokens=8192)
    most = int(str(error.value).split("--max-tokens ")[1].split()[0])
    prompt = max(planned(backend, max_tokens=most).prompts.values(), key=lambda one: len(one.tokens))
    assert len(prompt.tokens) + most == backend.info.context
    with pytest.raises(UsageError, match="--max-tokens"):
        planned(backend, max_tokens=most + 1)


def test_a_prompt_that_does_not_fit_at_all_asks_for_another_model() -> None:
    with FakeBackend("detector") as small:
        small.info = replace(small.info, context=50)
        with pytest.raises(UsageError, match="use a model with a longer one"):
            planned(small, max_tokens=1)


@pytest.mark.slow
def test_a_hundred_thousand_trials_are_planned_in_seconds_and_in_no_memory(backend: FakeBackend) -> None:
    grid = {"layers": (1, 2, 3, 4, 5), "strengths": (1.0, 2.0, 4.0, 8.0), "trials": 96}
    plan = planned(backend, concepts=("set:lindsey-50",), controls=50 * 96, **grid)
    assert len(plan) == 50 * 96 * (5 * 4 + 1) == 100_800
    started = time.process_time()
    assert sum(1 for _ in plan) == len(plan)
    assert time.process_time() - started < 5
    tracemalloc.start()
    try:
        specs = iter(plan)
        for _ in range(2000):
            next(specs)
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(8000):
            next(specs)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 100_000, "bytes"
