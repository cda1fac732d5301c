"""Validation tells a steering vector from a random one, and its numbers equal a direct computation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mlxintro.backends.base import Backend, Message, Prompt, Request, Sampling
from mlxintro.backends.errors import UsageError
from mlxintro.backends.models import sources
from mlxintro.backends.pytorch import backend as torch_backend
from mlxintro.backends.simulated import backend as fake
from mlxintro.protocol import presets
from mlxintro.protocol.concepts import Concept, library, plurals
from mlxintro.vectors.extraction import extract
from mlxintro.vectors.recipe import ExtractionRecipe
from mlxintro.vectors.settings import recipe_for
from mlxintro.vectors.steering import NeutralPrompt, continuations, neutral_prompts, steer, validate
from mlxintro.vectors.vector import ConceptVector

MESSAGES: list[Message] = [{"role": "user", "content": "Tell me something."}]


@pytest.fixture(scope="module")
def tiny_model(tiny: Callable[[str], Path]) -> Iterator[Backend]:
    with torch_backend.load(sources.resolve(str(tiny("qwen2")), "torch"), device="cpu") as loaded:
        yield loaded


@pytest.fixture(scope="module")
def subject() -> Iterator[Backend]:
    with fake.load("steering-only") as loaded:
        yield loaded


def vector_of(backend: Backend, word: str) -> ConceptVector:
    made = recipe_for(presets.load("blueprint").extraction, word, backend.info)
    return extract(backend, [made])[made.key]


def random_vector(backend: Backend, seed: int) -> ConceptVector:
    """Draw a vector by its seed; the model's name is fixed too, since its folder is a new one in every session."""
    info = backend.info
    made = ExtractionRecipe(f"random {seed}", "a tiny model", "mine", ("music",))
    noise = np.random.default_rng(seed).normal(size=(info.layers, info.width)).astype(np.float32)
    return ConceptVector(made, noise, np.ones(info.layers, np.float32))


def concept(word: str) -> Concept:
    found = library().find(word)
    assert found is not None
    return found


@pytest.mark.parametrize("word", ["ocean", "music", "fear", "celebration", "silence"])
def test_a_subject_that_is_known_to_be_steerable_passes(subject: Backend, word: str) -> None:
    result = validate(
        subject, vector_of(subject, word), concept(word), strength=1.0, unit="resid", prompts=neutral_prompts()[:2]
    )
    assert result.passed
    assert result.low > 0
    assert result.p_value == 1 / 20
    assert result.shift > 0


def test_another_concepts_vector_does_not_pass(subject: Backend) -> None:
    result = validate(
        subject, vector_of(subject, "fear"), concept("ocean"), strength=1.0, unit="resid", prompts=neutral_prompts()[:2]
    )
    assert not result.passed


def test_random_vectors_rank_like_random_vectors(tiny_model: Backend) -> None:
    """With a vector that is itself random, the p-value is uniform: the test does not pass more often than it says."""
    results = [
        validate(
            tiny_model,
            random_vector(tiny_model, seed),
            Concept("thought", "custom", ("music",)),
            layer=1,
            strength=2.0,
            unit="norm",
            prompts=neutral_prompts()[:2],
            randoms=9,
        )
        for seed in range(40)
    ]
    ranks = np.array([result.p_value for result in results])
    uniform = stats.randint(1, 11)
    assert stats.ks_1samp(ranks * 10, uniform.cdf, method="exact").pvalue > 1e-3
    assert sum(result.passed for result in results) <= stats.binom.ppf(0.999, len(results), 1 / 10)


