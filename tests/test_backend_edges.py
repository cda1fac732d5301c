"""Requests at the edges of what a backend promises, and rows that enter while others are under way.

The other side of each comparison is the same request asked for alone, with nothing beside it and nothing refilled.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlxintro.backends.base import (
    SITES,
    Backend,
    Completion,
    Float32,
    Injection,
    Prompt,
    Proof,
    Request,
    Sampling,
    Tokenizer,
)
from mlxintro.backends.engine import run
from mlxintro.backends.errors import KnownError, ModelError, UsageError
from mlxintro.backends.models.sources import read_folder
from mlxintro.backends.models.tokenizer import ChatTokenizer
from mlxintro.backends.visible import Visible
from tests.matrix import some_families
from tests.tiny import TORCH_DEVICE

KINDS = [pytest.param(("fake", ""), id="fake"), *some_families("torch", "mlx")]


@pytest.fixture(scope="module", params=KINDS)
def backend(request: pytest.FixtureRequest, tiny: Callable[[str], Path]) -> Iterator[Backend]:
    name, family = request.param
    opened: Backend
    if name == "fake":
        from mlxintro.backends.simulated import backend as fake

        opened = fake.load("detector?hit=0.5&fa=0.2", batch_size=4)
    else:
        folder = tiny(family)
        source = read_folder(folder, name=family, repository=str(folder))
        if name == "torch":
            from mlxintro.backends.pytorch import backend as torch_backend

            opened = torch_backend.load(source, device=TORCH_DEVICE, dtype="float32", batch_size=4)
        else:
            if importlib.util.find_spec("mlx") is None:
                pytest.skip("the mlx library does not exist for this platform")
            from mlxintro.backends.mlxlm import backend as mlx_backend

            opened = mlx_backend.load(source, dtype="float32", batch_size=4)
    with opened:
        yield opened


def tokens(backend: Backend, length: int, seed: int = 0) -> tuple[int, ...]:
    most = min(440, backend.info.vocabulary)
    return tuple(np.random.default_rng(seed).integers(4, most, length).tolist())


def vector(backend: Backend, seed: int, scale: float = 1.0) -> Float32:
    return (np.random.default_rng(seed).normal(size=backend.info.width) * scale).astype(np.float32)


def crowd(backend: Backend, temperature: float = 0.0) -> list[Request]:
    """Eleven rows for a batch of four: one beginning for most, replies and prompts of very different lengths."""
    head = tokens(backend, 20)
    rng = np.random.default_rng(7)
    requests = []
    for row in range(11):
        body = tokens(backend, 2 + row % 3, row + 1)
        ids = tokens(backend, 2, row) if row == 5 else head + tokens(backend, 90, 3) if row == 6 else head + body
        site = SITES[row % 3]
        where = int(rng.integers(0, len(ids)))
        injections = (Injection(row % 3, vector(backend, row), start=where, site=site),) if row % 4 else ()
        sampling = Sampling(int(rng.integers(1, 14)), temperature, 0.9 if row % 2 else 1.0, seed=row)
        requests.append(Request(Prompt(ids, injections), sampling))
    return requests


def together(backend: Backend, requests: Sequence[Request]) -> list[Completion]:
    return sorted(backend.generate(requests), key=lambda completion: completion.index)


def alone(backend: Backend, requests: Sequence[Request]) -> list[Completion]:
    return [replace(next(backend.generate([request])), index=index) for index, request in enumerate(requests)]


def agree(ours: Sequence[Completion], theirs: Sequence[Completion]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        assert (a.index, a.tokens, a.text, a.finish, a.forwarded) == (b.index, b.tokens, b.text, b.finish, b.forwarded)
        for p, q in zip(a.proofs, b.proofs, strict=True):
            assert (p.layer, p.site, p.positions, p.first, p.last) == (q.layer, q.site, q.positions, q.first, q.last)
            assert p.change == pytest.approx(q.change, rel=1e-3)


@pytest.mark.parametrize("temperature", [0.0, pytest.param(0.9, marks=pytest.mark.slow)])
def test_rows_that_enter_late_say_what_they_say_alone(backend: Backend, temperature: float) -> None:
    requests = crowd(backend, temperature)
    agree(together(backend, requests), alone(backend, requests))


def test_one_request_and_one_token(backend: Backend) -> None:
    [request] = [replace(crowd(backend)[1], sampling=Sampling(max_tokens=1))]
    [completion] = backend.generate([request])
    assert (len(completion.tokens), completion.finish) in {(1, "length"), (0, "stop")}
    assert completion.forwarded == len(request.prompt.tokens)


def test_the_same_request_many_times_gives_the_same_reply(backend: Backend) -> None:
    request = crowd(backend, 0.8)[7]
    replies = together(backend, [request] * 9)
    assert len({reply.tokens for reply in replies}) == 1
    assert replies[0].tokens == alone(backend, [request])[0].tokens


def test_generators_drawn_in_turns_and_abandoned_ones_do_not_disturb_each_other(backend: Backend) -> None:
    requests = crowd(backend)[:6]
    expected = alone(backend, requests)
    first, second, third = (backend.generate(requests) for _ in range(3))
    next(third)
    pairs = list(zip(first, second, strict=True))
    third.close()  # type: ignore[attr-defined]
    for side in zip(*pairs, strict=True):
        agree(sorted(side, key=lambda completion: completion.index), expected)
    del third
    agree(together(backend, requests), expected)


@pytest.mark.parametrize(
    "windows", [[(11, 12)], [(11, 400)], [(3, 5), (5, 7)], [(2, 9), (4, 6), (8, None)], [(0, 1), (0, None), (11, 13)]]
)
def test_windows_at_the_edges(backend: Backend, windows: list[tuple[int, int | None]]) -> None:
    ids = tokens(backend, 12, 3)
    injections = tuple(Injection(1, vector(backend, n), start, stop) for n, (start, stop) in enumerate(windows))
    requests = [Request(Prompt(ids, some), Sampling(max_tokens=5)) for some in (injections, (), injections[:1])]
    first, *_ = found = together(backend, requests)
    for proof, (start, stop) in zip(first.proofs, windows, strict=True):
        touched = range(start, first.forwarded)[: None if stop is None else stop - start]
        assert (proof.positions, proof.first, proof.last) == (len(touched), touched[0], touched[-1])
    agree(found, alone(backend, requests))


def test_several_injections_at_one_place_are_their_sum(backend: Backend) -> None:
    ids = tokens(backend, 12, 3)
    a, b = vector(backend, 1), vector(backend, 2)
    [both], [one] = (
        backend.capture([Prompt(ids, injections)], layers=[1])
        for injections in (
            (Injection(1, a, start=2), Injection(1, b, start=2)),
            (Injection(1, a + b, start=2),),
        )
    )
    np.testing.assert_allclose(both["resid_post"], one["resid_post"], rtol=1e-5, atol=1e-5)


def test_captures_without_positions_and_of_duplicates(backend: Backend) -> None:
    prompts = [Prompt(tokens(backend, 9, 1)), Prompt(tokens(backend, 30, 2)), Prompt(tokens(backend, 9, 1))]
    width = backend.info.width
    for captured in backend.capture(prompts, layers=[0, 2], positions=[]):
        assert captured["resid_post"].shape == (2, 0, width)
    assert backend.capture(prompts, layers=[], positions=[0])[0]["resid_post"].shape == (0, 1, width)
    first, _, third = backend.capture(prompts, layers=[2])
    np.testing.assert_allclose(first["resid_post"], third["resid_post"], rtol=1e-5, atol=1e-5)


def test_scores_do_not_depend_on_what_else_is_scored(backend: Backend) -> None:
    prompts = [request.prompt for request in crowd(backend)]
    prompts = [replace(p, injections=tuple(i for i in p.injections if i.start < len(p.tokens))) for p in prompts]
    three: list[list[tuple[int, ...]]] = [[(5,), (6, 7, 8), (5,)], [(9, 10)], []]
    options: list[list[tuple[int, ...]]] = [*three, *three, *three, [(5, 6)], [(5, 6)]]
    found = backend.score(prompts, options)
    for prompt, asked, got in zip(prompts, options, found, strict=True):
        if asked:
            for ours, theirs in zip(got, backend.score([prompt], [asked])[0], strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-4)


def test_streamed_pieces_are_the_reply_of_every_row(backend: Backend) -> None:
    requests = crowd(backend, 0.9)
    pieces: dict[int, str] = {}

    def hear(event: object) -> None:
        pieces[event.index] = pieces.get(event.index, "") + event.text  # type: ignore[attr-defined]

    done = sorted(backend.generate(requests, hear), key=lambda completion: completion.index)
    assert [pieces.get(completion.index, "") for completion in done] == [completion.text for completion in done]


class _Script:
    """A decoder whose rows say a number of tokens that their prompt names; it checks the engine's side of things."""

    def __init__(self, size: int, bad: Sequence[int] = ()) -> None:
        self.size, self.bad = size, set(bad)
        self.rows: list[list[int]] = []
        self.sizes: list[int] = []
        self.entered: list[int] = []

    def admit(self, prompts: Sequence[Prompt]) -> None:
        self.rows += [[prompt.tokens[0], 0] for prompt in prompts]
        self.entered.append(len(prompts))
        assert len(self.rows) <= self.size

    def sample(self, samplings: Sequence[Sampling], draws: object) -> list[int | None]:
        self.sizes.append(len(self.rows))
        return [None if name in self.bad and said == 2 else name for name, said in self.rows]

    def proofs(self, row: int) -> tuple[Proof, ...]:
        return ()

    def keep(self, rows: Sequence[int]) -> None:
        self.rows = [self.rows[row] for row in rows]

    def step(self, fed: Sequence[int]) -> None:
        assert list(fed) == [name for name, _ in self.rows]
        for row in self.rows:
            row[1] += 1


