"""Activation patching held against hooks written by hand, between backends, and on models with a known circuit."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlxintro.backends import registry
from mlxintro.backends.base import Backend, Float32, Injection, Site
from mlxintro.backends.errors import InjectionError, UsageError
from mlxintro.mechanism.maps import PatchMap
from mlxintro.mechanism.patching import (
    DIRECTIONS,
    Direction,
    Patch,
    PatchedDialogue,
    PatchedRuns,
    PositionGroup,
    patch_runs,
    patches_of,
)
from mlxintro.mechanism.readings import AnswerOptions
from tests import circuits
from tests.matrix import in_slow_tests
from tests.reference import Reference

BACKENDS = ("torch", "mlx")
TOKENS = tuple(np.random.default_rng(3).integers(4, 400, 40).tolist())
GROUPS = (PositionGroup("window", 25, 40), PositionGroup("question", 28, 36), PositionGroup("last", 39, 40))
OPTIONS = AnswerOptions(yes=((11,), (12,)), no=((13,), (14,)), opening=(21, 22), name=(23, 24))
SITES: tuple[Site, ...] = ("resid_post", "attn_out", "mlp_out", "head_out")
Opened = Callable[[str, str], Backend]


@pytest.fixture(scope="module")
def opened(tiny: Callable[[str], Path]) -> Iterator[Opened]:
    backends: list[Backend] = []

    @functools.cache
    def backend(name: str, family: str) -> Backend:
        if name == "mlx":
            pytest.importorskip("mlx")
        found = registry.open_backend(str(tiny(family)), name, device="cpu", dtype="float32")
        backends.append(found)
        return found

    yield backend
    for one in backends:
        one.close()


def dialogue(seed: int = 1, scale: float = 3.0) -> PatchedDialogue:
    vector = (np.random.default_rng(seed).normal(size=64) * scale).astype(np.float32)
    return PatchedDialogue(TOKENS, (Injection(0, vector, 25, 40),), GROUPS, OPTIONS)


def cells(count: int) -> list[Patch]:
    """Random cells, heads among them."""
    every = patches_of(range(4), SITES, GROUPS, heads=4)
    chosen = np.random.default_rng(8).choice(len(every), count, replace=False)
    return [every[at] for at in sorted(chosen)]


@functools.cache
def patched(opened: Opened, name: str, family: str) -> PatchedRuns:
    return patch_runs(opened(name, family), dialogue(), cells(20))


class ByHand:
    """Patching with transformers' own modules and hooks of a few lines."""

    def __init__(self, folder: Path, family: str) -> None:
        self.reference = Reference(folder, family)

    def activation(self, patch: Patch, injections: tuple[Injection, ...]) -> Float32:
        """(positions, size) of a run."""
        import torch

        kept: list[Any] = []
        module = self.reference.module(patch.layer, patch.site)
        with torch.no_grad(), self.reference.injecting(injections, {}):
            if patch.site == "head_out":
                handle = module.register_forward_pre_hook(lambda _, given: kept.append(given[0][0].numpy()))
            else:
                handle = module.register_forward_hook(
                    lambda _, given, out: kept.append((out[0] if isinstance(out, tuple) else out)[0].numpy())
                )
            self.reference.model(torch.tensor([TOKENS]), use_cache=False)
            handle.remove()
        values: Float32 = kept[0]
        return values if patch.head is None else values[:, patch.head * 16 : (patch.head + 1) * 16]

    def log_odds(self, patch: Patch, direction: Direction, injections: tuple[Injection, ...]) -> float:
        base, source = ((injections, ()), ((), injections))[direction == "added"]
        group = next(one for one in GROUPS if one.name == patch.group)
        values = self.activation(patch, source)[group.start : group.stop]
        replaced = Injection(patch.layer, values, group.start, group.stop, patch.site, "replace", patch.head)
        logits = self.reference.logits(TOKENS, (*base, replaced))[-1].astype(np.float64)
        return float(np.logaddexp(*logits[[11, 12]]) - np.logaddexp(*logits[[13, 14]]))


@pytest.mark.parametrize("family", ["gemma2", in_slow_tests("llama")])
def test_twenty_random_cells_agree_with_hooks_by_hand(opened: Opened, tiny: Callable[[str], Path], family: str) -> None:
    by_hand = ByHand(tiny(family), family)
    found = patched(opened, "torch", family)
    assert len(cells(20)) == 20
    moved = []
    for patch in cells(20):
        for direction, readings in (("removed", found.removed), ("added", found.added)):
            expected = by_hand.log_odds(patch, direction, dialogue().injections)  # type: ignore[arg-type]
            assert readings[patch].log_odds == pytest.approx(expected, abs=1e-4)
            moved.append(abs(found.shift(patch, direction)))  # type: ignore[arg-type]
    assert sum(shift > 1e-3 for shift in moved) > 20, "patches that move nothing prove nothing"


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_both_backends_find_the_same_map(opened: Opened, family: str) -> None:
    torch, mlx = (patched(opened, name, family) for name in BACKENDS)
    ours: Any
    theirs: Any
    for ours, theirs in ((torch.removed, mlx.removed), (torch.added, mlx.added), (torch.everything, mlx.everything)):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert ours[key].log_odds == pytest.approx(theirs[key].log_odds, abs=1e-4)
            assert ours[key].name == pytest.approx(theirs[key].name, abs=1e-4)


