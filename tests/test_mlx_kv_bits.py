"""Quantised keys and values on MLX, against mlx-lm's own caches used by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlxintro.backends.base import Completion, Injection, Prompt, Request, Sampling
from mlxintro.backends.errors import UsageError
from mlxintro.backends.machine.footprint import Shape
from mlxintro.backends.models.sources import read_folder
from mlxintro.backends.registry import open_backend
from tests.tiny import VOCABULARY, make_tiny

mx = pytest.importorskip("mlx.core")
cache = pytest.importorskip("mlx_lm.models.cache")

WIDTH = 128
"""Heads of 32 numbers: one group."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("llama", tmp_path_factory.mktemp("wide"), width=WIDTH)


def load(folder: Path, **settings: Any) -> Any:
    from mlxintro.backends.mlxlm import backend as mlx_backend

    return mlx_backend.load(read_folder(folder, name=folder.name, repository="tiny"), dtype="float32", **settings)


def tokens(length: int, seed: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng(seed).integers(4, VOCABULARY, length).tolist())


def mixture() -> list[Request]:
    head = tokens(20, 0)
    requests = []
    for row in range(7):
        vector = np.random.default_rng(50 + row).normal(size=WIDTH).astype(np.float32)
        injections = (Injection(row % 4, 2 * vector, start=22),) if row else ()
        requests.append(Request(Prompt(head + tokens(4 + row % 3, row), injections), Sampling(max_tokens=6 + 3 * row)))
    return requests


def replies(backend: Any, requests: list[Request]) -> list[Completion]:
    return sorted(backend.generate(requests), key=lambda reply: reply.index)


def by_hand(model: Any, prompt: tuple[int, ...], count: int, bits: int) -> list[int]:
    """Greedy tokens, one row, the prompt in one piece."""
    caches = [cache.QuantizedKVCache(group_size=32, bits=bits) for _ in model.layers]
    said: list[int] = []
    feed = list(prompt)
    while len(said) < count:
        logits = model(mx.array([feed]), cache=caches)
        feed = [int(mx.argmax(logits[0, -1]))]
        said += feed
    return said


@pytest.mark.parametrize("bits", [4, 8])
def test_a_reply_is_what_mlx_lm_says_with_its_own_quantised_cache(folder: Path, bits: int) -> None:
    sampling = Sampling(max_tokens=24, stop=())
    prompts = [tokens(30, seed) for seed in range(4)]
    with load(folder, kv_bits=bits) as backend:
        said = replies(backend, [Request(Prompt(prompt), sampling) for prompt in prompts])
        model = backend._network.model
        for prompt, reply in zip(prompts, said, strict=True):
            assert list(reply.tokens) == by_hand(model, prompt, 24, bits)[: len(reply.tokens)]
            assert len(reply.tokens) > 5


def test_a_row_does_not_depend_on_its_batch(folder: Path) -> None:
    requests = mixture()
    with load(folder, kv_bits=8) as backend:
        together = replies(backend, requests)
        alone = [reply for request in requests for reply in replies(backend, [request])]
        backend.batch_size = 3
        in_threes = replies(backend, requests)
    assert [reply.tokens for reply in together] == [reply.tokens for reply in alone]
    assert [reply.tokens for reply in in_threes] == [reply.tokens for reply in alone]
    assert [[proof.positions for proof in reply.proofs] for reply in together] == [
        [proof.positions for proof in reply.proofs] for reply in alone
    ]


def test_few_bits_change_what_is_computed_and_more_change_less(folder: Path) -> None:
    prompt = Prompt(tokens(40, 9))
    wanted = [[list(tokens(12, 10))]]
    scores = {}
    for bits in (None, 8, 4):
        with load(folder, kv_bits=bits) as backend:
            scores[bits] = np.array(backend.score([prompt], wanted)[0][0])
            quantised = "none" if bits is None else f"none, keys and values {bits}-bit"
            assert backend.info.quantization == quantised
    off = {bits: np.abs(scores[bits] - scores[None]).max() for bits in (8, 4)}
    assert 0 < off[8] < off[4]


def test_what_cannot_be_is_told(tiny: Callable[[str], Path]) -> None:
    # Heads of 16 numbers fill no group; Gemma 3 has rotating caches; Gemma 2 writes its own attention.
    for family in ("llama", "gemma3", "gemma2"):
        with pytest.raises(UsageError, match="leave out --kv-bits"):
            load(tiny(family), kv_bits=8)
    for backend in ("torch", "fake"):
        with pytest.raises(UsageError, match="by MLX only"):
            open_backend("detector" if backend == "fake" else str(tiny("llama")), backend, kv_bits=8)


def test_the_prediction_counts_what_a_cache_of_mlx_lm_takes() -> None:
    heads, layers, columns = 2, 3, 256
    one = cache.QuantizedKVCache(group_size=64, bits=8)
    filled = mx.ones((1, heads, columns, 64), mx.float16)
    one.update_and_fetch(filled, filled)
    config = {
        "num_hidden_layers": layers,
        "num_key_value_heads": heads,
        "num_attention_heads": 4,
        "head_dim": 64,
        "hidden_size": 256,
        "vocab_size": 100,
        "torch_dtype": "float16",
    }
    shape = Shape.of(config, 10**6, kv_bits=8, backend="mlx")
    assert shape is not None
    assert shape.cached * columns == layers * one.nbytes
