"""What every backend promises, on tiny random models of six families.

The other side of each comparison is ``tests.reference``: one row at a time, no cache, hooks written by hand.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from mlxintro.backends.base import (
    SITES,
    Backend,
    Injection,
    Operation,
    Prompt,
    Request,
    Sampling,
    TokenEvent,
)
from mlxintro.backends.errors import ModelError, UsageError
from mlxintro.backends.models.sources import read_folder
from tests.contract import (
    HEAD_WIDTH,
    HEADS,
    LAYERS,
    WIDTH,
    Subject,
    by_position,
    mixture,
    of_the_loop,
    one_by_one,
    same,
    together,
    tokens,
    unanswered,
    vector,
)
from tests.reference import Reference
from tests.tiny import FAMILIES, TORCH_DEVICE, VOCABULARY


@pytest.fixture(scope="module")
def references(tiny: Callable[[str], Path]) -> Callable[[str], Reference]:
    @functools.cache
    def reference(family: str) -> Reference:
        return Reference(tiny(family), family)

    return reference


@pytest.fixture(
    scope="module", params=[(name, family) for name in ("torch", "mlx") for family in FAMILIES], ids="-".join
)
def subject(
    request: pytest.FixtureRequest, tiny: Callable[[str], Path], references: Callable[[str], Reference]
) -> Iterator[Subject]:
    name, family = request.param
    folder = tiny(family)
    source = read_folder(folder, name=family, repository=str(folder))
    backend: Backend
    if name == "torch":
        from mlxintro.backends.pytorch import backend as torch_backend

        backend = torch_backend.load(source, device=TORCH_DEVICE, dtype="float32")
    else:
        if importlib.util.find_spec("mlx") is None:
            pytest.skip("the mlx library does not exist for this platform")
        from mlxintro.backends.mlxlm import backend as mlx_backend

        backend = mlx_backend.load(source, dtype="float32")
    with backend:
        yield Subject(name, backend, references(family))


def test_greedy_replies_under_injection_are_those_of_the_whole_sequence_recomputed(subject: Subject) -> None:
    ends = subject.backend.tokenizer.end_tokens
    for completion, request in zip(subject.replies(), mixture(), strict=True):
        assert completion.tokens == subject.reference.reply(request.prompt, request.sampling, ends)


@of_the_loop
def test_sampled_replies_follow_the_sampling_rule_applied_to_recomputed_logits(subject: Subject) -> None:
    ends = subject.backend.tokenizer.end_tokens
    for completion, request in zip(subject.replies(0.9), mixture(0.9), strict=True):
        assert completion.tokens == subject.reference.reply(request.prompt, request.sampling, ends)


@of_the_loop
def test_injections_of_the_mixture_matter(subject: Subject) -> None:
    """Equal replies would prove nothing if the injections had no effect."""
    requests = mixture()
    plain = [replace(request, prompt=Prompt(request.prompt.tokens)) for request in requests]
    differ = [a.tokens != b.tokens for a, b in zip(subject.replies(), together(subject.backend, plain), strict=True)]
    assert not differ[0]
    assert sum(differ) >= 3


@of_the_loop
def test_a_row_says_the_same_alone_and_in_any_batch(subject: Subject) -> None:
    rows_are_independent(subject, 0.0)


@of_the_loop
def test_a_row_draws_the_same_alone_and_in_any_batch(subject: Subject) -> None:
    rows_are_independent(subject, 0.9)


def rows_are_independent(subject: Subject, temperature: float) -> None:
    requests = mixture(temperature)
    alone = one_by_one(subject.backend, requests)
    assert same(subject.replies(temperature), alone)
    backwards = together(subject.backend, requests[::-1])[::-1]
    assert [c.tokens for c in backwards] == [c.tokens for c in alone]
    # Rows left over from the sizes of the batches: 4 and 2.
    assert same(together(subject.rechunked(2048, batch_size=4), requests), alone)


@of_the_loop
def test_prompts_read_in_chunks_give_the_same_replies_and_proofs(subject: Subject) -> None:
    chunks_change_nothing(subject, 7)


@of_the_loop
def test_prompts_read_token_by_token_give_the_same_replies_and_proofs(subject: Subject) -> None:
    chunks_change_nothing(subject, 1)


def chunks_change_nothing(subject: Subject, chunk: int) -> None:
    whole, chunked = subject.replies(), together(subject.rechunked(chunk), mixture())
    assert same(whole, chunked)
    for ours, theirs in zip(whole, chunked, strict=True):
        for a, b in zip(ours.proofs, theirs.proofs, strict=True):
            assert (a.positions, a.first, a.last) == (b.positions, b.first, b.last)
            assert a.change == pytest.approx(b.change, rel=1e-4)


@of_the_loop
def test_prompts_read_in_chunks_give_the_same_activations(subject: Subject) -> None:
    prompts = unanswered()
    whole = subject.backend.capture(prompts, sites=SITES, positions=[-1, 0, 2])
    chunked = subject.rechunked(5).capture(prompts, sites=SITES, positions=[-1, 0, 2])
    for ours, theirs in zip(whole, chunked, strict=True):
        for site in SITES:
            np.testing.assert_allclose(ours[site], theirs[site], rtol=1e-4, atol=2e-5)


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


@of_the_loop
def test_strength_zero_is_no_injection_bit_for_bit(subject: Subject) -> None:
    nothing = np.zeros(WIDTH, np.float32)
    plain = [Prompt(tokens(20, 1)), Prompt(tokens(33, 2))]
    zero = [
        replace(
            p,
            injections=tuple(
                Injection(layer, nothing, start=layer, site=site) for layer in range(LAYERS) for site in SITES
            ),
        )
        for p in plain
    ]
    for ours, theirs in zip(
        subject.backend.capture(plain, sites=SITES), subject.backend.capture(zero, sites=SITES), strict=True
    ):
        for site in SITES:
            assert ours[site].tobytes() == theirs[site].tobytes()
    options: list[list[tuple[int, ...]]] = [[(5, 6, 7), (8,)], [(9,)]]
    for a, b in zip(subject.backend.score(plain, options), subject.backend.score(zero, options), strict=True):
        assert [x.tobytes() for x in a] == [x.tobytes() for x in b]
    requests = [[Request(p, Sampling(max_tokens=8, temperature=0.7)) for p in prompts] for prompts in (plain, zero)]
    untouched, edited = (together(subject.backend, r) for r in requests)
    assert same(untouched, edited)
    assert all(proof.change == 0 and proof.positions > 0 for c in edited for proof in c.proofs)


@of_the_loop
def test_proofs_report_the_change_a_recomputation_measures(subject: Subject) -> None:
    for completion, request in zip(subject.replies(), mixture(), strict=True):
        read = (request.prompt.tokens + completion.tokens)[: completion.forwarded]
        expected = subject.reference.changes(read, request.prompt.injections)
        for number, proof in enumerate(completion.proofs):
            assert proof.positions == len(expected[number])
            change, relative = expected[number].mean(axis=0)
            assert proof.change == pytest.approx(change, rel=1e-4)
            assert proof.relative_change == pytest.approx(relative, rel=1e-4)


# A prompt of 20 tokens and 6 generated ones, the last of which is never read: positions 0 to 24.
@of_the_loop
@pytest.mark.parametrize(
    ("start", "stop", "touched"),
    [
        (0, None, range(25)),
        (0, 1, range(1)),
        (19, 20, range(19, 20)),
        (19, 21, range(19, 21)),
        (5, 12, range(5, 12)),
        (20, None, range(20, 25)),
        (22, 24, range(22, 24)),
        (24, 99, range(24, 25)),
        (25, None, range(0)),
    ],
)
def test_a_window_touches_exactly_its_positions(subject: Subject, start: int, stop: int | None, touched: range) -> None:
    request = Request(
        Prompt(tokens(20), (Injection(1, vector(1, 0.01), start=start, stop=stop),)), Sampling(max_tokens=6)
    )
    others = [
        Request(Prompt(tokens(31, 1)), Sampling(max_tokens=6)),
        Request(Prompt(tokens(20)), Sampling(max_tokens=6)),
    ]
    completion = together(subject.backend, [others[0], request, others[1]])[1]
    assert completion.finish == "length"
    assert completion.forwarded == 25
    [proof] = completion.proofs
    assert proof.positions == len(touched)
    assert (proof.first, proof.last) == ((touched[0], touched[-1]) if touched else (None, None))


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


@of_the_loop
def test_tokens_are_told_as_they_come_and_make_up_the_reply(subject: Subject) -> None:
    events: list[TokenEvent] = []
    for completion in subject.backend.generate(mixture(), events.append):
        told = [event for event in events if event.index == completion.index]
        assert tuple(event.token for event in told) == completion.tokens
        assert "".join(event.text for event in told).rstrip("\ufffd") == completion.text.rstrip("\ufffd")


@of_the_loop
def test_a_call_leaves_the_model_as_it_was(subject: Subject) -> None:
    before = subject.state()
    together(subject.backend, mixture())
    subject.backend.capture(unanswered(), sites=SITES)
    subject.backend.score(unanswered(), [[(5,), (6, 7)]] * len(mixture()))
    assert subject.state() == before


@of_the_loop
def test_an_exception_or_an_abandoned_reply_leaves_the_model_as_it_was(subject: Subject) -> None:
    before, expected = subject.state(), subject.replies()

    def fail(event: TokenEvent) -> None:
        raise RuntimeError("the display went away")

    with pytest.raises(RuntimeError, match="display"):
        list(subject.backend.generate(mixture(), fail))
    assert subject.state() == before
    replies = subject.backend.generate(mixture())
    next(replies)
    # Half way through, somebody else may use the model.
    assert subject.state() == before
    assert same(together(subject.backend, mixture()), expected)
    replies.close()  # type: ignore[attr-defined]
    assert subject.state() == before
    assert same(together(subject.backend, mixture()), expected)


@of_the_loop
def test_two_replies_drawn_in_turns_do_not_disturb_each_other(subject: Subject) -> None:
    expected = subject.replies()
    first, second = (subject.backend.generate(mixture()) for _ in range(2))
    drawn = list(zip(first, second, strict=True))
    for side in zip(*drawn, strict=True):
        assert same(sorted(side, key=lambda completion: completion.index), expected)


@of_the_loop
@pytest.mark.parametrize(
    ("injection", "complaint"),
    [
        (Injection(LAYERS, vector(1), start=0), "out of range"),
        (Injection(0, vector(1)[:-1], start=0), "shape"),
        (Injection(0, vector(1).astype(np.float64), start=0), "float32"),
        (Injection(0, vector(1, np.inf), start=0), "NaN or infinity"),
        (Injection(0, vector(1), start=3, stop=3), "empty"),
        (Injection(0, vector(1), start=-1), "negative"),
        (Injection(0, vector(1), start=500), "past the last"),
        (Injection(0, vector(1, 0.0), start=0, operation="ablate"), "no direction"),
        (Injection(0, vector(1), start=0, site="nowhere"), "no such site"),  # type: ignore[arg-type]
        (Injection(0, vector(1), start=0, head=1), "only the site head_out has heads"),
        (Injection(0, vector(1)[:HEAD_WIDTH], start=0, site="head_out", head=HEADS), "heads 0 to 3"),
        (Injection(0, vector(1), start=0, site="head_out", head=1), "shape"),
        (Injection(0, by_position(1, 3, WIDTH), start=0), "one for each of its positions"),
        (Injection(0, by_position(1, 3, WIDTH), start=0, stop=4), "one for each of its positions"),
        (Injection(0, by_position(1, 3, WIDTH), start=6, stop=9), "ends with the prompt"),
        (Injection(0, by_position(1, 3, WIDTH) * 0, 1, 4, operation="ablate"), "no direction"),
    ],
)
def test_an_injection_that_does_not_fit_is_refused_in_one_line(
    subject: Subject, injection: Injection, complaint: str
) -> None:
    for call in (
        lambda p: list(subject.backend.generate([Request(p)])),
        lambda p: subject.backend.capture([p]),
        lambda p: subject.backend.score([p], [[(5,)]]),
    ):
        with pytest.raises(UsageError, match=complaint) as raised:
            call(Prompt(tokens(8), (injection,)))
        assert "\n" not in str(raised.value)


@of_the_loop
@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda b: list(b.generate([Request(Prompt(()))])), "no tokens"),
        (lambda b: list(b.generate([Request(Prompt((VOCABULARY,)))])), "vocabulary"),
        (lambda b: list(b.generate([Request(Prompt((5,)), Sampling(max_tokens=9999))])), "context"),
        (lambda b: list(b.generate([Request(Prompt((5,)), Sampling(temperature=-1.0))])), "temperature"),
        (lambda b: list(b.generate([Request(Prompt((5,)), Sampling(top_p=0.0))])), "top_p"),
        (lambda b: b.capture([Prompt((5, 6))], layers=[LAYERS]), "out of range"),
        (lambda b: b.capture([Prompt((5, 6))], positions=[2]), "outside"),
        (lambda b: b.score([Prompt((5,))], [[()]]), "no tokens"),
        (lambda b: b.score([Prompt((5,))], []), "1 prompts"),
        (lambda b: b.lens(np.zeros((2, WIDTH - 1), np.float32)), "columns|width|shape"),
        (lambda b: b.lens(np.zeros((2, WIDTH), np.float32), [VOCABULARY]), "vocabulary"),
    ],
)
def test_a_bad_request_is_refused_in_one_line(subject: Subject, call: Callable[[Backend], Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint) as raised:
        call(subject.backend)
    assert "\n" not in str(raised.value)


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


@of_the_loop
def test_nothing_asked_is_nothing_done(subject: Subject) -> None:
    assert list(subject.backend.generate([])) == []
    assert subject.backend.capture([]) == []
    assert subject.backend.score([Prompt((5,))], [[]]) == [[]]


@of_the_loop
def test_a_closed_backend_says_so(tiny: Callable[[str], Path], subject: Subject) -> None:
    backend = subject.rechunked(64)
    backend.close()
    backend.close()
    with pytest.raises(UsageError, match="closed"):
        list(backend.generate([Request(Prompt((5,)))]))
    assert len(together(subject.backend, mixture())) == len(mixture()), "the model itself is still held by its owner"
