"""Replies that begin with a thought: the thought is written and closed first, then the answer is read out after it.

A thought has a budget of its own. A model that has not ended its thought within it is made to: the template's closing
is put behind what it wrote, token by token, and the answer follows. The answer is written by a second pass that reads
prompt and thought again. That costs about a fifth more time on a CPU (SmolLM2, prompts of 147 tokens, thoughts of 96,
answers of 24, 8 rows: 1.19 times the CPU time a token). It makes every position of thought and answer known before the
answer begins, so that windows over either are proven as all others are, on every backend alike. The same pass reads an
answer after a thought that is somebody else's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ..checks import check_prompt
from ..errors import UsageError
from ..values import (
    Completion,
    Injection,
    ModelInfo,
    OnToken,
    Prompt,
    Request,
    Sampling,
    Thought,
    ThoughtLimit,
    TokenEvent,
    Tokenizer,
)


class ReplyWriter(Protocol):
    """Says what of a backend writes replies; see ``backends.base.Backend``."""

    info: ModelInfo
    tokenizer: Tokenizer

    def generate(self, requests: Sequence[Request], on_token: OnToken | None = None) -> Iterator[Completion]: ...


@dataclass(frozen=True, slots=True, eq=False)
class ThoughtPrompt:
    """Holds a prompt with the thought that follows it, up to where the answer begins."""

    prompt: Prompt
    """Windows over thought and answer are resolved."""
    thought: Thought


def think(backend: ReplyWriter, requests: Sequence[Request], on_token: OnToken | None = None) -> list[ThoughtPrompt]:
    """Let every row write its thought.

    Args:
        requests: each with ``sampling.thought``; their prompts end where the thought begins.
        on_token: told the thoughts' tokens, and the mark that ends them.

    Raises:
        UsageError: a request does not fit the model, or says nothing of a thought.
        InjectionError: what was injected into prompt and thought is not what was asked for.
        OutOfMemory: as for ``generate``.
    """
    tokenizer = backend.tokenizer
    limits = [_limit(request) for request in requests]
    for request, limit in zip(requests, limits, strict=True):
        closing = len(tokenizer.encode(limit.marks.closing + limit.prefill).tokens)
        extra = limit.max_tokens + closing + request.sampling.max_tokens
        check_prompt(request.prompt, backend.info, extra, thinking=True)
    thinking = [_thinking(request, limit, tokenizer) for request, limit in zip(requests, limits, strict=True)]
    found: dict[int, ThoughtPrompt] = {}
    for completion in backend.generate(thinking, on_token):
        at = completion.index
        thought = _thought(completion, limits[at], tokenizer)
        if on_token is not None:
            on_token(TokenEvent(at, (*thought.closing, 0)[0], f"\n{limits[at].marks.mark}\n"))
        found[at] = ThoughtPrompt(with_thought(requests[at].prompt, thought), thought)
    return [found[at] for at in range(len(requests))]


def thinking_first(
    backend: ReplyWriter, requests: Sequence[Request], on_token: OnToken | None
) -> tuple[Sequence[Request], dict[int, Thought]]:
    """Let those requests that think write their thoughts.

    Returns:
        All requests, in their order, for answers alone; and the thoughts, by place.
    """
    places = [at for at, request in enumerate(requests) if request.sampling.thought is not None]
    if not places:
        return requests, {}

    def told(event: TokenEvent) -> None:
        assert on_token is not None
        on_token(replace(event, index=places[event.index]))

    ready = think(backend, [requests[at] for at in places], None if on_token is None else told)
    found = dict(zip(places, ready, strict=True))
    answers = [answering(request, found[at].prompt) if at in found else request for at, request in enumerate(requests)]
    return answers, {at: one.thought for at, one in found.items()}


def with_thought(prompt: Prompt, thought: Thought) -> Prompt:
    """Put a thought behind a prompt, and give windows over thought and answer their positions."""
    begin = len(prompt.tokens)
    end = begin + len(thought.tokens)
    injections = tuple(_placed(injection, end) for injection in prompt.injections)
    return Prompt((*prompt.tokens, *thought.tokens, *thought.closing), injections)


def answering(request: Request, prompt: Prompt) -> Request:
    """Return the request for an answer after a prompt that holds its thought."""
    # Other random numbers than the thought's, and the same however long it became.
    digest = hashlib.blake2b(f"answer {request.sampling.seed}".encode(), digest_size=6).digest()
    return Request(prompt, replace(request.sampling, thought=None, seed=int.from_bytes(digest, "big")))


def _limit(request: Request) -> ThoughtLimit:
    if request.sampling.thought is None:
        raise UsageError("this request has no limit for its thought: set Sampling.thought")
    return request.sampling.thought


def _thinking(request: Request, limit: ThoughtLimit, tokenizer: Tokenizer) -> Request:
    """Return the request for the thought alone."""
    mark = tokenizer.encode(limit.marks.mark).tokens
    ends, stop = ((mark[0],), ()) if len(mark) == 1 else ((), (limit.marks.mark,))
    sampling = request.sampling
    alone = Sampling(limit.max_tokens, sampling.temperature, sampling.top_p, sampling.seed, stop, ends=ends)
    injections = tuple(replace(one, part="reply") for one in request.prompt.injections if one.part != "answer")
    return Request(Prompt(request.prompt.tokens, injections), alone)


def _thought(completion: Completion, limit: ThoughtLimit, tokenizer: Tokenizer) -> Thought:
    """Tell from what was written how the thought ended, and close it where the model did not."""
    marks, tokens = limit.marks, completion.tokens
    if completion.finish == "length":
        return Thought(completion.text, tokens, _encoded(tokenizer, marks.closing + limit.prefill), "budget")
    mark = tokenizer.encode(marks.mark).tokens
    if completion.ended_by is not None:
        if len(mark) == 1 and completion.ended_by == mark[0]:
            closing = (*mark, *_encoded(tokenizer, marks.after + limit.prefill))
            return Thought(completion.text, tokens, closing, "itself")
        return Thought(completion.text, tokens, _encoded(tokenizer, marks.closing + limit.prefill), "turn")
    # The mark is made of several tokens, which stay as the model wrote them.
    first = len(tokens)
    while first and len(tokenizer.decode(tokens[:first])) > len(completion.text):
        first -= 1
    written = tokenizer.decode(tokens).partition(marks.mark)[2]
    rest = marks.after[len(written) :] if marks.after.startswith(written) else ""
    closing = (*tokens[first:], *_encoded(tokenizer, rest + limit.prefill))
    return Thought(completion.text, tokens[:first], closing, "itself")


def _encoded(tokenizer: Tokenizer, text: str) -> tuple[int, ...]:
    return tokenizer.encode(text).tokens if text else ()


def _placed(injection: Injection, end: int) -> Injection:
    """Resolve a window over a part of the reply.

    Args:
        end: position of the first token after the thought, with which the closing mark begins.
    """
    if injection.part == "thought":
        return replace(injection, part="reply", stop=end)
    if injection.part == "answer":
        return replace(injection, part="reply", start=max(injection.start, end))
    return injection
