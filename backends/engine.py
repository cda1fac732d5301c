"""The decode loop all backends share: a list of requests becomes batches that run in lock-step.

A backend supplies a ``Decoder``, which holds one batch on the device; this module decides which rows are in it, when a
row is finished and what its completion says. It knows nothing of tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from backends.base import Completion, OnToken, Prompt, Proof, Request, Sampling, TokenEvent, Tokenizer
from backends.sampling import uniforms


class Decoder(Protocol):
    """One batch in flight: the prompts are processed, the next token's logits are ready."""

    def sample(self, samplings: Sequence[Sampling], draws: NDArray[np.float64]) -> list[int]:
        """Next token of every live row from its latest logits; ``draws`` holds one uniform number per row."""
        ...

    def proofs(self, row: int) -> tuple[Proof, ...]:
        """What was injected into a live row so far."""
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Drop every live row not listed; the listed ones are renumbered from 0 in this order."""
        ...

    def step(self, tokens: Sequence[int]) -> None:
        """Feed one token per live row."""
        ...


@dataclass(slots=True)
class _Row:
    index: int
    request: Request
    draws: NDArray[np.float64]
    tokens: list[int] = field(default_factory=list)
    shown: str = ""


def run(
    requests: Sequence[Request],
    start: Callable[[Sequence[Prompt]], Decoder],
    tokenizer: Tokenizer,
    batch_size: int,
    on_token: OnToken | None,
) -> Iterator[Completion]:
    """Decode all requests, ``batch_size`` rows at a time.

    Args:
        start: prefills prompts and returns their decoder.
    """
    for first in range(0, len(requests), batch_size):
        batch = [
            _Row(index, request, uniforms(request.sampling.seed, request.sampling.max_tokens))
            for index, request in enumerate(requests[first : first + batch_size], first)
        ]
        yield from _decode(batch, start([row.request.prompt for row in batch]), tokenizer, on_token)


def _decode(rows: list[_Row], decoder: Decoder, tokenizer: Tokenizer, on_token: OnToken | None) -> Iterator[Completion]:
    while True:
        draws = np.array([row.draws[len(row.tokens)] for row in rows])
        chosen = decoder.sample([row.request.sampling for row in rows], draws)
        finished = {}
        for at, (row, token) in enumerate(zip(rows, chosen, strict=True)):
            completion = _advance(row, token, tokenizer, on_token)
            if completion is not None:
                finished[at] = completion, decoder.proofs(at)
        live = [at for at in range(len(rows)) if at not in finished]
        for completion, proven in finished.values():
            yield replace(completion, proofs=proven)
        if not live:
            return
        if finished:
            decoder.keep(live)
            rows = [rows[at] for at in live]
        decoder.step([row.tokens[-1] for row in rows])


def _advance(row: _Row, token: int, tokenizer: Tokenizer, on_token: OnToken | None) -> Completion | None:
    """Take a new token into a row; returns its completion, proofs still open, when it was the last."""
    sampling = row.request.sampling
    forwarded = len(row.request.prompt.tokens) + len(row.tokens)
    if token in tokenizer.end_tokens:
        return Completion(row.index, tuple(row.tokens), tokenizer.decode(row.tokens), "stop", forwarded)
    row.tokens.append(token)
    full = len(row.tokens) == sampling.max_tokens
    if not (sampling.stop or on_token or full):
        return None
    text = tokenizer.decode(row.tokens)
    cut = min((at for at in map(text.find, sampling.stop) if at >= 0), default=-1)
    if cut >= 0:
        text = text[:cut]
    if on_token is not None:
        # An unfinished multi-byte character decodes to U+FFFD; hold it back until it is whole.
        visible = text if full or cut >= 0 else text.rstrip("�")
        on_token(TokenEvent(row.index, token, visible[len(row.shown) :]))
        row.shown = max(row.shown, visible, key=len)
    if cut >= 0:
        return Completion(row.index, tuple(row.tokens), text, "stop", forwarded)
    if full:
        return Completion(row.index, tuple(row.tokens), text, "length", forwarded)
    return None
