"""Rows of a batch on MLX: what each says alone, what is read once, and when replies are handed out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx_lm.utils import load_model

from mlxintro.backends.base import Completion, Injection, Prompt, Request, Sampling
from mlxintro.backends.errors import ModelError, OutOfMemory
from mlxintro.backends.mlxlm.backend import MLXBackend
from tests.matrix import in_slow_tests
from tests.mlx_models import injected, load


@pytest.fixture
def model(tiny: Callable[[str], Path]) -> nn.Module:
    return load_model(tiny("llama"))[0]


@pytest.fixture
def backend(tiny: Callable[[str], Path]) -> Iterator[MLXBackend]:
    with load(tiny("llama")) as opened:
        yield opened


def test_rows_of_different_lengths_share_a_batch_where_the_model_can(tiny: Callable[[str], Path]) -> None:
    with load(tiny("gemma3")) as backend:
        assert backend._network.plan([5, 7, 5, 7, 7], 3) == [[0, 2, 1], [3, 4]]


def test_a_model_with_recurrent_state_gives_the_same_replies_in_a_batch(tiny: Callable[[str], Path]) -> None:
    """Mamba's cache has no positions and no padding: rows of one length share it, others do not."""
    from mlx_lm.models.mamba import Model, ModelArgs

    mx.random.seed(0)
    model = Model(
        ModelArgs(
            model_type="mamba",
            vocab_size=448,
            hidden_size=64,
            intermediate_size=128,
            state_size=8,
            num_hidden_layers=3,
            conv_kernel=4,
            use_bias=False,
            use_conv_bias=True,
            time_step_rank=4,
        )
    )
    with load(tiny("llama")) as llama:
        backend = MLXBackend(model, llama.tokenizer, replace(llama.info, layers=3), prefill_chunk=5)
        assert backend._network.padding is None
        assert backend._network.plan([5, 7, 5, 7, 7], 2) == [[0, 2], [1, 3], [4]]
        texts = [tuple(range(5, 5 + length)) for length in (12, 12, 17)]
        vector = np.full(64, 0.5, np.float32)
        rows = [
            Request(Prompt(text, (Injection(1, size * vector, 7),)), Sampling(max_tokens=8))
            for text, size in zip(texts, (1, -3, 1), strict=True)
        ]
        together = {reply.index: reply for reply in backend.generate(rows)}
        for index, row in enumerate(rows):
            [alone] = backend.generate([row])
            assert together[index].tokens == alone.tokens
            assert together[index].proofs[0].positions == len(row.prompt.tokens) - 7 + 7


@pytest.mark.parametrize("family", [*map(in_slow_tests, ("llama", "gemma2")), "gemma3"])
@pytest.mark.parametrize("temperature", [0.9, in_slow_tests(0.0)])
def test_rows_that_enter_a_running_batch_say_what_they_say_alone(
    tiny: Callable[[str], Path], family: str, temperature: float
) -> None:
    """Lengths on both sides of Gemma 3's window of 32, so that its rotating caches have turned when rows enter."""
    noise = np.random.default_rng(3)
    requests = []
    for row in range(11):
        length = int(noise.integers(4, 60))
        text = tuple(range(5, 9)) + tuple(noise.integers(5, 390, length).tolist())
        vector = noise.normal(size=64).astype(np.float32)
        injections = (Injection(row % 4, vector, 4 + row % 3, stop=None if row % 2 else length + 6),)
        sampling = Sampling(max_tokens=int(noise.integers(2, 50)), temperature=temperature, seed=row)
        requests.append(Request(Prompt(text, injections), sampling))
    with load(tiny(family), batch_size=3) as backend:
        together = {reply.index: reply for reply in backend.generate(requests)}
        for index, request in enumerate(requests):
            [alone] = backend.generate([request])
            assert together[index].tokens == alone.tokens
            for ours, theirs in zip(together[index].proofs, alone.proofs, strict=True):
                assert (ours.positions, ours.first, ours.last) == (theirs.positions, theirs.first, theirs.last)
                assert ours.change == pytest.approx(theirs.change, rel=1e-4)


