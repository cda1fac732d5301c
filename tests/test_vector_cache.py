"""The cache of vectors: what is read again is what was written, and damage is seen."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlxintro.backends.base import Backend, Prompt
from mlxintro.backends.models import sources
from mlxintro.backends.pytorch import backend as torch_backend
from mlxintro.backends.simulated import backend as fake
from mlxintro.store import Store, VectorRecord
from mlxintro.store.vectors import recorded_content
from mlxintro.vectors import cache as vector_cache
from mlxintro.vectors.cache import DamagedError, VectorCache
from mlxintro.vectors.extraction import extract
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


class Counting:
    """A backend that counts the prompts it is asked to read."""

    def __init__(self, backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
        self.prompts = 0
        original = backend.capture

        def capture(prompts: Sequence[Prompt], **settings: Any) -> Any:
            self.prompts += len(prompts)
            return original(prompts, **settings)

        monkeypatch.setattr(backend, "capture", capture)


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