@pytest.mark.parametrize("name", BACKENDS)
def test_patching_everything_gives_the_other_run(opened: Opened, name: str) -> None:
    found = patched(opened, name, "llama")
    assert found.gap() != pytest.approx(0, abs=0.01)
    for reading, end in ((found.everything["removed"], found.clean), (found.everything["added"], found.injected)):
        assert reading.log_odds == pytest.approx(end.log_odds, abs=1e-5)
        assert reading.name == pytest.approx(end.name, abs=1e-5)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_run_that_does_not_come_to_the_other_one_is_an_error(
    opened: Opened, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Activations that belong to other positions are not those of the other run."""
    backend = opened(name, "llama")
    capture = backend.capture

    def off(*args: Any, **kwargs: Any) -> Any:
        found = capture(*args, **kwargs)
        return [{site: values[:, ::-1] for site, values in one.items()} for one in found]

    monkeypatch.setattr(backend, "capture", off)
    with pytest.raises(InjectionError, match="every layer patched"):
        patch_runs(backend, dialogue(), cells(2))


def test_a_patch_that_is_not_proven_is_an_error(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    backend: Any = opened("torch", "llama")
    network, score = type(backend.network), backend.score_proven
    site = network.site

    def unheard(*args: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(
                network, "site", lambda self, layer, which: _Deaf() if layer == 3 else site(self, layer, which)
            )
            return score(*args)

    monkeypatch.setattr(backend, "score_proven", unheard)
    with pytest.raises(InjectionError, match="should touch"):
        patch_runs(backend, dialogue(), [Patch(3, "mlp_out", "last")])


class _Deaf:
    """Takes hooks and never calls them."""

    def register_forward_hook(self, hook: object) -> Any:
        return self

    def parameters(self) -> Any:
        import torch

        return iter([torch.zeros(1)])

    def remove(self) -> None: ...


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"injections": ()}, "without an injection"),
        ({"injections": (Injection(1, np.ones(64, np.float32), 25),)}, "end with the prompt"),
        ({"groups": (PositionGroup("late", 30, 41),)}, "not in 40 tokens"),
    ],
)
def test_a_dialogue_that_cannot_be_patched_is_refused(change: dict[str, Any], complaint: str) -> None:
    given: dict[str, Any] = {
        "tokens": TOKENS,
        "injections": dialogue().injections,
        "groups": GROUPS,
        "options": OPTIONS,
    }
    with pytest.raises(UsageError, match=complaint):
        PatchedDialogue(**(given | change))


ANSWERS = AnswerOptions(yes=((circuits.YES,),), no=((circuits.NO,),), opening=(), name=(21,))


def circuit_map(folder: Path, name: str, vectors: list[Float32]) -> PatchMap:
    if name == "mlx":
        pytest.importorskip("mlx")
    with registry.open_backend(str(folder), name, device="cpu", dtype="float32") as backend:
        patches = patches_of(range(4), SITES, GROUPS, heads=4)
        runs = [
            patch_runs(backend, PatchedDialogue(TOKENS, (Injection(0, vector, 25, 40),), GROUPS, ANSWERS), patches)
            for vector in vectors
        ]
    return PatchMap(tuple(runs))


@pytest.mark.parametrize("name", ["torch", in_slow_tests("mlx")])
@pytest.mark.parametrize("circuit", ["head", "mlp"])
def test_a_planted_circuit_is_where_the_map_has_its_maximum(
    tmp_path: Path, name: str, circuit: circuits.Circuit
) -> None:
    found = circuit_map(circuits.make_circuit(tmp_path, circuit), name, circuits.concepts(5))
    low = found.gap().low
    assert (low or 0.0) > 0.5, "the planted part reports what is injected"
    parts = [patch for patch in found.patches if patch.site != "resid_post"]
    single = [patch for patch in parts if patch.site != "attn_out"]
    planted = Patch(circuits.LAYER, "mlp_out", "window")
    if circuit == "head":
        planted = Patch(circuits.LAYER, "head_out", "window", circuits.HEAD)
    for direction in DIRECTIONS:
        top = found.strongest(direction, patches=single)
        assert (top.layer, top.site, top.head) == (planted.layer, planted.site, planted.head)
        # Not exactly 1: the last norm divides by a stream that holds the injected direction, or does not.
        assert found.share(top, direction).value == pytest.approx(1.0, abs=0.2)
        for patch in single:
            if (patch.layer, patch.site, patch.head) != (planted.layer, planted.site, planted.head):
                assert abs(found.share(patch, direction).value or 0.0) < 0.05
        # In the stream the report lies in the window before that layer, and in the last token after it.
        before = found.share(Patch(circuits.LAYER - 1, "resid_post", "last"), direction).value
        after = found.share(Patch(circuits.LAYER, "resid_post", "last"), direction).value
        assert after == pytest.approx(1.0, abs=0.05)
        assert (before or 0.0) < 0.2 if circuit == "head" else (before or 0.0) > 0.95


@pytest.mark.parametrize("name", ["torch", in_slow_tests("mlx")])
def test_the_map_of_a_model_without_a_circuit_is_flat(tmp_path: Path, name: str) -> None:
    found = circuit_map(circuits.make_circuit(tmp_path, "none"), name, circuits.concepts(5))
    shifts = [found.shift(patch, direction) for patch in found.patches for direction in DIRECTIONS]
    for one in (found.gap(), *shifts):
        # Its interval holds 0, up to rounding.
        assert one.count == 5
        assert (one.low or 0.0) - 1e-5 <= 0 <= (one.high or 0.0) + 1e-5
