"""Replies that begin with a thought, on tiny models with the templates of six families, on both backends.

The other side of each comparison is plain generation: a greedy model that thinks writes what it would have written
anyway, until its thought is closed; then what it writes after a prompt that holds all of that.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlxintro.backends.base import (
    Backend,
    Completion,
    Injection,
    Prompt,
    Request,
    Sampling,
    ThoughtLimit,
    TokenEvent,
)
from mlxintro.backends.errors import UsageError
from mlxintro.backends.models.sources import read_folder
from mlxintro.backends.thinking.marks import ThinkingMarks
from mlxintro.backends.thinking.thoughts import think
from tests.thinking_templates import THINKING_FAMILIES, make_thinking_tiny

USER = [{"role": "user", "content": "Do you detect an injected thought?"}]
BUDGET, ANSWER = 12, 7
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


FAST = (("torch", "qwen3"), ("torch", "gpt-oss"), ("mlx", "smollm3"))
"""The others need no other code, and longer."""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((name, family), marks=() if (name, family) in FAST else pytest.mark.slow, id=f"{name}-{family}")
        for name in ("torch", "mlx")
        for family in THINKING_FAMILIES
    ],
)
def backend(
    request: pytest.FixtureRequest, made_once: Callable[[str, Callable[[Path], object]], Path]
) -> Iterator[Backend]:
    name, family = request.param
    folder = made_once(f"thinking-{family}", lambda path: make_thinking_tiny(family, path))
    source = read_folder(folder, name=family, repository=str(folder))
    if name == "torch":
        from mlxintro.backends.pytorch import backend as torch_backend

        loaded: Backend = torch_backend.load(source, device="cpu", dtype="float32")
    else:
        if importlib.util.find_spec("mlx") is None:
            pytest.skip("the mlx library does not exist for this platform")
        from mlxintro.backends.mlxlm import backend as mlx_backend

        loaded = mlx_backend.load(source, dtype="float32")
    with loaded:
        yield loaded


def marks_of(backend: Backend) -> ThinkingMarks:
    marks = backend.tokenizer.thinking
    assert marks is not None
    return marks


def prompt_of(backend: Backend, *injections: Injection) -> Prompt:
    return Prompt(backend.tokenizer.render(USER, "", "on").tokens, injections)


def limited(backend: Backend, prefill: str = "", marks: ThinkingMarks | None = None) -> Sampling:
    return Sampling(ANSWER, thought=ThoughtLimit(BUDGET, marks or marks_of(backend), prefill))


def all_of(backend: Backend, requests: Sequence[Request]) -> list[Completion]:
    return sorted(backend.generate(requests), key=lambda one: one.index)


def free(backend: Backend, count: int = BUDGET) -> tuple[int, ...]:
    """What the model writes where no thought is asked for."""
    [plain] = all_of(backend, [Request(prompt_of(backend), Sampling(count))])
    return plain.tokens


def ending_with(backend: Backend) -> tuple[ThinkingMarks, tuple[int, ...]]:
    """Marks whose closing the model writes by itself, and what it writes before it."""
    written = free(backend)
    pieces = backend.tokenizer.pieces(written)
    for at in range(2, len(written)):
        mark = pieces[at]
        alone = backend.tokenizer.encode(mark).tokens == (written[at],) and mark.strip() and mark.isascii()
        if alone and written[at] not in written[:at] and mark not in backend.tokenizer.decode(written[:at]):
            return replace(marks_of(backend), mark=mark, closing=f"\n{mark}\n\n"), written[:at]
    pytest.skip("this random model writes nothing that could be a mark")


def test_a_thought_is_closed_at_its_budget_and_the_answer_goes_on(backend: Backend) -> None:
    marks, written = marks_of(backend), free(backend)
    [done] = all_of(backend, [Request(prompt_of(backend), limited(backend))])
    assert done.thought is not None
    assert done.thought.tokens == written
    assert done.thought.closed == ("budget" if len(written) == BUDGET else "turn")
    closing = backend.tokenizer.encode(marks.closing).tokens
    assert done.thought.closing == closing
    whole = Prompt((*prompt_of(backend).tokens, *written, *closing))
    [answer] = all_of(backend, [Request(whole, Sampling(ANSWER))])
    assert (done.tokens, done.text, done.finish) == (answer.tokens, answer.text, answer.finish)
    assert len(done.tokens) <= ANSWER
    assert "".join(backend.tokenizer.pieces(closing)) == marks.closing


def test_a_thought_that_its_model_ends_is_left_as_it_was_written(backend: Backend) -> None:
    marks, before = ending_with(backend)
    [done] = all_of(backend, [Request(prompt_of(backend), limited(backend, "Ok.", marks))])
    assert done.thought is not None
    assert (done.thought.closed, done.thought.tokens) == ("itself", before)
    assert done.thought.text == backend.tokenizer.decode(before)
    assert "".join(backend.tokenizer.pieces(done.thought.closing)) == f"{marks.mark}\n\nOk."


def test_a_mark_of_several_tokens_is_found_in_the_text(backend: Backend) -> None:
    written = free(backend)
    decode = backend.tokenizer.decode
    for at in range(2, len(written) - 2):
        mark = decode(written[at : at + 2])
        before = decode(written[:at])
        whole = before + mark
        fits = mark.isascii() and mark.strip() and len(backend.tokenizer.encode(mark).tokens) > 1
        if fits and decode(written[: at + 2]) == whole and whole.find(mark) == len(before):
            break
    else:
        pytest.skip("this random model writes nothing that could be a mark")
    marks = replace(marks_of(backend), mark=mark, closing=f"\n{mark}\n\n")
    [done] = all_of(backend, [Request(prompt_of(backend), limited(backend, "", marks))])
    assert done.thought is not None
    assert (done.thought.closed, done.thought.tokens) == ("itself", written[:at])
    assert done.thought.closing[:2] == written[at : at + 2]
    assert decode(done.thought.closing) == f"{mark}\n\n"


def test_rows_that_think_and_rows_that_do_not_share_a_call(backend: Backend) -> None:
    plain = Request(prompt_of(backend), Sampling(ANSWER))
    thinking = Request(prompt_of(backend), limited(backend))
    mixed = all_of(backend, [plain, thinking, plain, thinking])
    [alone] = all_of(backend, [thinking])
    assert [one.thought is None for one in mixed] == [True, False, True, False]
    assert mixed[1].tokens == mixed[3].tokens == alone.tokens
    assert mixed[0].tokens == free(backend, ANSWER)


def test_rows_of_a_batch_that_close_at_different_steps_keep_their_budgets(backend: Backend) -> None:
    marks, before = ending_with(backend)
    room = len(before) + 2
    budgets = [(2, 1), (room, 6), (1, ANSWER), (room, 3), (3, 2)]
    """Tokens of the thought and of the answer; the model ends its thought by itself where it has the room."""
    requests = [
        Request(prompt_of(backend), Sampling(answer, thought=ThoughtLimit(thought, marks)))
        for thought, answer in budgets
    ]
    together = all_of(backend, requests)
    for (thought, answer), request, done in zip(budgets, requests, together, strict=True):
        assert done.thought is not None
        itself = thought > len(before)
        assert done.thought.closed == ("itself" if itself else "budget")
        assert len(done.thought.tokens) == (len(before) if itself else thought)
        assert len(done.tokens) <= answer
        [alone] = all_of(backend, [request])
        assert (done.thought, done.tokens) == (alone.thought, alone.tokens)


def test_windows_over_thought_and_answer_are_proven_where_they_lie(backend: Backend) -> None:
    begin = len(prompt_of(backend).tokens)
    drawn = np.random.default_rng(0).standard_normal(backend.info.width).astype(np.float32)
    over_thought = Injection(1, 4 * drawn, begin - 1, part="thought")
    over_answer = Injection(2, 4 * drawn, begin, part="answer")
    whole = Injection(1, 4 * drawn, 3)
    prompt = prompt_of(backend, over_thought, over_answer, whole)
    [done] = all_of(backend, [Request(prompt, limited(backend))])
    assert done.thought is not None
    end = begin + len(done.thought.tokens)
    first, second, third = done.proofs
    assert (first.first, first.last, first.positions) == (begin - 1, end - 1, end - begin + 1)
    assert (second.first, second.last) == (end, done.forwarded - 1)
    assert (third.first, third.last) == (3, done.forwarded - 1)
    assert all(proof.change > 0 for proof in done.proofs)
    # The thought is what is written under the windows that reach over it, and under no other.
    steered = Prompt(prompt.tokens, (replace(over_thought, part="reply"), whole))
    [alone] = all_of(backend, [Request(steered, Sampling(BUDGET))])
    assert done.thought.tokens == alone.tokens
    [answer] = all_of(
        backend,
        [
            Request(
                Prompt(
                    (*prompt.tokens, *done.thought.tokens, *done.thought.closing),
                    (
                        replace(over_thought, part="reply", stop=end),
                        replace(over_answer, part="reply", start=end),
                        whole,
                    ),
                ),
                Sampling(ANSWER),
            )
        ],
    )
    assert done.tokens == answer.tokens


def test_a_window_over_a_part_needs_a_reply_that_has_parts(backend: Backend) -> None:
    drawn = np.ones(backend.info.width, np.float32)
    prompt = prompt_of(backend, Injection(1, drawn, 3, part="thought"))
    with pytest.raises(UsageError, match="begins with a thought"):
        all_of(backend, [Request(prompt, Sampling(4))])
    with pytest.raises(UsageError, match="begins with a thought"):
        backend.capture([prompt])
    closed = prompt_of(backend, Injection(1, drawn, 3, 5, part="thought"))
    with pytest.raises(UsageError, match="begins with a thought"):
        all_of(backend, [Request(closed, limited(backend))])


def test_what_does_not_fit_is_refused_before_anything_is_written(backend: Backend) -> None:
    room = backend.info.context
    for sampling in (
        replace(limited(backend), thought=ThoughtLimit(room, marks_of(backend))),
        replace(limited(backend), max_tokens=room - len(prompt_of(backend).tokens) - BUDGET),
    ):
        with pytest.raises(UsageError, match="exceed"):
            all_of(backend, [Request(prompt_of(backend), sampling)])
    with pytest.raises(UsageError, match="at least 1"):
        all_of(
            backend,
            [Request(prompt_of(backend), replace(limited(backend), thought=ThoughtLimit(0, marks_of(backend))))],
        )
    with pytest.raises(UsageError, match="no limit"):
        think(backend, [Request(prompt_of(backend), Sampling(4))])


def test_whoever_watches_hears_thought_mark_and_answer(backend: Backend) -> None:
    heard: list[TokenEvent] = []
    requests = [Request(prompt_of(backend), Sampling(3)), Request(prompt_of(backend), limited(backend))]
    done = sorted(backend.generate(requests, heard.append), key=lambda one: one.index)
    text = "".join(event.text for event in heard if event.index == 1)
    thought = done[1].thought
    assert thought is not None
    assert text == f"{thought.text}\n{marks_of(backend).mark}\n{done[1].text}"
    assert "".join(event.text for event in heard if event.index == 0) == done[0].text


def test_thought_and_answer_draw_different_numbers_that_are_the_rows_own(backend: Backend) -> None:
    sampling = replace(limited(backend), temperature=1.0, seed=5)
    first = all_of(backend, [Request(prompt_of(backend), sampling)] * 2)
    again = all_of(
        backend, [Request(prompt_of(backend), replace(sampling, seed=6)), Request(prompt_of(backend), sampling)]
    )
    assert first[0].thought == first[1].thought == again[1].thought
    assert first[0].tokens == first[1].tokens == again[1].tokens
    assert again[0].thought != again[1].thought
