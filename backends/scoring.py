"""Scoring all backends share: every prompt is read once, and what is to be scored branches off from it.

A prompt's last position predicts the first token of all its continuations. Only those with more tokens need more:
their tokens but the last (which is predicted, never read) are read by copies of the prompt's row. A backend supplies
a ``PromptScorer``, which holds prompts that were read; nothing here knows of tensors.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, TypeVar

import numpy as np

from .values import Float32, Prompt, Proof

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Names a token whose log-probability is asked for."""

    row: int
    column: int
    """Which of the tokens just read predicts it."""
    token: int


class PromptScorer(Protocol):
    """Holds prompts that have been read, on the device. Every method leaves it as it is."""

    def first(self, wanted: Sequence[Wanted]) -> Sequence[float]:
        """Return the log-probabilities of tokens right after the prompts; columns are 0."""
        ...

    def follow(
        self, rows: Sequence[int], tails: Sequence[Sequence[int]], wanted: Sequence[Wanted]
    ) -> tuple[Sequence[float], list[tuple[Proof, ...]]]:
        """Let copies of rows read on.

        Args:
            rows: which row each copy continues; one may be listed several times.
            tails: what each copy reads, all of one length.
            wanted: rows are copies, columns are counted from the first token of the tail.

        Returns:
            Log-probabilities, and per copy what was injected into prompt and tail.
        """
        ...

    def proofs(self, row: int) -> tuple[Proof, ...]:
        """Return what was injected into a prompt."""
        ...


@dataclass(frozen=True, slots=True)
class _Branch:
    """Holds continuations of one row that differ in their last token at most."""

    row: int
    head: tuple[int, ...]
    """All tokens but the last."""
    options: tuple[int, ...]


def run(
    prompts: Sequence[Prompt],
    continuations: Sequence[Sequence[Sequence[int]]],
    start: Callable[[Sequence[Prompt]], PromptScorer],
    plan: Iterable[Sequence[int]],
    batch_size: int,
) -> Iterator[tuple[int, int, Float32, tuple[Proof, ...]]]:
    """Score everything; yields (prompt, continuation, log-probabilities, proofs).

    Args:
        start: reads prompts.
        plan: which prompts are read together.
        batch_size: most copies that read on together.
    """
    for members in plan:
        reader = start([prompts[index] for index in members])
        for row, option, logprobs, proofs in _score(reader, [continuations[index] for index in members], batch_size):
            yield members[row], option, np.array(logprobs, np.float32), proofs


def batched(items: Sequence[T], size: int) -> Iterator[tuple[T, ...]]:
    """Return the consecutive parts of at most ``size`` items."""
    iterator = iter(items)
    while part := tuple(islice(iterator, size)):
        yield part


def _score(
    reader: PromptScorer, rows: Sequence[Sequence[Sequence[int]]], batch_size: int
) -> Iterator[tuple[int, int, list[float], tuple[Proof, ...]]]:
    keys = [(row, option) for row, options in enumerate(rows) for option in range(len(options))]
    first = dict(zip(keys, reader.first([Wanted(row, 0, rows[row][option][0]) for row, option in keys]), strict=True))
    branches = _branches(rows)
    for branch in branches.pop(0, []):
        for option in branch.options:
            yield branch.row, option, [first[branch.row, option]], reader.proofs(branch.row)
    for length, group in sorted(branches.items()):
        for part in batched(group, batch_size):
            inner = [Wanted(at, c, token) for at, branch in enumerate(part) for c, token in enumerate(branch.head[1:])]
            last = [
                Wanted(at, length - 1, rows[branch.row][option][-1])
                for at, branch in enumerate(part)
                for option in branch.options
            ]
            tails = [branch.head for branch in part]
            values, proofs = reader.follow([branch.row for branch in part], tails, inner + last)
            ends = iter(values[len(inner) :])
            for at, branch in enumerate(part):
                between = list(values[at * (length - 1) : (at + 1) * (length - 1)])
                for option in branch.options:
                    yield branch.row, option, [first[branch.row, option], *between, next(ends)], proofs[at]


def _branches(rows: Sequence[Sequence[Sequence[int]]]) -> dict[int, list[_Branch]]:
    """By the length of what is read: copies of one length need no padding."""
    found: dict[tuple[int, tuple[int, ...]], list[int]] = defaultdict(list)
    for row, options in enumerate(rows):
        for option, tokens in enumerate(options):
            found[row, tuple(tokens[:-1])].append(option)
    lengths: dict[int, list[_Branch]] = defaultdict(list)
    for (row, head), members in found.items():
        lengths[len(head)].append(_Branch(row, head, tuple(members)))
    return lengths
