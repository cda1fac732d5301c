"""Concept vectors equal a direct computation; the cache returns exactly what was written, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlxintro.backends.base import Backend, Prompt
from mlxintro.backends.errors import ModelError, UsageError
from mlxintro.backends.models import sources
from mlxintro.backends.pytorch import backend as torch_backend
from mlxintro.backends.simulated import backend as fake
from mlxintro.protocol import presets
from mlxintro.protocol.trials import Unit
from mlxintro.vectors.extraction import extract
from mlxintro.vectors.reading import LetterCase, Read, cased
from mlxintro.vectors.recipe import ExtractionRecipe
from mlxintro.vectors.settings import recipe_for
from mlxintro.vectors.vector import ConceptVector
from tests.extracted import BASELINE, FAMILIES, recipe


@pytest.fixture(scope="module", params=FAMILIES)
def backend(request: pytest.FixtureRequest, tiny: Callable[[str], Path]) -> Iterator[Backend]:
    source = sources.resolve(str(tiny(request.param)), "torch")
    with torch_backend.load(source, device="cpu") as loaded:
        yield loaded


@pytest.fixture(scope="module")
def subject() -> Iterator[Backend]:
    with fake.load() as loaded:
        yield loaded


def hidden_states(folder: Path, text: str, words: Sequence[str]) -> tuple[list[Any], list[list[int]]]:
    """Every block's output for one user message, straight from transformers; and per word its tokens' positions."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], add_generation_prompt=True, tokenize=False
    )
    encoded = tokenizer(rendered, add_special_tokens=False, return_offsets_mapping=True)
    outputs: list[Any] = []
    blocks = model.model.layers
    handles = [
        block.register_forward_hook(
            lambda _m, _i, out: outputs.append((out[0] if isinstance(out, tuple) else out)[0].double().numpy())
        )
        for block in blocks
    ]
    with torch.no_grad():
        hidden = model(torch.tensor([encoded["input_ids"]]), output_hidden_states=True).hidden_states
    for handle in handles:
        handle.remove()
    for layer in range(len(blocks) - 1):
        np.testing.assert_array_equal(outputs[layer], hidden[layer + 1][0].double().numpy())
    spans = []
    for word in words:
        start = rendered.rindex(text) + text.rindex(word)
        stop = start + len(word)
        spans.append([i for i, (a, b) in enumerate(encoded["offset_mapping"]) if a < stop and b > start])
    return outputs, spans


def direct(folder: Path, word: str, baseline: Sequence[str], template: str, read: Read) -> tuple[Any, Any]:
    """Vector and residual norms, computed without any of the project's code."""

    def activation(word: str) -> Any:
        text = template.replace("{word}", word)
        outputs, (of_word, of_text) = hidden_states(folder, text, [word, text])
        where = {"last-template-token": [-1], "word": of_word[-1:], "mean": of_text}[read]
        return np.stack([output[where].mean(axis=0) for output in outputs])

    others = np.stack([activation(word) for word in baseline])
    return activation(word) - others.mean(axis=0), np.linalg.norm(others, axis=-1).mean(axis=0)


@pytest.mark.parametrize(
    ("template", "case", "read"),
    [
        ("Tell me about {word}", "lower", "last-template-token"),
        ("Tell me about {word}.", "as-is", "word"),
        ("user: what is {word}, user?", "title", "mean"),
        ("{word} user", "title", "word"),
    ],
)
def test_a_vector_equals_a_direct_computation(backend: Backend, template: str, case: LetterCase, read: Read) -> None:
    made = recipe("user", backend.info, template=template, case=case, read=read)
    vector = extract(backend, [made])[made.key]
    change: dict[LetterCase, Callable[[str], str]] = {"lower": str.lower, "as-is": str, "title": str.title}
    direction, norms = direct(
        Path(backend.info.model),
        change[case]("user"),
        [change[case](word) for word in BASELINE],
        template,
        read,
    )
    assert vector.direction.dtype == np.float32
    assert vector.direction.shape == (backend.info.layers, backend.info.width)
    scale = np.abs(direction).max()
    np.testing.assert_allclose(vector.direction, direction, rtol=0, atol=2e-5 * scale)
    np.testing.assert_allclose(vector.resid_norms, norms, rtol=1e-5)
    np.testing.assert_allclose(vector.norms, np.linalg.norm(direction, axis=1), rtol=1e-4)


