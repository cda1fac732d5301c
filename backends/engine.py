"""The decode loop all backends share: a list of requests runs in lock-step, a batch of rows at a time.

A row leaves when its reply is done, and rows that wait take the places that have become free: a batch stays full while
replies end at different lengths. A backend supplies a ``Decoder``, which holds the rows on the device; this module
decides which rows are in it, when a row is finished and what its completion says. It knows nothing of tensors. What it
does follows from the requests alone, so that repeating a call repeats every batch it forms.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .base import Completion, OnToken, Prompt, Proof, Request, Sampling, TokenEvent, Tokenizer
from .errors import ModelError
from .sampling import uniforms
from .visible import Visible

_ADMITTED_AT_ONCE = 4
"""Rows enter when this part of a batch is free: a quarter. Entering costs a forward pass of its own, which pays when
several rows share it."""


class Decoder(Protocol):
    """Decodes rows in flight; there are none at first. Live rows are numbered from 0."""

    def admit(self, prompts: Sequence[Prompt]) -> None:
        """Read prompts. They become live rows, numbered after those there are, with their next token's logits ready."""
        ...

    def sample(self, samplings: Sequence[Sampling], draws: NDArray[np.float64]) -> list[int | None]:
        """Return the next token of every live row from its latest logits; ``draws`` holds one uniform number per row.

        ``None`` for a row whose logits are not numbers.
        """
        ...

    def proofs(self, row: int) -> tuple[Proof, ...]:
        """Return what was injected into a live row so far."""
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Drop every live row not listed, all if none is; the listed ones are renumbered from 0 in this order.

        As few rows as possible change their number.
        """
        ...

    def step(self, tokens: Sequence[int]) -> None:
        """Feed one token per live row."""
        ...


@dataclass(slots=True)
class _LiveRow:
    index: int
    request: Request
    draws: NDArray[np.float64]
    visible: Visible
    tokens: list[int] = field(default_factory=list)
    shown: int = 0
    """Characters of the text that were told."""

    @classmethod
    def of(cls, index: int, request: Request, tokenizer: Tokenizer) -> _LiveRow:
        draws = uniforms(request.sampling.seed, request.sampling.max_tokens)
        return cls(index, request, draws, Visible(tokenizer))


def run(
    requests: Sequence[Request], decoder: Decoder, tokenizer: Tokenizer, batch_size: int, on_token: OnToken | None
) -> Iterator[Completion]:
    """Decode all requests, at most ``batch_size`` rows at a time.

    Args:
        decoder: without rows.

    Raises:
        ModelError: rows came to logits that are not numbers. All other rows are finished and yielded first.
    """
    waiting = deque(enumerate(requests))
    rows: list[_LiveRow] = []
    failed: list[int] = []
    while waiting or rows:
        free = batch_size - len(rows)
        if waiting and (not rows or free >= min(len(waiting), -(-batch_size // _ADMITTED_AT_ONCE))):
            entering = [_LiveRow.of(*waiting.popleft(), tokenizer) for _ in range(min(free, len(waiting)))]
            decoder.admit([row.request.prompt for row in entering])
            rows += entering
        draws = np.array([row.draws[len(row.tokens)] for row in rows])
        chosen = decoder.sample([row.request.sampling for row in rows], draws)
        gone = set()
        for at, (row, token) in enumerate(zip(rows, chosen, strict=True)):
            if token is None:
                failed.append(row.index)
                gone.add(at)
                continue
            completion = _advance(row, token, tokenizer, on_token)
            if completion is not None:
                gone.add(at)
                yield replace(completion, proofs=decoder.proofs(at))
        if gone:
            live = _closed_up(len(rows), gone)
            decoder.keep(live)
            rows = [rows[at] for at in live]
        if rows:
            decoder.step([row.tokens[-1] for row in rows])
    if failed:
        raise ModelError(
            f"{_rows(failed)} of {len(requests)} came to logits that are not numbers: an injection overflowed the "
            "model's dtype, so lower the strength or use --dtype bfloat16 or float32"
        )


def _closed_up(count: int, gone: set[int]) -> list[int]:
    """Which row takes which place when some leave: the last ones fill the holes, all others stay where they are."""
    left = count - len(gone)
    movers = (at for at in range(count - 1, left - 1, -1) if at not in gone)
    return [next(movers) if at in gone else at for at in range(left)]


def _rows(failed: Sequence[int]) -> str:
    shown = ", ".join(str(index) for index in sorted(failed)[:5])
    return f"row{'s' * (len(failed) > 1)} {shown}{' and others' * (len(failed) > 5)}"


def _advance(row: _LiveRow, token: int, tokenizer: Tokenizer, on_token: OnToken | None) -> Completion | None:
    """Take a new token into a row; returns its completion, proofs still open, when it was the last."""
    sampling = row.request.sampling
    forwarded = len(row.request.prompt.tokens) + len(row.tokens)
    if token in tokenizer.end_tokens or token in sampling.ends:
        text = tokenizer.decode(row.tokens)
        if on_token is not None and text[row.shown :]:
            on_token(TokenEvent(row.index, token, text[row.shown :]))
        return Completion(row.index, tuple(row.tokens), text, "stop", forwarded, ended_by=token)
    row.tokens.append(token)
    full = len(row.tokens) == sampling.max_tokens
    if not (sampling.stop or on_token or full):
        return None
    text = row.visible.text(row.tokens) if sampling.stop or on_token else tokenizer.decode(row.tokens)
    cut = min((at for at in map(text.find, sampling.stop) if at >= 0), default=-1)
    if cut >= 0:
        text = text[:cut]
    if on_token is not None:
        # An unfinished multi-byte character decodes to U+FFFD; hold it back until it is whole.
        visible = text if full or cut >= 0 else text.rstrip("�")
        on_token(TokenEvent(row.index, token, visible[row.shown :]))
        row.shown = max(row.shown, len(visible))
    if cut >= 0:
        return Completion(row.index, tuple(row.tokens), text, "stop", forwarded)
    if full:
        return Completion(row.index, tuple(row.tokens), text, "length", forwarded)
    return None
