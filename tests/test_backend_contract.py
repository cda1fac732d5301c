"""What every backend says under injection, on tiny random models of six families.

The other side of each comparison is ``tests.reference``: one row at a time, no cache, hooks written by hand.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mlxintro.backends.base import (
    SITES,
    Injection,
    Prompt,
    Request,
    Sampling,
    TokenEvent,
)
from tests.contract import (
    LAYERS,
    WIDTH,
    Subject,
    mixture,
    of_the_loop,
    one_by_one,
    same,
    together,
    tokens,
    unanswered,
    vector,
)


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
