"""A map learned on other words carries vectors to a rotated copy of a model; a permuted map carries nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlxintro.backends.base import Backend, Prompt
from mlxintro.backends.errors import UsageError
from mlxintro.backends.models import sources
from mlxintro.backends.pytorch import backend as torch_backend
from mlxintro.protocol import presets
from mlxintro.vectors.alignment import Alignment, AlignmentPlan, fit, procrustes, read_model, ridge
from tests.cli import ROOT, Call
from tests.rotated import make_rotated

CONCEPTS = ("ocean", "bread", "silence", "music", "fear", "celebration", "dogs", "honey")


@pytest.fixture(scope="module")
def folders(tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Any]:
    copy = tmp_path_factory.mktemp("rotated") / "copy"
    return tiny("qwen2"), copy, make_rotated(tiny("qwen2"), copy)


@pytest.fixture(scope="module")
def pair(folders: tuple[Path, Path, Any]) -> Iterator[tuple[Backend, Backend]]:
    with (
        torch_backend.load(sources.resolve(str(folders[0]), "torch"), device="cpu") as model,
        torch_backend.load(sources.resolve(str(folders[1]), "torch"), device="cpu") as copy,
    ):
        yield model, copy


def plan(**changes: Any) -> AlignmentPlan:
    return AlignmentPlan.of(CONCEPTS, presets.load("lindsey").extraction, layers=(1, 3), prompts=2, **changes)


@pytest.fixture(scope="module")
def aligned(pair: tuple[Backend, Backend]) -> Alignment:
    chosen = plan()
    return fit(read_model(pair[0], chosen), read_model(pair[1], chosen), chosen)


def test_the_copy_is_the_same_function_with_its_stream_turned(
    pair: tuple[Backend, Backend], folders: tuple[Path, Path, Any]
) -> None:
    tokens = pair[0].tokenizer.render([{"role": "user", "content": "Tell me about the ocean."}]).tokens
    one, two = (backend.capture([Prompt(tokens)])[0]["resid_post"] for backend in pair)
    np.testing.assert_allclose(two, one @ folders[2], atol=2e-3 * np.abs(one).max())
    assert np.abs(two - one).max() > 0.1 * np.abs(one).max()
    scores = [backend.score([Prompt(tokens)], [[(5,), (9,)]])[0] for backend in pair]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-3)


def test_procrustes_learned_on_other_words_carries_vectors_to_the_rotated_copy(
    aligned: Alignment, folders: tuple[Path, Path, Any]
) -> None:
    for one in aligned.maps:
        assert one.source == one.target
        found = aligned.cosines("carried", one.target)
        assert found.value is not None
        assert found.value > 0.99
    for kept in aligned.maps:
        turn = folders[2]
        if kept.kind == "procrustes":
            np.testing.assert_allclose(kept.matrix, turn, atol=0.05)
    assert {one.kind for one in aligned.maps} == {"procrustes"}


def test_a_permuted_map_carries_nothing(aligned: Alignment) -> None:
    """Cosines of unrelated directions of 64 dimensions have a spread of 1/8; eight words' mean one of 0.044."""
    for one in aligned.maps:
        for kind in ("permuted", "unmapped"):
            found = aligned.cosines(kind, one.target)
            assert found.value is not None
            assert abs(found.value) < 0.2


def test_words_are_carried_by_one_map_and_by_another_permuted_one_each(
    aligned: Alignment, pair: tuple[Backend, Backend]
) -> None:
    """A rotation keeps the cosines between words; words that are turned by different ones lose theirs."""
    source = read_model(pair[0], plan()).vectors

    def cosines(vectors: list[Any]) -> Any:
        units = np.array([one / np.linalg.norm(one) for one in vectors])
        return (units @ units.T)[np.triu_indices(len(units), 1)]

    for at, one in enumerate(aligned.maps):
        own = cosines([source[word][one.source] for word in CONCEPTS])
        carried = cosines([aligned.carried[word].direction[at] for word in CONCEPTS])
        permuted = cosines([aligned.permuted[word].direction[at] for word in CONCEPTS])
        np.testing.assert_allclose(carried, own, atol=1e-3)
        assert np.mean(np.abs(permuted - own) > 0.02) > 0.8, "one order stands for all"


def test_a_model_is_its_own_copy_without_a_map(pair: tuple[Backend, Backend]) -> None:
    chosen = plan()
    reading = read_model(pair[0], chosen)
    found = fit(reading, reading, chosen)
    for one in found.maps:
        assert found.cosines("unmapped", one.target).value == pytest.approx(1, abs=1e-6)


def test_the_best_layer_is_found_where_depth_would_mislead(pair: tuple[Backend, Backend]) -> None:
    chosen = plan(matching="best")
    source, target = read_model(pair[0], chosen), read_model(pair[1], chosen)
    found = fit(source, target, chosen)
    assert [one.source for one in found.maps] == [1, 3]


def test_carried_words_are_never_learned_on() -> None:
    chosen = AlignmentPlan.of(("ocean", "Dogs"), presets.load("lindsey").extraction, learning=[
        "oceans", "dog", "dogs", "Ocean", *(f"word{n}" for n in range(12))
    ])  # fmt: skip
    assert chosen.learning == tuple(f"word{n}" for n in range(12))
    with pytest.raises(UsageError, match="1 words are left"):
        AlignmentPlan.of(("ocean",), presets.load("lindsey").extraction, learning=["oceans", "bread"])


@pytest.mark.parametrize(("wide", "narrow"), [(24, 16), (16, 24)])
def test_maps_between_different_widths_find_a_planted_one(wide: int, narrow: int) -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, wide))
    basis, _ = np.linalg.qr(generator.normal(size=(max(wide, narrow),) * 2))
    planted = 3.0 * basis[:wide, :narrow]
    y = x @ planted
    np.testing.assert_allclose(ridge(x, y), planted, atol=0.02)
    if wide < narrow:
        # Rows that are not orthonormal when cut are no rotation: only widening is one.
        rows, _ = np.linalg.qr(generator.normal(size=(narrow, wide)))
        np.testing.assert_allclose(procrustes(x, 3.0 * x @ rows.T), 3.0 * rows.T, atol=1e-8)


def test_the_command_aligns_two_models_and_keeps_what_it_carried(folders: tuple[Path, Path, Any], call: Call) -> None:
    learning = AlignmentPlan.of(("ocean", "bread"), presets.load("lindsey").extraction).learning[:100]
    found = call(
        "vectors", "align", str(folders[0]), "-m", str(folders[1]), "--backend", "torch", "--device", "cpu",
        "--name", "turned", "--concepts", "ocean,bread", "--learn", ",".join(learning), "--layers", "2",
        "--prompts", "1", "--json",
    )  # fmt: skip
    assert found.code == 0, found.err
    (one,) = found.lines[0]["maps"]
    assert one["carried"]["value"] > 0.9
    names = {line["name"] for line in call("vectors", "list", "--json").lines}
    assert {"turned/ocean", "turned/permuted/ocean", "turned/unmapped/bread"} <= names


def test_the_lines_of_the_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "vectors.md").read_text("utf-8"), re.DOTALL)
    monkeypatch.setenv("MLXINTRO_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/vectors.md", "exec"), {})
    first, second = capsys.readouterr().out.splitlines()
    assert first == "True"
    assert "Mean(value=" in second