def test_what_a_call_has_in_common_is_read_once(tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with load(tiny("llama"), batch_size=2) as backend:
        kind = type(backend._network.model)
        assert backend._network.padding is not None
        read: list[tuple[int, ...]] = []
        original = kind.__call__

        def counted(self: Any, inputs: mx.array, *args: Any, **kwargs: Any) -> mx.array:
            read.append(inputs.shape)
            return original(self, inputs, *args, **kwargs)

        monkeypatch.setattr(kind, "__call__", counted)
        texts = [(*range(5, 35), 40 + row, 50, 51) for row in range(6)]
        list(backend.generate([Request(Prompt(text), Sampling(max_tokens=1)) for text in texts]))
        # 30 tokens once; of the other three, two are read and the last is fed, in three batches of two.
        assert read == [(1, 30), *[(2, 2), (2, 1)] * 3]
        read.clear()
        backend.score([Prompt(text) for text in texts], [[(7,)]] * 6)
        assert read == [(1, 30), *[(2, 2), (2, 1)] * 3]


def test_a_reply_costs_no_forward_pass_more_than_its_tokens(
    tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with load(tiny("llama")) as backend:
        kind = type(backend._network.model)
        passes: list[int] = []
        original = kind.__call__

        def counted(*args: Any, **kwargs: Any) -> Any:
            passes.append(1)
            return original(*args, **kwargs)

        monkeypatch.setattr(kind, "__call__", counted)
        [reply] = backend.generate([Request(Prompt((5, 6, 7)), Sampling(max_tokens=6))])
        assert reply.finish == "length"
        # Two tokens of the prompt, its last one, and five of the reply: the sixth is never fed.
        assert len(passes) == 1 + 1 + 5


def test_rows_that_overflow_fail_and_the_others_finish(tiny: Callable[[str], Path]) -> None:
    fine = injected(size=1.0)
    # One of them alone stays finite: its norm overflows to infinity, and the stream over it is 0.
    broken = replace(fine, injections=injected(1, 3e38).injections + injected(2, 3e38).injections)
    with load(tiny("llama")) as backend:
        running = backend.generate([Request(prompt, Sampling(max_tokens=3)) for prompt in (fine, broken, fine)])
        replies = [next(running), next(running)]
        assert sorted(reply.index for reply in replies) == [0, 2]
        with pytest.raises(ModelError, match="row 1 of 3"):
            next(running)


def test_nothing_is_handed_out_before_the_device_has_confirmed_what_it_rests_on(
    backend: MLXBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Metal may say only after numbers were read that the computation which made them failed."""

    def fail() -> None:
        raise RuntimeError("[METAL] Command buffer execution failed: Insufficient Memory")

    monkeypatch.setattr(mx, "synchronize", fail)
    handed_out: list[Completion] = []
    with pytest.raises(OutOfMemory):
        handed_out.extend(backend.generate([Request(injected(), Sampling(max_tokens=3))] * 2))
    assert handed_out == []
    reads: list[Callable[[], object]] = [
        lambda: backend.capture([injected()]),
        lambda: backend.score([injected()], [[(5,)]]),
        lambda: backend.score([injected()], [[(5, 6)]]),
        lambda: backend.next_token([injected()]),
        lambda: backend.lens(np.ones((2, backend.info.width), np.float32)),
    ]
    for read in reads:
        with pytest.raises(OutOfMemory):
            read()


def test_rows_that_end_together_wait_for_the_device_once(backend: MLXBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[int] = []
    synchronize = mx.synchronize

    def counted(*device: mx.Device) -> None:
        waits.append(1)
        synchronize(*device)

    monkeypatch.setattr(mx, "synchronize", counted)
    replies = list(backend.generate([Request(injected(), Sampling(max_tokens=5))] * 4))
    assert len(waits) == len({len(reply.tokens) for reply in replies})
