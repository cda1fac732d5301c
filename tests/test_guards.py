"""What the instrument promises never to let through: a wrong proof, a lost injection, memory that is not given back.

Every test here stands for a guard that a change elsewhere could take out without any figure moving.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlxintro.backends.base import Completion, Float32, Injection, Prompt, Proof, Request, Sampling, Site
from mlxintro.backends.checks import check_proofs
from mlxintro.backends.errors import InjectionError, ModelError, OutOfMemory
from mlxintro.backends.sampling import uniforms
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.grading.passes import grade_run
from mlxintro.grading.rules.grader import RulesGrader
from mlxintro.store import Store

WIDTH = 8
TOKENS = tuple(range(10))
PLAIN = Injection(2, np.ones(WIDTH, np.float32), start=3, stop=7)
PROVEN = Proof(2, "resid_post", "add", positions=4, first=3, last=6, change=1.0, relative_change=0.1)

Lie = Callable[[tuple[Proof, ...]], tuple[Proof, ...]]

LIES: dict[str, Lie] = {
    "no proof at all": lambda proofs: (),
    "one proof too few": lambda proofs: proofs[:-1],
    "one proof too many": lambda proofs: (*proofs, proofs[0]),
    "proofs in another order": lambda proofs: proofs[::-1],
    "a position too few": lambda proofs: _changed(proofs, positions=proofs[0].positions - 1),
    "a position too many": lambda proofs: _changed(proofs, positions=proofs[0].positions + 1),
    "another first position": lambda proofs: _changed(proofs, first=_next(proofs[0].first)),
    "another last position": lambda proofs: _changed(proofs, last=_next(proofs[0].last)),
    "the window shifted by one": lambda proofs: _changed(
        proofs, first=_next(proofs[0].first), last=_next(proofs[0].last)
    ),
    "nothing touched": lambda proofs: _changed(proofs, positions=0, first=None, last=None, change=0.0),
    "another layer": lambda proofs: _changed(proofs, layer=proofs[0].layer + 1),
    "another site": lambda proofs: _changed(proofs, site="mlp_out"),
    "a stream left as it was": lambda proofs: _changed(proofs, change=0.0),
    "a change that is no number": lambda proofs: _changed(proofs, change=float("nan")),
}
"""What a backend could report wrongly of two injections, at layers 1 and 2."""


def _next(position: int | None) -> int:
    return -1 if position is None else position + 1


def _changed(proofs: tuple[Proof, ...], **fields: Any) -> tuple[Proof, ...]:
    return (replace(proofs[0], **fields), *proofs[1:])


def test_the_proof_that_its_window_demands_is_accepted() -> None:
    check_proofs(Prompt(TOKENS, (PLAIN,)), 10, (PROVEN,))


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_proof_that_differs_from_its_window_in_anything_is_refused(lie: Lie) -> None:
    second = replace(PROVEN, layer=3)
    prompt = Prompt(TOKENS, (PLAIN, replace(PLAIN, layer=3)))
    check_proofs(prompt, 10, (PROVEN, second))
    with pytest.raises(InjectionError):
        check_proofs(prompt, 10, lie((PROVEN, second)))


@pytest.mark.parametrize(
    ("start", "stop", "forwarded", "positions", "first", "last"),
    [
        (3, 7, 10, 4, 3, 6),
        (3, 7, 5, 2, 3, 4),
        (3, None, 10, 7, 3, 9),
        (0, 1, 10, 1, 0, 0),
        (9, None, 10, 1, 9, 9),
        (10, None, 10, 0, None, None),
        (12, 14, 10, 0, None, None),
    ],
)
def test_a_window_is_held_against_the_positions_that_were_read(
    start: int, stop: int | None, forwarded: int, positions: int, first: int | None, last: int | None
) -> None:
    prompt = Prompt(TOKENS, (replace(PLAIN, start=start, stop=stop),))
    change = 1.0 if positions else 0.0
    right = replace(PROVEN, positions=positions, first=first, last=last, change=change)
    check_proofs(prompt, forwarded, (right,))
    for wrong in (replace(right, positions=positions + 1), replace(right, first=99), replace(right, last=99)):
        with pytest.raises(InjectionError):
            check_proofs(prompt, forwarded, (wrong,))


@pytest.mark.parametrize(
    ("vector", "operation"),
    [(np.zeros(WIDTH, np.float32), "add"), (np.ones(WIDTH, np.float32), "ablate"), (np.ones(WIDTH), "replace")],
)
def test_an_injection_that_may_change_nothing_is_not_asked_to(vector: Any, operation: Any) -> None:
    """Strength 0 adds nothing, and what is projected out or put in may be what was there."""
    injection = replace(PLAIN, vector=vector, operation=operation)
    check_proofs(Prompt(TOKENS, (injection,)), 10, (replace(PROVEN, operation=operation, change=0.0),))


class Liar(FakeBackend):
    """Works as any backend, and reports other proofs than it measured."""

    lie: Lie = staticmethod(lambda proofs: proofs)

    def _generate(self, requests: Any, on_token: Any) -> Iterator[Completion]:
        for completion in super()._generate(requests, on_token):
            yield replace(completion, proofs=self.lie(completion.proofs))

    def _capture(self, *args: Any) -> Iterator[tuple[int, dict[Site, Float32], tuple[Proof, ...]]]:
        for index, found, proofs in super()._capture(*args):
            yield index, found, self.lie(proofs)

    def _score(self, *args: Any) -> Iterator[tuple[int, int, Float32, tuple[Proof, ...]]]:
        for index, option, logprobs, proofs in super()._score(*args):
            yield index, option, logprobs, self.lie(proofs)


def injected(backend: FakeBackend) -> Prompt:
    tokens = backend.tokenizer.encode("Do you notice an injected thought about the sea today?").tokens
    vector = np.ones(backend.info.width, np.float32)
    return Prompt(tokens, (Injection(1, vector, 2, len(tokens)), Injection(2, 2 * vector, 3, len(tokens))))


CALLS: dict[str, Callable[[FakeBackend, Prompt], Any]] = {
    "generate": lambda backend, prompt: list(backend.generate([Request(prompt, Sampling(max_tokens=3))])),
    "capture": lambda backend, prompt: backend.capture([prompt]),
    "score": lambda backend, prompt: backend.score([prompt], [[(5,), (6, 7)]]),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_no_operation_hands_out_what_a_backend_proves_wrongly(call: Callable[..., Any], lie: Lie) -> None:
    backend = Liar("null")
    prompt = injected(backend)
    call(backend, prompt)
    backend.lie = lie
    with pytest.raises(InjectionError):
        call(backend, prompt)


class Full(FakeBackend):
    """Runs out of memory with something large in its hands."""

    def __init__(self) -> None:
        super().__init__("null")
        self.held: weakref.ref[Any] | None = None
        self.held_when_released = True

    def _fills(self) -> Iterator[Any]:
        large = np.zeros(1000, np.float32)
        self.held = weakref.ref(large)
        yield from ()
        raise MemoryError("no room")

    def _generate(self, requests: Any, on_token: Any) -> Iterator[Completion]:
        return self._fills()

    def _capture(self, *args: Any) -> Iterator[Any]:
        return self._fills()

    def _score(self, *args: Any) -> Iterator[Any]:
        return self._fills()

    def _lens(self, rows: Float32, tokens: Sequence[int] | None) -> Iterator[Float32]:
        return self._fills()

    def _release(self) -> None:
        assert self.held is not None
        self.held_when_released = self.held() is not None


@pytest.mark.parametrize("name", [*CALLS, "lens"])
def test_exhausted_memory_is_told_after_what_filled_it_is_gone(name: str) -> None:
    backend = Full()
    prompt = injected(backend)
    calls = {**CALLS, "lens": lambda backend, _: backend.lens(np.zeros((1, backend.info.width), np.float32))}
    gc.disable()
    try:
        with pytest.raises(OutOfMemory, match="rows at once"):
            calls[name](backend, prompt)
    finally:
        gc.enable()
    assert not backend.held_when_released


class Scaled(FakeBackend):
    """Adds half of what its attention reports to the stream, as families with residual multipliers do."""

    def _capture(self, *args: Any) -> Iterator[tuple[int, dict[Site, Float32], tuple[Proof, ...]]]:
        for index, found, proofs in super()._capture(*args):
            yield index, {site: 2 * part if site == "attn_out" else part for site, part in found.items()}, proofs


@pytest.mark.parametrize("site", ["attn_out", "mlp_out"])
def test_sites_that_do_not_add_up_to_a_block_are_refused_wherever_they_are_used(site: Site) -> None:
    backend = Scaled("null")
    tokens = backend.tokenizer.encode("Do you notice an injected thought?").tokens
    prompt = Prompt(tokens, (Injection(1, np.ones(backend.info.width, np.float32), 2, site=site),))
    for call in (*CALLS.values(), lambda backend, _: backend.capture([Prompt(tokens)], sites=[site])):
        with pytest.raises(ModelError, match="use the site resid_post"):
            call(backend, prompt)
    backend.capture([Prompt(tokens)])


def test_every_seed_has_numbers_of_its_own_whatever_is_drawn_beside_it() -> None:
    for seed in (0, 7, 2**40):
        expected = np.random.Generator(np.random.Philox(key=np.random.Philox(seed).state["state"]["key"])).random(6)
        np.testing.assert_array_equal(uniforms(seed, 6), expected)
        np.testing.assert_array_equal(uniforms(seed, 3), expected[:3])
    assert len({tuple(uniforms(seed, 4)) for seed in range(50)}) == 50


class Versioned(RulesGrader):
    """The rules under a version of one's choosing."""

    def __init__(self, version: str) -> None:
        super().__init__()
        self._told = version

    @property
    def version(self) -> str:
        return self._told


def test_replies_are_graded_again_by_another_version_of_the_grader_and_only_by_that(home: Path) -> None:
    with Store(home / "mlxintro.db") as store:
        run = store.runs.find("first")
        first = grade_run(store, run, Versioned("one"))
        assert (first.graded, first.skipped) == (18, 0)
        assert (grade_run(store, run, Versioned("one")).graded, grade_run(store, run, Versioned("two")).graded) == (
            0,
            18,
        )