class _Words:
    end_tokens: frozenset[int] = frozenset()

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(map(str, ids))


def scripted(lengths: Sequence[int], size: int, bad: Sequence[int] = ()) -> tuple[_Script, Iterator[Completion]]:
    script = _Script(size, bad)
    requests = [Request(Prompt((name,)), Sampling(max_tokens=length)) for name, length in enumerate(lengths)]
    return script, run(requests, script, _Words(), size, None)  # type: ignore[arg-type]


def test_a_batch_stays_full_while_rows_wait() -> None:
    lengths = np.random.default_rng(1).integers(3, 60, 200).tolist()
    script, replies = scripted(lengths, 16)
    assert {c.index: c.tokens for c in replies} == {name: (name,) * length for name, length in enumerate(lengths)}
    # All but the last rows run at least three quarters full; in batches of fixed rows it would be about half.
    under_way = script.sizes[: -max(lengths)]
    assert min(under_way) > 16 - 4
    assert max(script.entered[1:-1]) <= 16
    assert min(script.entered[:-1]) >= 4


def test_a_row_without_numbers_fails_alone_and_last() -> None:
    _, replies = scripted([5] * 10, 4, bad=[3, 7])
    found: list[Completion] = []
    with pytest.raises(ModelError, match=r"rows 3, 7 of 10 .*lower the strength"):
        found.extend(replies)
    assert sorted(c.index for c in found) == [0, 1, 2, 4, 5, 6, 8, 9]


