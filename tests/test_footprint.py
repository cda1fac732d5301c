"""What is predicted of a cache is what its arrays take, once a batch has been read and continued."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlx.utils import tree_flatten

from mlxintro.backends import registry
from mlxintro.backends.base import Injection, Prompt
from mlxintro.backends.machine import footprint
from mlxintro.backends.machine.footprint import predict
from mlxintro.backends.mlxlm.backend import MLXBackend
from mlxintro.backends.mlxlm.reader import MLXPromptReader
from mlxintro.backends.pytorch.backend import TorchBackend
from mlxintro.backends.pytorch.past.slots import SlotCache

ROWS = 5
LENGTHS = [(30, 3, 20), (300, 3, 280), (300, 3, 200), (300, 70, 280), (40, 3, 0), (200, 90, 190)]
"""Tokens of prompt and reply, and where the injection begins."""


def prompts_of(length: int, start: int) -> list[Prompt]:
    vectors = np.random.default_rng(0).standard_normal((ROWS, 64)).astype(np.float32)
    tokens = tuple(5 + at % 200 for at in range(length))
    return [Prompt(tokens, (Injection(1, vector, start),)) for vector in vectors]


def predicted(backend: Any, length: int, new: int, start: int) -> int:
    return predict(backend.shape, rows=ROWS, prompt_tokens=length, new_tokens=new, shared_prefix=start).cache


@pytest.mark.parametrize(("length", "new", "start"), LENGTHS)
def test_torch_caches(tiny: Callable[[str], Path], length: int, new: int, start: int) -> None:
    with registry.open_backend(str(tiny("llama")), "torch", device="cpu") as backend:
        assert isinstance(backend, TorchBackend)
        prompts = prompts_of(length, start)
        stream = backend._reader(prompts).read(prompts)
        for _ in range(new - 1):
            stream.step([7] * ROWS)
        held = sum(store.nbytes for store in stream.cache.stores())
        assert held == pytest.approx(predicted(backend, length, new, start), rel=0.01)


@pytest.mark.parametrize(("length", "new", "start"), LENGTHS)
def test_mlx_caches(tiny: Callable[[str], Path], length: int, new: int, start: int) -> None:
    import mlx.core as mx

    with registry.open_backend(str(tiny("llama")), "mlx", device="cpu") as backend:
        assert isinstance(backend, MLXBackend)
        prompts = prompts_of(length, start)
        batch, _ = MLXPromptReader(backend._network, prompts).read(prompts)
        for _ in range(new - 1):
            batch.step(mx.array([7] * ROWS))
        held = sum(array.nbytes for cache in batch._caches for _, array in tree_flatten([cache.keys, cache.values]))
        assert held == predicted(backend, length, new, start)


def test_a_forked_prefix_has_its_room_at_once(tiny: Callable[[str], Path]) -> None:
    """Grown later, the prefix would be held twice: its copies, and the larger ones beside them."""
    with registry.open_backend(str(tiny("llama")), "torch", device="cpu") as backend:
        assert isinstance(backend, TorchBackend)
        reader = backend._reader(prompts_of(60, 50))
        source: SlotCache = reader._beginning(len(reader._shared)).cache
        rows = source.fork([0] * ROWS, 50, room=124)
        assert rows.holds(ROWS, 124)
        for forked, single in zip(rows.stores(), source.stores(), strict=True):
            assert (forked[:, :, :50] == single[:, :, :50]).all()
            assert (forked[:, :, 50:] == 0).all()


def test_graphs_take_memory_of_their_own_that_is_counted() -> None:
    shape = footprint.Shape(weights=10**9, cached=46_080, width=576, inner=1536, vocabulary=49_152, item=2)
    work = {"rows": 8, "prompt_tokens": 100, "new_tokens": 50}
    plain, recorded = (predict(replace(shape, recorded=graphs), **work) for graphs in (False, True))
    # At least every row's logits, in 16 bits and in 32.
    assert recorded.total - plain.total >= 8 * 49_152 * 6