def test_a_batch_of_words_gives_what_each_gives_alone(backend: Backend) -> None:
    recipes = [recipe(word, backend.info) for word in ("ocean", "the injected thought", "silence")]
    together = extract(backend, recipes)
    assert list(together) == [r.key for r in recipes]
    for one in recipes:
        alone = extract(backend, [one])[one.key]
        np.testing.assert_allclose(together[one.key].direction, alone.direction, rtol=0, atol=1e-4)


def test_the_target_is_left_out_of_its_baseline(subject: Backend) -> None:
    made = recipe_for(presets.load("blueprint").extraction, "Music", subject.info)
    assert isinstance(made, ExtractionRecipe)
    assert len(made.baseline_words) == 9
    assert "music" not in made.baseline_words
    for name in presets.names():
        extraction = presets.load(name).extraction
        made = recipe_for(extraction, "ocean", subject.info)
        assert isinstance(made, ExtractionRecipe)
        assert (made.template, made.case, made.read) == (extraction.template, extraction.case, extraction.read)


def test_a_recipes_name_depends_on_everything_it_says(subject: Backend) -> None:
    base = recipe("ocean", subject.info)
    others = [
        replace(base, word="sea"),
        replace(base, model="another"),
        replace(base, baseline_words=BASELINE[:-1]),
        replace(base, template="Describe {word}"),
        replace(base, case="title"),
        replace(base, read="mean"),
    ]
    assert len({made.key for made in [base, *others]}) == 7
    assert replace(base).key == base.key


@pytest.mark.parametrize(
    "wrong", [{"template": "no slot"}, {"template": "{word} {word}"}, {"case": "upper"}, {"read": "first"}]
)
def test_an_impossible_recipe_is_refused(wrong: dict[str, Any], subject: Backend) -> None:
    with pytest.raises(UsageError):
        recipe("ocean", subject.info, **wrong)


def test_a_recipe_for_another_model_is_refused(subject: Backend) -> None:
    with pytest.raises(UsageError, match="planned for"):
        extract(subject, [replace(recipe("ocean", subject.info), model="another")])


def test_title_case_spares_what_follows_an_apostrophe() -> None:
    assert cased(" vincent van Gogh's ear ", "title") == "Vincent Van Gogh's Ear"


