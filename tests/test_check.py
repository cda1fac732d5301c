from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlxintro.backends.base import (
    Backend,
    Completion,
    Float32,
    Injection,
    MemoryUse,
    OnToken,
    Prompt,
    Proof,
    Request,
    Site,
)
from mlxintro.backends.registry import open_backend
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.tools.check import CheckLine, run_checks

ALL = ("model", "coherent text", "activations", "strength 0", "injection proof", "left as it was", "memory", "speed")

Captured = Iterator[tuple[int, dict[Site, Float32], tuple[Proof, ...]]]


def checked(backend: Backend) -> dict[str, CheckLine]:
    with backend:
        return {line.name: line for line in run_checks(backend)}


def failures(backend: Backend) -> dict[str, CheckLine]:
    """The lines that failed, of one or more."""
    lines = checked(backend)
    assert tuple(lines) == ALL, "a failing check does not stop the others"
    assert all(line.advice for line in lines.values() if not line.passed), "each says what to do"
    return {name: line for name, line in lines.items() if not line.passed}


@pytest.mark.parametrize(
    ("backend", "family", "dtype"),
    [("torch", "llama", None), ("torch", "gemma3", None), ("torch", "qwen3", "bfloat16"), ("mlx", "qwen2", None)],
)
def test_a_random_model_fails_at_most_in_what_it_says(
    tiny: Callable[[str], Path], backend: str, family: str, dtype: str | None
) -> None:
    opened = open_backend(str(tiny(family)), backend, device="cpu", dtype=dtype)
    failed = failures(opened)
    assert set(failed) <= {"coherent text"}
    for line in failed.values():
        assert "untrained" in line.advice


def test_the_simulated_subject_passes_everything() -> None:
    lines = checked(FakeBackend("detector"))
    assert all(line.passed and line.detail for line in lines.values())
    assert not any(line.advice for line in lines.values())


def without(prompt: Prompt) -> Prompt:
    return replace(prompt, injections=())


class Silent(FakeBackend):
    """Loses every injection and has nothing to show for it."""

    def _generate(self, requests: Sequence[Request], on_token: OnToken | None) -> Iterator[Completion]:
        return super()._generate([replace(r, prompt=without(r.prompt)) for r in requests], on_token)

    def _capture(self, prompts: Sequence[Prompt], *rest: Any) -> Captured:
        return super()._capture([without(prompt) for prompt in prompts], *rest)


class Lying(FakeBackend):
    """Loses every injection while reading, and says it did not."""

    def _capture(self, prompts: Sequence[Prompt], *rest: Any) -> Captured:
        honest = super()._capture(prompts, *rest)
        for (index, _, proofs), (_, plain, _) in zip(
            honest, super()._capture([without(prompt) for prompt in prompts], *rest), strict=True
        ):
            yield index, plain, proofs


class Late(FakeBackend):
    """Injects one position too late."""

    def _generate(self, requests: Sequence[Request], on_token: OnToken | None) -> Iterator[Completion]:
        return super()._generate([replace(r, prompt=shifted(r.prompt)) for r in requests], on_token)

    def _capture(self, prompts: Sequence[Prompt], *rest: Any) -> Captured:
        return super()._capture([shifted(prompt) for prompt in prompts], *rest)


def shifted(prompt: Prompt) -> Prompt:
    return replace(prompt, injections=tuple(replace(i, start=i.start + 1) for i in prompt.injections))


class Weak(FakeBackend):
    """Adds half of what it should."""

    def _capture(self, prompts: Sequence[Prompt], *rest: Any) -> Captured:
        def weakened(one: Injection) -> Injection:
            return replace(one, vector=one.vector / np.float32(2))

        halved = [replace(p, injections=tuple(map(weakened, p.injections))) for p in prompts]
        return super()._capture(halved, *rest)


class Spilling(FakeBackend):
    """Injects before the window, too, and says it did not."""

    def _capture(self, prompts: Sequence[Prompt], *rest: Any) -> Captured:
        wide = [
            replace(p, injections=tuple(replace(i, start=i.start - 1) for i in p.injections if i.start))
            for p in prompts
        ]
        for (index, spilled, _), (_, _, proofs) in zip(
            super()._capture(wide, *rest), super()._capture(prompts, *rest), strict=True
        ):
            yield index, spilled, proofs


@pytest.mark.parametrize("broken", [Silent, Lying, Late, Weak, Spilling])
def test_an_injection_that_does_not_arrive_as_planned_fails_the_proof(broken: type[FakeBackend]) -> None:
    failed = failures(broken("detector"))
    assert "injection proof" in failed
    assert "do not use this model" in failed["injection proof"].advice


class Leaky(FakeBackend):
    """Never forgets what was injected."""

    left = 0

    def _capture(self, prompts: Sequence[Prompt], *rest: Any) -> Captured:
        for index, captured, proofs in super()._capture(prompts, *rest):
            yield index, {site: array + np.float32(self.left) for site, array in captured.items()}, proofs
            self.left += sum(bool(np.any(i.vector)) for i in prompts[index].injections)


def test_an_injection_that_stays_behind_is_found() -> None:
    assert "left as it was" in failures(Leaky("detector"))


class Restless(FakeBackend):
    """An injection of nothing changes something."""

    def _capture(self, prompts: Sequence[Prompt], *rest: Any) -> Captured:
        for index, captured, proofs in super()._capture(prompts, *rest):
            extra = np.float32(1e-6 * len(prompts[index].injections))
            yield index, {site: array * (1 + extra) for site, array in captured.items()}, proofs


def test_a_zero_strength_that_changes_the_last_bit_is_found() -> None:
    assert "strength 0" in failures(Restless("detector"))


class Overflowing(FakeBackend):
    def _capture(self, prompts: Sequence[Prompt], *rest: Any) -> Captured:
        for index, captured, proofs in super()._capture(prompts, *rest):
            for array in captured.values():
                array[-1, 0, 0] = np.inf
            yield index, captured, proofs


def test_activations_that_overflow_are_found_and_the_layer_is_named() -> None:
    failed = failures(Overflowing("detector"))
    assert "layers [7]" in failed["activations"].detail
    assert "--dtype" in failed["activations"].advice


class Full(FakeBackend):
    def memory(self) -> MemoryUse:
        return MemoryUse(used=99, free=1, peak=99)


def test_memory_that_is_nearly_gone_is_found() -> None:
    assert set(failures(Full("detector"))) == {"memory"}


class Babbling(FakeBackend):
    def _generate(self, requests: Sequence[Request], on_token: OnToken | None) -> Iterator[Completion]:
        for done in super()._generate(requests, on_token):
            yield replace(done, text="the the the the the the the the the the the the the the the the")


def test_text_that_is_no_text_is_found() -> None:
    failed = failures(Babbling("detector"))
    assert set(failed) == {"coherent text"}
    assert "the the" in failed["coherent text"].detail
