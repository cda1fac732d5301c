"""Concept vectors equal a direct computation; the cache returns exactly what was written, or nothing."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlxintro.backends.base import Backend, ModelInfo, Prompt
from mlxintro.backends.errors import ModelError, UsageError
from mlxintro.backends.models import sources
from mlxintro.backends.pytorch import backend as torch_backend
from mlxintro.backends.simulated import backend as fake
from mlxintro.protocol import presets
from mlxintro.protocol.trials import Unit, model_key
from mlxintro.store import Store, VectorRecord
from mlxintro.store.vectors import recorded_content
from mlxintro.vectors import cache as vector_cache
from mlxintro.vectors.cache import DamagedError, VectorCache
from mlxintro.vectors.extraction import extract
from mlxintro.vectors.reading import LetterCase, Read, cased
from mlxintro.vectors.recipe import ExtractionRecipe
from mlxintro.vectors.settings import recipe_for
from mlxintro.vectors.vector import ConceptVector

BASELINE = ("Mountains", "music", "Dogs", "brown fox", "Dogs")
FAMILIES = ("qwen2", "gemma3")


@pytest.fixture(scope="module", params=FAMILIES)
def backend(request: pytest.FixtureRequest, tiny: Callable[[str], Path]) -> Iterator[Backend]:
    source = sources.resolve(str(tiny(request.param)), "torch")
    with torch_backend.load(source, device="cpu") as loaded:
        yield loaded


@pytest.fixture(scope="module")
def subject() -> Iterator[Backend]:
    with fake.load() as loaded:
        yield loaded


def recipe(word: str, info: ModelInfo, **settings: Any) -> ExtractionRecipe:
    return ExtractionRecipe(word=word, model=model_key(info), baseline="mine", baseline_words=BASELINE, **settings)


class Counting:
    """A backend that counts the prompts it is asked to read."""

    def __init__(self, backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
        self.prompts = 0
        original = backend.capture

        def capture(prompts: Sequence[Prompt], **settings: Any) -> Any:
            self.prompts += len(prompts)
            return original(prompts, **settings)

        monkeypatch.setattr(backend, "capture", capture)


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


# Scaling


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


# The cache


def test_a_cached_vector_costs_no_forward_pass_and_is_the_same_bytes(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = recipe("ocean", backend.info)
    counting = Counting(backend, monkeypatch)
    first = extract(backend, [made], VectorCache(tmp_path))[made.key]
    assert counting.prompts == 1 + len({word.lower() for word in BASELINE})
    second = extract(backend, [made], VectorCache(tmp_path))[made.key]
    assert counting.prompts == 1 + len({word.lower() for word in BASELINE})
    assert second.direction.tobytes() == first.direction.tobytes()
    assert second.resid_norms.tobytes() == first.resid_norms.tobytes()
    assert second.content_hash == first.content_hash
    assert second.recipe == made
    assert second.provenance == first.provenance


def test_a_second_concept_reads_only_its_own_word(
    subject: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = VectorCache(tmp_path)
    extract(subject, [recipe("ocean", subject.info)], cache)
    counting = Counting(subject, monkeypatch)
    fear = recipe("fear", subject.info)
    kept = extract(subject, [fear], cache)[fear.key]
    assert counting.prompts == 1
    fresh = extract(subject, [fear])[fear.key]
    assert kept.content_hash == fresh.content_hash


def test_a_vector_whose_content_is_not_what_the_store_recorded_is_made_again(subject: Backend, tmp_path: Path) -> None:
    made = recipe("ocean", subject.info)
    notices: list[str] = []
    plain = VectorCache(tmp_path / "vectors")
    first = extract(subject, [made], plain)[made.key]
    # Another vector under this name, with a checksum of its own that is right.
    plain.save_vector(ConceptVector(made, -3 * first.direction, first.resid_norms, {}))
    with Store(tmp_path / "mlxintro.db") as store:
        store.vectors.add(VectorRecord(made.key, {}, plain.path(made.key).name, first.content_hash))
    cache = VectorCache(tmp_path / "vectors", notices.append, recorded_content(tmp_path / "mlxintro.db"))
    assert extract(subject, [made], plain)[made.key].content_hash != first.content_hash
    assert extract(subject, [made], cache)[made.key].content_hash == first.content_hash
    assert len(notices) == 1
    assert "not what the store recorded" in notices[0]


def test_vectors_cannot_be_changed_by_accident(subject: Backend, tmp_path: Path) -> None:
    made = recipe("ocean", subject.info)
    for _ in range(2):
        vector = extract(subject, [made], VectorCache(tmp_path))[made.key]
        with pytest.raises(ValueError, match="read-only"):
            vector.direction[0, 0] = 1.0


def test_progress_counts_every_word_once(subject: Backend) -> None:
    seen: list[tuple[int, int]] = []
    extract(subject, [recipe("ocean", subject.info)], progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (5, 5)


def test_a_damaged_vector_is_told_and_made_again(subject: Backend, tmp_path: Path) -> None:
    made = recipe("ocean", subject.info)
    notices: list[str] = []
    cache = VectorCache(tmp_path, notices.append)
    first = extract(subject, [made], cache)[made.key]
    path = cache.path(made.key)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    again = extract(subject, [made], cache)[made.key]
    assert again.content_hash == first.content_hash
    assert len(notices) == 1
    assert "made again" in notices[0]
    assert "\n" not in notices[0]
    assert cache.load(made.key) is not None
    assert len(notices) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    arrays=st.dictionaries(
        st.sampled_from(["direction", "resid_norms", "mean"]),
        st.lists(st.floats(width=32, allow_nan=True), min_size=0, max_size=9),
        min_size=1,
    ),
    metadata=st.dictionaries(st.sampled_from(["recipe", "created", "π"]), st.text(max_size=20)),
)
def test_what_is_written_is_what_is_read(
    tmp_path: Path, arrays: dict[str, list[float]], metadata: dict[str, str]
) -> None:
    tensors = {name: np.array(values, np.float32) for name, values in arrays.items()}
    vector_cache.write(tmp_path / "entry", "b2:k", tensors, metadata)
    entry = vector_cache.read(tmp_path / "entry", "b2:k")
    assert {name: tensor.tobytes() for name, tensor in entry.tensors.items()} == {
        name: tensor.tobytes() for name, tensor in tensors.items()
    }
    assert {name: entry.metadata[name] for name in metadata} == metadata


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("written") / "entry"
    tensors = {"direction": np.arange(24, dtype=np.float32).reshape(4, 6), "mean": np.ones(3, np.float32)}
    vector_cache.write(path, "b2:k", tensors, {"recipe": '{"word":"ocean"}', "created": "2026-01-01"})
    return path


def test_a_flipped_bit_is_detected_wherever_it_is(written: Path, tmp_path: Path) -> None:
    data = written.read_bytes()
    dice = random.Random(0)
    for at in range(len(data)):
        broken = bytearray(data)
        broken[at] ^= 1 << dice.randrange(8)
        (tmp_path / "entry").write_bytes(broken)
        with pytest.raises(DamagedError):
            vector_cache.read(tmp_path / "entry", "b2:k")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(st.data())
def test_overwritten_truncated_and_lengthened_files_are_detected(written: Path, tmp_path: Path, data: Any) -> None:
    whole = written.read_bytes()
    at = data.draw(st.integers(0, len(whole)))
    until = data.draw(st.integers(at, len(whole)))
    broken = whole[:at] + data.draw(st.binary(max_size=40)) + whole[until:]
    if broken == whole:
        return
    (tmp_path / "entry").write_bytes(broken)
    with pytest.raises(DamagedError):
        vector_cache.read(tmp_path / "entry", "b2:k")


def test_a_file_under_anothers_name_is_detected(written: Path) -> None:
    with pytest.raises(DamagedError, match="something else"):
        vector_cache.read(written, "b2:other")


def test_the_file_is_plain_safetensors_with_readable_metadata(written: Path) -> None:
    from safetensors import safe_open

    with safe_open(written, framework="np") as file:
        assert file.metadata()["key"] == "b2:k"
        np.testing.assert_array_equal(file.get_tensor("direction"), np.arange(24).reshape(4, 6))


def test_a_cache_that_cannot_be_written_is_told_once_and_done_without(subject: Backend, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    notices: list[str] = []
    cache = VectorCache(tmp_path / "file" / "vectors", notices.append)
    made = [recipe(word, subject.info) for word in ("ocean", "fear")]
    vectors = extract(subject, made, cache)
    assert [v.content_hash for v in vectors.values()] == [v.content_hash for v in extract(subject, made).values()]
    assert len([notice for notice in notices if "not kept" in notice]) == 1


def test_an_interrupted_write_leaves_the_old_file_and_no_litter(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "entry"
    path.write_bytes(written.read_bytes())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        vector_cache.write(path, "b2:k", {"direction": np.zeros(3, np.float32)}, {})
    assert os.listdir(tmp_path) == ["entry"]
    assert path.read_bytes() == written.read_bytes()


def test_writers_that_race_leave_a_whole_file(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    tensors = {"direction": np.ones((20, 200), np.float32)}
    cache = VectorCache(tmp_path)

    def work(_: int) -> bool:
        saved = cache.save("b2:k", tensors, {})
        return saved and cache.load("b2:k") is not None

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(80)))
    assert os.listdir(tmp_path) == [cache.path("b2:k").name]
