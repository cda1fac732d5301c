"""Scoring rules on replies written by hand, and numbers against direct computations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlxintro.analysis.contrasts import contrast, judge
from mlxintro.analysis.results import Row
from mlxintro.backends.base import Backend, Injection, Prompt
from mlxintro.backends.registry import open_backend
from mlxintro.experiments import forced_identification, localization, prefill, thought_vs_text
from mlxintro.experiments.latent_analysis import Identification, mutual_information
from mlxintro.protocol import concepts, controls
from mlxintro.replies.log_odds import log_odds, log_total
from mlxintro.replies.short_replies import apologises, most_likely, named, repeats
from mlxintro.vectors import cosines
from tests.experiment_runs import Ran, ran

LIBRARY = concepts.library()


def row(response: str = "", concept: str = "ocean", logprobs: dict[str, float] | None = None, **detail: Any) -> Row:
    measured = {} if logprobs is None else {"logprobs": logprobs}
    return Row("b2:0", "injected", "", concept, 5, 2.0, 0, response, measured, detail, None, (concept,))


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("Sorry, that was an accident.", True),
        ("I apologize, I meant to say kitchen.", True),
        ("I did not mean to say that.", True),
        ("I didn't mean it.", True),
        ("No, it was accidental.", True),
        ("That was unintentional.", True),
        ("I never intended to say that.", True),
        ("It was a slip of the tongue.", True),
        ("Yes, it was an accident.", True),
        ("I did mean it, but it was a mistake.", False),
        ("I meant to say it. Sorry for the confusion.", False),
        ("It was intentional.", False),
        ("It was not an accident, I chose it.", False),
        ("It wasn't a mistake.", False),
        ("I'm not sorry, I meant it.", False),
        ("Not by accident; it was deliberate.", False),
        ("Yes.", False),
        ("The word came to me.", None),
        ("", None),
    ],
)
def test_owning_and_disowning(reply: str, verdict: bool | None) -> None:
    assert apologises(reply) is verdict


def test_unclear_replies_are_in_no_rate() -> None:
    rows = [row("Sorry, an accident."), row("I meant it."), row("Bananas."), row("")]
    assert (prefill.apology_rate(rows).successes, prefill.apology_rate(rows).trials) == (1, 2)


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        ("Ocean.", "ocean"),
        ('"Oceans"', "ocean"),
        ("The sea!", "ocean"),
        ("MILK, then bread", "milk"),
        ("milkmaid", None),
        ("kettle", None),
        ("", None),
    ],
)
def test_the_candidate_that_is_named_first_counts(reply: str, word: str | None) -> None:
    candidates = [found for w in ("bread", "ocean", "milk") if (found := LIBRARY.find(w))]
    assert named(reply, candidates) == word


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("The kettle began to hum on the stove.", True),
        ('Sure: "the kettle began to hum on the stove"', True),
        ("The kettle  began\nto hum on the stove!", True),
        ("The kettle began to sing on the stove.", False),
        ("The kettle began to hum on", False),
        ("", False),
    ],
)
def test_repetition(reply: str, right: bool) -> None:
    sentence = "The kettle began to hum on the stove."
    assert repeats(reply, sentence) is right
    assert thought_vs_text.score(row(reply, question="repeat", sentence=sentence)) is right


def test_forms_of_a_word_add_up() -> None:
    logprobs = {"ocean": math.log(0.2), "Ocean": math.log(0.2), "milk": math.log(0.3), "Milk": math.log(0.01)}
    assert most_likely(logprobs, ["milk", "ocean"]) == "ocean"
    assert most_likely(dict.fromkeys(logprobs, -9.0), ["milk", "ocean"]) == "milk", "the first of those that tie"
    assert log_total([math.log(0.2), math.log(0.3)]) == pytest.approx(math.log(0.5))


def test_forced_identification_reads_the_first_sentence() -> None:
    assert forced_identification.right(row(" the ocean.", question="said"))
    assert forced_identification.right(row(" deep seas. I like bread.", question="said"))
    assert not forced_identification.right(row(" bread. Or the ocean.", question="said"))
    replies = [row(" the ocean.", question="said"), row(" the ocean.", concept="milk", question="said")]
    assert forced_identification.by_luck(replies, ["ocean", "milk"]) == 0.5


def test_localization_takes_the_likeliest_number() -> None:
    assert localization.answer(row(logprobs={" 10": -9.0, " 2": -1.0, " 1": -1.5})) == 2
    assert localization.right(row(logprobs={" 1": -2.0, " 2": -1.0}, place=2))


def test_owning_is_a_ratio_of_sums() -> None:
    values = {"Yes": math.log(0.3), "I meant": math.log(0.1), "Sorry": math.log(0.2)}
    assert prefill.owning(values, ["Yes", "I meant"]) == pytest.approx(math.log(0.4 / 0.2))


def test_the_logit_of_yes_is_clipped() -> None:
    values = {" yes": math.log(0.1), " Yes": math.log(0.2), " no": math.log(0.6)}
    assert log_odds(values, [" yes", " Yes"]) == pytest.approx(math.log(0.3 / 0.6))
    assert log_odds({" yes": -200.0, " no": 0.0}, [" yes"]) == pytest.approx(math.log(1e-7 / (1 - 1e-7)))


@pytest.mark.parametrize("spelled", [(" yes",), (" yes", " Yes")])
def test_an_answer_of_no_probability_at_all_is_far_from_likely(spelled: tuple[str, ...]) -> None:
    never = dict.fromkeys(spelled, -math.inf)
    bound = math.log((1 - 1e-7) / 1e-7)
    assert log_odds({**never, " no": -0.1}, spelled) == pytest.approx(-bound)
    assert log_odds({**never, " no": -0.1}, [" no"]) == pytest.approx(bound)
    assert log_odds({**never, " no": -math.inf}, spelled) == 0.0
    assert controls.yes_logit({**dict.fromkeys(controls.YES, -math.inf), **dict.fromkeys(controls.NO, -1.0)}) < 0


def test_mutual_information_against_entropies() -> None:
    confusion = np.random.default_rng(0).dirichlet(np.ones(5), size=5)
    joint = confusion / 5

    def entropy(p: Any) -> float:
        return float(-(p * np.log2(p)).sum())

    wanted = entropy(joint.sum(0)) + entropy(joint.sum(1)) - entropy(joint)
    assert mutual_information(confusion) == pytest.approx(wanted, abs=1e-12)
    assert mutual_information(np.eye(4)) == pytest.approx(2.0)
    assert mutual_information(np.full((4, 4), 0.25)) == pytest.approx(0.0, abs=1e-12)


def test_chance_information_is_estimated_by_shuffling() -> None:
    answers = np.random.default_rng(1).dirichlet(np.ones(6) * 0.3, size=(6, 5))
    noise = Identification("abcdef", answers)
    assert noise.p > 0.05
    assert noise.bits == pytest.approx(noise.bias, abs=0.35)
    told = Identification("abcdef", np.repeat(np.eye(6)[:, None] * 0.9 + 0.1 / 6, 5, axis=1))
    assert told.p < 0.01


def test_concepts_not_trials_are_the_units() -> None:
    one = contrast([("a", 1.0)] * 50 + [("b", 0.0)] * 2 + [("c", 0.5), ("c", 0.1)])
    assert (one.mean.count, one.pairs) == (3, 54)
    assert one.mean.value == pytest.approx((1.0 + 0.0 + 0.3) / 3)
    same = contrast((str(n), 1.0) for n in range(10))
    assert same.p == pytest.approx(0.5**10), "the sign test"
    assert contrast((str(n), 1e-17) for n in range(10)).p == 1.0


def test_all_contrasts_of_a_cell_must_hold() -> None:
    yes, no = contrast((str(n), 1.0) for n in range(12)), contrast((str(n), -1.0) for n in range(12))
    assert judge({(1, 2.0): [yes, yes], (2, 2.0): [no, yes]}).effect
    assert judge({(1, 2.0): [yes, yes]}).best == (1, 2.0)
    assert not judge({(1, 2.0): [yes, no]}).effect


@pytest.mark.parametrize("centred", [False, True])
def test_cosines_against_a_loop(centred: bool) -> None:
    generator = np.random.default_rng(3)
    streams = generator.normal(size=(3, 4, 16)).astype(np.float32) * 40
    directions = generator.normal(size=(2, 3, 16)).astype(np.float32)
    centre = generator.normal(size=(3, 16)) * 20 if centred else None
    found = cosines.mean_cosines(streams, directions, centre)
    for word in range(2):
        for layer in range(3):
            total = 0.0
            for token in range(4):
                x = streams[layer, token].astype(float) - (centre[layer] if centre is not None else 0)
                v = directions[word, layer].astype(float)
                total += x @ v / math.sqrt((x @ x) * (v @ v))
            assert found[word, layer] == pytest.approx(total / 4, abs=1e-12)


@pytest.fixture(scope="module")
def backend(tiny: Callable[[str], Path]) -> Iterator[Backend]:
    with open_backend(str(tiny("llama")), "torch", device="cpu", dtype="float32") as opened:
        yield opened


@pytest.fixture(scope="module")
def thinking(backend: Backend) -> Ran:
    options = {"band": 3, "centre": 2}
    return ran(backend, "intentional-control", concepts=("ocean", "milk"), options=options)


def test_a_trials_cosine_is_that_of_captured_activations(backend: Backend, thinking: Ran) -> None:
    for spec in thinking.specs[:3]:
        record = thinking.session.prompts[spec.prompt]
        start, stop = spec.detail["at"]
        assert spec.detail["sentence"].startswith("".join(record.pieces[start:stop]).strip())
        everything = backend.capture([Prompt(record.tokens)])[0]["resid_post"].astype(np.float64)
        floors = []
        for one in spec.detail["centre"]:
            floor = backend.capture([Prompt(thinking.session.prompts[one["prompt"]].tokens)])[0]["resid_post"]
            floors.append(floor[:, one["at"][0] : one["at"][1]].astype(np.float64))
        centre = np.concatenate(floors, axis=1).mean(axis=1)
        vector = thinking.session.vectors[spec.detail["vector"]].direction.astype(np.float64)
        for at, layer in enumerate(spec.detail["layers"]):
            for name, shift in (("raw", 0.0), ("centred", centre[layer])):
                x = everything[layer, start:stop] - shift
                direct = (x @ vector[layer]) / np.linalg.norm(x, axis=1) / np.linalg.norm(vector[layer])
                assert thinking.outcomes[spec.key].measurements[name][at] == pytest.approx(direct.mean(), abs=1e-5)


def test_the_lens_at_the_last_layer_is_the_models_own_answer(backend: Backend) -> None:
    options = {"through": None, "framings": ["accurate"], "infos": ["none"], "orders": 0}
    run = ran(backend, "latent", concepts=("ocean",), layers=(1,), strengths=(0.5,), options=options)
    lenses = [spec for spec in run.specs if spec.arm == "lens"]
    assert {spec.condition for spec in lenses} == {"injected", "control"}
    for spec in lenses:
        vectors = [
            Injection(i.layer, run.session.vectors[i.vector].scaled(i.layer, i.strength, i.unit)[0], i.start, i.stop)
            for i in spec.injections
        ]
        prompt = Prompt(run.session.prompts[spec.prompt].tokens, tuple(vectors))
        firsts = [[token] for token in spec.detail["yes"]]
        (scored,) = backend.score([prompt], [firsts])
        direct = math.log(sum(math.exp(float(one[0])) for one in scored))
        assert run.outcomes[spec.key].measurements["lens"]["yes"][-1] == pytest.approx(direct, abs=1e-5)