def test_an_overflow_in_one_row_spares_the_others_and_those_that_take_its_place(tiny: Callable[[str], Path]) -> None:
    from mlxintro.backends.pytorch import backend as torch_backend

    folder = tiny("llama")
    source = read_folder(folder, name="llama", repository=str(folder))
    with torch_backend.load(source, device="cpu", dtype="float16", batch_size=2) as opened:
        ids = tokens(opened, 12)
        fine = [Request(Prompt((*ids, 5 + row)), Sampling(max_tokens=3 + row)) for row in range(5)]
        broken = Request(Prompt(ids, (Injection(1, vector(opened, 1, 1e6), start=4),)), Sampling(max_tokens=9))
        found: list[Completion] = []
        with pytest.raises(KnownError, match=r"row 1 of 6 .*overflowed"):
            found.extend(opened.generate([fine[0], broken, *fine[1:]]))
        by_length = {len(c.tokens): c.tokens for c in found}
        assert by_length == {len(c.tokens): c.tokens for c in alone(opened, fine)}
        assert len(found) == 5


def test_a_closed_backend_refuses_in_one_line(tiny: Callable[[str], Path]) -> None:
    from mlxintro.backends.pytorch import backend as torch_backend

    folder = tiny("llama")
    opened = torch_backend.load(read_folder(folder, name="llama", repository=str(folder)), device="cpu")
    begun = opened.generate([Request(Prompt((5, 6, 7)), Sampling(max_tokens=3))])
    opened.close()
    for call in (
        lambda: next(begun),
        lambda: opened.capture([Prompt((5,))]),
        lambda: opened.score([Prompt((5,))], [[(6,)]]),
    ):
        with pytest.raises(UsageError, match="closed"):
            call()


class _Counted:
    """Any text, and how much was decoded of it."""

    def __init__(self, inner: Tokenizer) -> None:
        self.inner, self.decoded = inner, 0

    def decode(self, ids: Sequence[int]) -> str:
        self.decoded += len(ids)
        return self.inner.decode(ids)


def test_growing_text_is_that_of_all_tokens_and_costs_the_same_per_token(tiny: Callable[[str], Path]) -> None:
    tokenizer = _Counted(ChatTokenizer.load(tiny("llama")))
    # Random ids of a byte-level vocabulary: most of the time in the middle of a character.
    ids = np.random.default_rng(3).integers(0, 400, 600).tolist()
    ids[300:420] = tokenizer.inner.encode("🌊 ocean, naïve – " * 12).tokens[:120]
    visible = Visible(tokenizer)  # type: ignore[arg-type]
    for count in range(1, len(ids) + 1):
        assert visible.text(ids[:count]) == tokenizer.inner.decode(ids[:count])
    assert tokenizer.decoded < 40 * len(ids)