def test_an_overflow_is_an_error_and_not_a_vector(subject: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    original = subject.capture

    def capture(prompts: Sequence[Prompt], **settings: Any) -> Any:
        captured = original(prompts, **settings)
        captured[0]["resid_post"][2, 0, 5] = np.inf
        return captured

    monkeypatch.setattr(subject, "capture", capture)
    with pytest.raises(ModelError, match="overflow"):
        extract(subject, [recipe("ocean", subject.info)])


def a_vector(layers: int = 3, width: int = 64, seed: int = 0) -> ConceptVector:
    noise = np.random.default_rng(seed)
    made = ExtractionRecipe("ocean", "model", "mine", BASELINE)
    norms = np.linspace(10, 20, layers).astype(np.float32)
    return ConceptVector(made, noise.normal(size=(layers, width)).astype(np.float32), norms)


finite = st.floats(-1e3, 1e3).filter(lambda s: abs(s) > 1e-6)


@given(strength=finite, layer=st.integers(0, 2))
def test_a_strength_means_the_same_in_every_unit(strength: float, layer: int) -> None:
    vector = a_vector()
    norm = float(np.linalg.norm(vector.direction[layer].astype(np.float64)))
    resid = float(vector.resid_norms[layer])
    by_unit: dict[Unit, float] = {"raw": strength, "norm": strength * norm, "resid": strength * norm / resid}
    expected = strength * vector.direction[layer].astype(np.float64)
    for unit, value in by_unit.items():
        added, dose = vector.scaled(layer, value, unit)
        np.testing.assert_allclose(added, expected, rtol=1e-6, atol=1e-12)
        assert dose.raw == pytest.approx(strength, rel=1e-9)
        assert dose.norm == pytest.approx(np.linalg.norm(expected), rel=1e-9)
        assert dose.resid == pytest.approx(np.linalg.norm(expected) / resid, rel=1e-9)
        assert dose.vector_norm == pytest.approx(norm)
        assert dose.resid_norm == resid


def test_a_vector_whose_square_no_norm_can_hold_is_refused_and_is_fine_beside_the_stream() -> None:
    huge = replace(a_vector(), direction=a_vector().direction * np.float32(1e30))
    with pytest.raises(UsageError, match=r"adds a norm of .*--unit resid"):
        huge.scaled(1, 2.0, "raw")
    added, _ = huge.scaled(1, 2.0, "resid")
    assert np.linalg.norm(added) == pytest.approx(2 * huge.resid_norms[1], rel=1e-5)


@pytest.mark.parametrize("unit", ["raw", "norm", "resid"])
@pytest.mark.parametrize("transform", ["none", "negate", "random"])
def test_strength_0_adds_exactly_nothing(unit: Unit, transform: Any) -> None:
    added, dose = a_vector().scaled(1, 0.0, unit, transform=transform)
    assert added.tobytes() == np.zeros(64, np.float32).tobytes()
    assert dose.norm == 0


def test_negated_is_the_opposite_and_random_has_the_same_norm() -> None:
    vector = a_vector(width=4096)
    plain, dose = vector.scaled(2, 4.0, "raw")
    negated, negative = vector.scaled(2, 4.0, "raw", transform="negate")
    np.testing.assert_array_equal(negated, -plain)
    assert negative.raw == -dose.raw
    drawn = [vector.scaled(2, 4.0, "raw", transform="random", seed=seed)[0] for seed in range(6)]
    size = np.linalg.norm(plain)
    for i, one in enumerate(drawn):
        assert np.linalg.norm(one) == pytest.approx(size, rel=1e-5)
        for other in [*drawn[:i], plain]:
            # Cosines of isotropic directions have standard deviation 1/64 here: six of them.
            assert abs(float(one @ other)) / float(size) ** 2 < 6 / 64


def test_a_random_direction_is_fixed_by_its_seed_and_the_same_at_every_strength() -> None:
    vector = a_vector()
    once, _ = vector.scaled(1, 1.0, "raw", transform="random", seed=7)
    double, _ = vector.scaled(1, 2.0, "raw", transform="random", seed=7)
    deeper, _ = vector.scaled(2, 1.0, "raw", transform="random", seed=7)
    cosine = float(once @ deeper) / float(np.linalg.norm(once) * np.linalg.norm(deeper))
    assert abs(cosine) < 0.9, "every layer has a direction of its own"
    np.testing.assert_allclose(double, 2 * once, rtol=1e-6)
    assert not np.array_equal(once, vector.scaled(1, 1.0, "raw", transform="random", seed=8)[0])
    other = replace(vector, recipe=replace(vector.recipe, word="fear"))
    assert not np.array_equal(once, other.scaled(1, 1.0, "raw", transform="random", seed=7)[0])


@pytest.mark.parametrize("strength", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_a_strength_that_is_no_number_is_refused(strength: float) -> None:
    with pytest.raises(UsageError):
        a_vector().scaled(0, strength, "raw")


def test_a_zero_vector_is_refused_in_every_unit() -> None:
    vector = replace(a_vector(), direction=np.zeros((3, 64), np.float32))
    units: list[Unit] = ["raw", "norm", "resid"]
    for unit in units:
        with pytest.raises(UsageError, match="zero"):
            vector.scaled(0, 1.0, unit)


def test_a_layer_outside_the_model_is_refused() -> None:
    for layer in (-1, 3):
        with pytest.raises(UsageError, match="out of range"):
            a_vector().scaled(layer, 1.0, "raw")
