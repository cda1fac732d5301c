"""What prompts begin with is computed once, and equally on both backends: counted where tokens enter the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mlx.core")

from mlxintro.backends.base import Injection, Prompt, Request, Sampling
from mlxintro.backends.mlxlm import backend as mlx_backend
from mlxintro.backends.mlxlm.backend import MLXBackend
from mlxintro.backends.mlxlm.patch import patched
from mlxintro.backends.models.sources import read_folder
from mlxintro.backends.prefix import common_injections, groups, shared_prefix, usable
from mlxintro.backends.pytorch import backend as torch_backend
from mlxintro.backends.pytorch.backend import TorchBackend

VECTOR = np.full(64, 0.5, np.float32)
COMMON = tuple(np.random.default_rng(0).integers(4, 440, 198).tolist())

Pair = tuple[TorchBackend, MLXBackend]


@pytest.fixture(scope="module", params=["llama", "gemma3"])
def both(request: pytest.FixtureRequest, tiny: Callable[[str], Path]) -> Iterator[Pair]:
    """Gemma 3's sliding layers have caches that forget: what they hold cannot be cut back."""
    folder = tiny(request.param)
    source = read_folder(folder, name="tiny", repository=str(folder))
    with (
        torch_backend.load(source, device="cpu", batch_size=16) as torch,
        mlx_backend.load(source, batch_size=16) as mlx,
    ):
        yield torch, mlx


@contextmanager
def counted(backend: TorchBackend | MLXBackend) -> Iterator[list[int]]:
    """How many tokens enter the model in each forward pass."""
    sizes: list[int] = []
    if isinstance(backend, TorchBackend):
        handle = backend.network.model.get_input_embeddings().register_forward_pre_hook(
            lambda module, inputs: sizes.append(inputs[0].numel())
        )
        yield sizes
        handle.remove()
        return

    def look(stream: object) -> object:
        sizes.append(stream.shape[0] * stream.shape[1])  # type: ignore[attr-defined]
        return stream

    with patched([(backend._network.model.model.embed_tokens, look)]):  # type: ignore[list-item]
        yield sizes


def prompt(ending: int, start: int | None = None) -> Prompt:
    tokens = (*COMMON, *range(5, 5 + ending))
    return Prompt(tokens, () if start is None else (Injection(1, VECTOR, start),))


SHARED = Injection(1, VECTOR, 50)
"""One and the same in all prompts, so that what it does is read once as well."""
MIXTURES = {
    "one of sixteen injected at position 0": [prompt(4, 0 if row == 5 else None) for row in range(16)],
    "windows that begin at two places": [prompt(6, 60 if row % 2 else 190) for row in range(8)],
    "endings of several lengths": [prompt(3 + row, None if row % 3 else 150) for row in range(8)],
    "variants of one injected run": [
        Prompt(prompt(6).tokens, (SHARED, Injection(1 + row % 2, VECTOR, 120, 180 + row, operation="replace")))
        for row in range(9)
    ],
    "nothing in common": [Prompt(tuple(range(5 + row, 40 + row))) for row in range(4)],
}


@pytest.mark.parametrize("prompts", MIXTURES.values(), ids=MIXTURES.keys())
def test_both_backends_compute_the_same_tokens_and_no_beginning_twice(both: Pair, prompts: list[Prompt]) -> None:
    spent = []
    for backend in both:
        if isinstance(backend, MLXBackend):
            # Asked once per model, whether rows of different lengths may run together.
            assert backend._network.padding is not None
        with counted(backend) as sizes:
            list(backend.generate([Request(each, Sampling(max_tokens=1)) for each in prompts]))
        spent.append(sum(sizes))
    common = len(common_injections(prompts))
    shared = shared_prefix(prompts, common)
    begun = [usable(each, shared, common) for each in prompts]
    lengths = [len(each.tokens) for each in prompts]
    expected = len(shared) + sum(
        len(members) * (max(lengths[at] for at in members) - first) for first, members in groups(lengths, begun)
    )
    assert spent[0] == expected
    # What has been forgotten is read again, once for each place where rows go on from.
    again = {first for first, _ in groups(lengths, begun)} - {0, len(shared)}
    forgets = "gemma3" in both[1].info.architecture and len(shared) > 32
    assert spent[1] == expected + (sum(again) if forgets else 0)


def test_fifteen_of_sixteen_share_what_the_sixteenth_cannot() -> None:
    prompts = MIXTURES["one of sixteen injected at position 0"]
    begun = [usable(each, shared_prefix(prompts)) for each in prompts]
    assert sorted(begun) == [0, *[201] * 15]


@pytest.mark.parametrize("prompts", MIXTURES.values(), ids=MIXTURES.keys())
def test_rows_read_from_a_shared_beginning_say_what_they_say_alone(both: Pair, prompts: list[Prompt]) -> None:
    requests = [Request(each, Sampling(max_tokens=6, temperature=0.8, seed=row)) for row, each in enumerate(prompts)]
    for backend in both:
        replies = sorted(backend.generate(requests), key=lambda reply: reply.index)
        for request, reply in list(zip(requests, replies, strict=True))[::3]:
            (alone,) = backend.generate([request])
            assert (reply.tokens, reply.forwarded) == (alone.tokens, alone.forwarded)
            for ours, theirs in zip(reply.proofs, alone.proofs, strict=True):
                assert (ours.positions, ours.first, ours.last) == (theirs.positions, theirs.first, theirs.last)
