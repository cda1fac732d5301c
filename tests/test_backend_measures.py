"""What every backend measures, on tiny random models of six families: streams, heads, scores and the lens.

The other side of each comparison is ``tests.reference``: one row at a time, no cache, hooks written by hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from mlxintro.backends.base import (
    SITES,
    Injection,
    Operation,
    Prompt,
    Request,
    Sampling,
)
from mlxintro.backends.errors import ModelError
from tests.contract import (
    HEAD_WIDTH,
    HEADS,
    LAYERS,
    WIDTH,
    Subject,
    by_position,
    of_the_loop,
    one_by_one,
    same,
    together,
    tokens,
    unanswered,
    vector,
)
from tests.tiny import VOCABULARY


def test_activations_are_the_hidden_states_of_transformers(subject: Subject) -> None:
    prompts = [Prompt(tokens(40, 1)), Prompt(tokens(3, 2)), Prompt(tokens(19, 3))]
    for prompt, captured in zip(prompts, subject.backend.capture(prompts), strict=True):
        assert captured["resid_post"].shape == (LAYERS, len(prompt.tokens), WIDTH)
        assert captured["resid_post"].dtype == np.float32
        expected = subject.reference.hidden(prompt.tokens)
        np.testing.assert_allclose(captured["resid_post"][:-1], expected, rtol=1e-4, atol=2e-5)


def test_activations_under_injection_are_what_the_next_block_finds(subject: Subject) -> None:
    prompts = unanswered()
    for prompt, captured in zip(prompts, subject.backend.capture(prompts), strict=True):
        expected = subject.reference.arriving(prompt.tokens, prompt.injections)
        np.testing.assert_allclose(captured["resid_post"][:-1], expected, rtol=1e-4, atol=5e-5)


def test_attention_and_mlp_add_up_to_what_a_block_adds(subject: Subject) -> None:
    for captured in subject.backend.capture([Prompt(tokens(20, 1)), Prompt(tokens(33, 2))], sites=SITES):
        added = captured["resid_post"][1:] - captured["resid_post"][:-1]
        np.testing.assert_allclose(added, captured["attn_out"][1:] + captured["mlp_out"][1:], rtol=1e-4, atol=2e-5)


@of_the_loop
def test_prompts_read_in_chunks_give_the_same_activations(subject: Subject) -> None:
    prompts = unanswered()
    whole = subject.backend.capture(prompts, sites=SITES, positions=[-1, 0, 2])
    chunked = subject.rechunked(5).capture(prompts, sites=SITES, positions=[-1, 0, 2])
    for ours, theirs in zip(whole, chunked, strict=True):
        for site in SITES:
            np.testing.assert_allclose(ours[site], theirs[site], rtol=1e-4, atol=2e-5)


@of_the_loop
def test_layers_and_positions_come_in_the_order_asked_for(subject: Subject) -> None:
    prompts = [Prompt(tokens(12, 1)), Prompt(tokens(30, 2))]
    everything = subject.backend.capture(prompts)
    chosen = subject.backend.capture(prompts, layers=[3, 0, 3], positions=[-1, 2, -12, 2])
    for part, full in zip(chosen, everything, strict=True):
        np.testing.assert_array_equal(part["resid_post"], full["resid_post"][[3, 0, 3]][:, [-1, 2, -12, 2]])


@pytest.mark.parametrize("operation", ["add", "ablate", "replace"])
def test_an_operation_does_inside_its_window_what_its_name_says_and_nothing_before(
    subject: Subject, operation: Operation
) -> None:
    prompt = Prompt(tokens(30))
    v = vector(1, 2.0)
    injected = replace(prompt, injections=(Injection(2, v, start=10, stop=20, operation=operation),))
    # The same two rows in both calls, so that untouched positions can be compared bit for bit.
    (plain, _), (changed, _) = (subject.backend.capture([p, Prompt(tokens(17, 1))]) for p in (prompt, injected))
    before, after = plain["resid_post"], changed["resid_post"]
    np.testing.assert_array_equal(after[:2], before[:2])
    np.testing.assert_array_equal(after[2:, :10], before[2:, :10])
    np.testing.assert_array_equal(after[2, 20:], before[2, 20:])
    old, new = before[2, 10:20].astype(np.float64), after[2, 10:20].astype(np.float64)
    if operation == "add":
        np.testing.assert_array_equal(after[2, 10:20], before[2, 10:20] + v)
    elif operation == "replace":
        np.testing.assert_array_equal(after[2, 10:20], np.broadcast_to(v, (10, WIDTH)))
    else:
        unit = v / np.linalg.norm(v.astype(np.float64))
        np.testing.assert_allclose(new, old - np.outer(old @ unit, unit), rtol=0, atol=1e-5)
        assert np.abs(new @ unit).max() < 1e-5 < np.abs(old @ unit).max()
    assert not np.array_equal(after[3, 20:], before[3, 20:]), "later layers and positions read what was changed"


def test_scores_are_the_log_softmax_of_a_full_forward(subject: Subject) -> None:
    prompts = [
        Prompt(tokens(20, 1), (Injection(1, vector(1), start=15),)),
        Prompt(tokens(9, 2)),
        Prompt(tokens(31, 3), (Injection(2, vector(2), start=32, stop=33),)),
    ]
    options: list[list[tuple[int, ...]]] = [
        [(5,), (6,), (7, 8, 9)],
        [(300, 5)],
        [(5, 6, 7, 8), (5,), (9, 6, 7, 8)],
    ]
    for prompt, continuations, scored in zip(prompts, options, subject.backend.score(prompts, options), strict=True):
        for option, found in zip(continuations, scored, strict=True):
            logits = subject.reference.logits(prompt.tokens + option[:-1], prompt.injections).astype(np.float64)
            logprobs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
            rows = np.arange(len(option)) + len(prompt.tokens) - 1
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, logprobs[rows, option], rtol=1e-4, atol=2e-5)


@of_the_loop
def test_variants_of_one_injected_run_are_scored_and_proven_as_if_alone(subject: Subject) -> None:
    """What runs have in common, injections included, is read once; who patches one must not see a difference."""
    common = (Injection(1, vector(1), start=10), Injection(2, by_position(2, 6, WIDTH), 14, 20))
    own = [
        (),
        (Injection(1, by_position(3, 10, WIDTH), 20, 30, "resid_post", "replace"),),
        (Injection(3, by_position(4, 1, HEAD_WIDTH), 29, 30, "head_out", "replace", head=2),),
        (Injection(0, by_position(5, 18, WIDTH), 12, 30, "mlp_out", "replace"),),
        (Injection(2, vector(6), 12, 30, "attn_out", "replace"), Injection(1, vector(7), 29)),
    ]
    prompts = [Prompt(tokens(30), common + more) for more in own]
    options = [[(5,), (6, 7, 8)]] * len(prompts)
    for prompt, continuations, scored in zip(prompts, options, subject.backend.score(prompts, options), strict=True):
        for option, found in zip(continuations, scored, strict=True):
            logits = subject.reference.logits(prompt.tokens + option[:-1], prompt.injections).astype(np.float64)
            logprobs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
            rows = np.arange(len(option)) + len(prompt.tokens) - 1
            np.testing.assert_allclose(found, logprobs[rows, option], rtol=1e-4, atol=2e-5)
    requests = [Request(prompt, Sampling(max_tokens=3)) for prompt in prompts]
    shared, alone = together(subject.backend, requests), one_by_one(subject.backend, requests)
    assert same(shared, alone)
    for ours, theirs in zip(shared, alone, strict=True):
        for a, b in zip(ours.proofs, theirs.proofs, strict=True):
            assert (a.positions, a.first, a.last) == (b.positions, b.first, b.last)
            assert (a.change, a.relative_change) == pytest.approx((b.change, b.relative_change), rel=1e-4)


@of_the_loop
def test_the_next_tokens_distribution_is_that_of_a_full_forward(subject: Subject) -> None:
    begun = tokens(18, 1)
    prompts = [
        Prompt((*begun, 5, 6), (Injection(1, vector(1), start=15),)),
        Prompt((*begun, 7)),
        Prompt(tokens(31, 3), (Injection(2, vector(2), start=4),)),
        Prompt((*begun, 5, 6, 8), (Injection(0, vector(3), start=19),)),
    ]
    found = subject.backend.next_token(prompts)
    assert found.dtype == np.float32
    assert found.shape == (4, VOCABULARY)
    for prompt, logprobs in zip(prompts, found, strict=True):
        logits = subject.reference.logits(prompt.tokens, prompt.injections).astype(np.float64)[-1]
        np.testing.assert_allclose(logprobs, logits - np.log(np.exp(logits).sum()), rtol=1e-4, atol=2e-5)
    assert subject.backend.next_token([]).shape == (0, VOCABULARY)


def test_the_lens_at_the_last_layer_is_the_model(subject: Subject) -> None:
    prompt = Prompt(tokens(16))
    [captured] = subject.backend.capture([prompt])
    logits = subject.reference.logits(prompt.tokens).astype(np.float64)
    expected = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    seen = subject.backend.lens(captured["resid_post"])
    assert seen.shape == (LAYERS, 16, VOCABULARY)
    np.testing.assert_allclose(seen[-1], expected, rtol=1e-4, atol=2e-5)
    np.testing.assert_array_equal(subject.backend.lens(captured["resid_post"], [7, 3]), seen[..., [7, 3]])


def test_heads_are_what_the_output_projection_is_given(subject: Subject) -> None:
    prompt = Prompt(tokens(16))
    [captured] = subject.backend.capture([prompt], layers=[1], sites=("head_out",))
    seen: list[Any] = []
    handle = subject.reference.module(1, "head_out").register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    subject.reference.logits(prompt.tokens)
    handle.remove()
    assert captured["head_out"].shape == (1, 16, HEADS * HEAD_WIDTH)
    np.testing.assert_allclose(captured["head_out"][0], seen[0][0].numpy(), rtol=1e-4, atol=1e-5)


def test_heads_that_attention_does_more_with_are_refused(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """A family may change what its heads give once more after the projection; then a patched head says nothing."""
    backend: Any = subject.backend
    attention = type(backend._network.blocks[1].self_attn)
    original = getattr(attention, "forward", None) or attention.__call__

    def gated(self: Any, *args: Any, **kwargs: Any) -> Any:
        hidden = args[0] if args else kwargs["hidden_states"]
        found = original(self, *args, **kwargs)
        if isinstance(found, tuple):
            return (found[0] * hidden, *found[1:])
        return found * hidden

    monkeypatch.setattr(attention, "forward" if hasattr(attention, "forward") else "__call__", gated)
    monkeypatch.setattr(backend, "_heads_checked", False)
    with pytest.raises(ModelError, match="head_out is not all"):
        backend.capture([Prompt(tokens(8))], sites=("head_out",))


def numbers_in(folder: Path) -> int:
    """Count the numbers in a folder's weight files."""
    return sum(
        math.prod(file.get_slice(name).get_shape())
        for path in folder.glob("*.safetensors")
        for file in [safe_open(path, "np")]
        for name in file.keys()  # noqa: SIM118 (no mapping)
    )


def test_the_backend_says_what_is_loaded(subject: Subject, tiny: Callable[[str], Path]) -> None:
    info, memory = subject.backend.info, subject.backend.memory()
    assert (info.backend, info.layers, info.width, info.vocabulary) == (subject.name, LAYERS, WIDTH, VOCABULARY)
    assert (info.dtype, info.quantization, info.chat_template) == ("float32", "none", True)
    assert (info.heads, info.head_width) == (HEADS, HEAD_WIDTH)
    assert info.parameters == numbers_in(tiny(info.model))
    assert min(memory.used, memory.free, memory.peak) > 0