def direct_log_probability(folder: Path, text: str, words: list[str], layer: int, added: Any) -> float:
    """log of the summed probability of words after a text, straight from transformers with a hook of our own."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    block = model.model.layers[layer]
    handle = block.register_forward_hook(
        lambda _m, _i, out: (out[0] + added, *out[1:]) if isinstance(out, tuple) else out + added
    )
    start = tokenizer(text, add_special_tokens=False)["input_ids"]
    total = 0.0
    for word in words:
        whole = tokenizer(f"{text} {word}", add_special_tokens=False)["input_ids"]
        assert whole[: len(start)] == start
        with torch.no_grad():
            logprobs = torch.log_softmax(model(torch.tensor([whole])).logits[0].double(), dim=-1)
        total += math.exp(sum(float(logprobs[at - 1, whole[at]]) for at in range(len(start), len(whole))))
    handle.remove()
    return math.log(total)


def test_effects_equal_a_direct_computation(tiny_model: Backend) -> None:
    prompts = [NeutralPrompt("What is it?", "It is"), NeutralPrompt("Say one word.", "The word is")]
    vector = random_vector(tiny_model, 0)
    about = Concept("ocean", "nature", ("music", "the quick fox"))
    result = validate(tiny_model, vector, about, layer=2, strength=3.0, unit="norm", prompts=prompts, randoms=2, seed=5)
    folder = Path(tiny_model.info.model)
    unit = vector.direction[2] / np.linalg.norm(vector.direction[2].astype(np.float64))
    for effect, prompt in zip(result.prompts, prompts, strict=True):
        text = tiny_model.tokenizer.render([{"role": "user", "content": prompt.user}], prompt.prefill).text
        words = ["ocean", "music"]
        assert effect.plain == pytest.approx(direct_log_probability(folder, text, words, 2, 0.0), abs=1e-4)
        added = (3.0 * unit).astype(np.float32)
        assert effect.steered == pytest.approx(direct_log_probability(folder, text, words, 2, added), abs=1e-4)
        assert len(effect.random) == 2
        assert effect.random[0] != effect.random[1]


def test_the_interval_is_students(tiny_model: Backend) -> None:
    result = validate(
        tiny_model,
        random_vector(tiny_model, 1),
        concept("ocean"),
        layer=1,
        strength=5.0,
        unit="norm",
        prompts=neutral_prompts()[:5],
        randoms=3,
    )
    values = [effect.steered - sum(effect.random) / 3 for effect in result.prompts]
    mean = sum(values) / 5
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / 4)
    # 2.776445 is the 97.5 % quantile of Student's t with 4 degrees of freedom, from a printed table.
    half = 2.776445 * spread / math.sqrt(5)
    assert result.effect == pytest.approx(mean)
    assert result.low == pytest.approx(mean - half, abs=1e-6 * half)
    assert result.high == pytest.approx(mean + half, abs=1e-6 * half)


def test_a_negative_strength_passes_only_when_names_become_less_likely(subject: Backend) -> None:
    result = validate(
        subject,
        vector_of(subject, "ocean"),
        concept("ocean"),
        strength=1.0,
        unit="resid",
        prompts=neutral_prompts()[:2],
    )
    assert result.passed
    assert not replace(result, strength=-1.0).passed
    mirrored = replace(result, strength=-1.0, effect=-result.effect, low=-result.high, high=-result.low)
    assert mirrored.passed


def test_too_few_random_vectors_must_all_do_less(subject: Backend) -> None:
    result = validate(
        subject,
        vector_of(subject, "ocean"),
        concept("ocean"),
        strength=1.0,
        unit="resid",
        prompts=neutral_prompts()[:2],
        randoms=4,
    )
    assert result.p_value == 1 / 5
    assert result.passed
    assert not replace(result, p_value=2 / 5).passed
    assert not replace(result, randoms=19, p_value=2 / 20).passed
    assert replace(result, randoms=99, p_value=5 / 100).passed


def test_what_cannot_be_tested_is_refused(subject: Backend) -> None:
    vector = vector_of(subject, "ocean")
    ocean = concept("ocean")
    with pytest.raises(UsageError, match="other than 0"):
        validate(subject, vector, ocean, strength=0.0, unit="raw")
    with pytest.raises(UsageError, match="random vector"):
        validate(subject, vector, ocean, strength=1.0, unit="raw", randoms=0)
    with pytest.raises(UsageError, match="two prompts"):
        validate(subject, vector, ocean, strength=1.0, unit="raw", prompts=neutral_prompts()[:1])
    with pytest.raises(UsageError, match="out of range"):
        validate(subject, vector, ocean, layer=99, strength=1.0, unit="raw")


def test_no_scored_name_begins_with_another(tiny_model: Backend) -> None:
    for prompt in neutral_prompts():
        tokens, names = continuations(
            tiny_model.tokenizer, prompt, ["sea", "seas", "season", "sea", "oceanic", "ocean"]
        )
        assert {tiny_model.tokenizer.decode(name) for name in names} == {" sea", " ocean"}
        whole = tiny_model.tokenizer.render([{"role": "user", "content": prompt.user}], f"{prompt.prefill} sea").tokens
        assert any((*tokens, *name) == whole for name in names)


def test_neutral_prompts_name_no_concept() -> None:
    names = {name.casefold() for c in library().concepts for name in c.names} | {
        plural for c in library().concepts for plural in plurals(c.word)
    }
    assert len(neutral_prompts()) >= 12
    assert len({prompt.user for prompt in neutral_prompts()}) == len(neutral_prompts())
    for prompt in neutral_prompts():
        words = {word.strip(".,:?!").casefold() for word in f"{prompt.user} {prompt.prefill}".split()}
        assert not words & names


def test_steering_answers_twice_and_proves_what_it_added(tiny_model: Backend) -> None:
    vector = random_vector(tiny_model, 2)
    sampling = Sampling(max_tokens=12, temperature=1.0, seed=3)
    result = steer(tiny_model, vector, MESSAGES, layer=2, strength=8.0, unit="norm", sampling=sampling)
    tokens = tiny_model.tokenizer.render(MESSAGES).tokens
    (alone,) = tiny_model.generate([Request(Prompt(tokens), sampling)])
    assert result.plain == alone.text
    assert result.steered != result.plain
    assert result.proof.layer == 2
    assert result.proof.first == 0
    # What the forward pass measured is what the dose says.
    assert result.proof.change == pytest.approx(8.0, rel=1e-4)
    assert result.dose.norm == pytest.approx(8.0)


def test_a_window_leaves_the_prompt_alone(tiny_model: Backend) -> None:
    vector = random_vector(tiny_model, 2)
    length = len(tiny_model.tokenizer.render(MESSAGES).tokens)
    result = steer(
        tiny_model,
        vector,
        MESSAGES,
        layer=0.5,
        strength=8.0,
        unit="norm",
        window="generation",
        sampling=Sampling(max_tokens=12),
    )
    assert result.layer == 2
    assert result.proof.first == length
    assert result.plain[:1] == result.steered[:1]


@pytest.mark.parametrize("transform", ["none", "negate", "random"])
def test_strength_0_changes_nothing(tiny_model: Backend, transform: Any) -> None:
    vector = random_vector(tiny_model, 2)
    result = steer(tiny_model, vector, MESSAGES, strength=0.0, unit="raw", transform=transform)
    assert result.plain == result.steered
    assert result.proof.change == 0
