"""What is read of a run without sampling: yes against no, and the concept's name after an opening that says yes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlxintro.backends.base import Float32, Tokenizer
from mlxintro.replies.log_odds import log_total

TokenIds = tuple[int, ...]
_NEVER = -1e3
"""Stands for the logarithm of a probability of 0, which no difference can be taken of."""


@dataclass(frozen=True, slots=True)
class AnswerReading:
    """Holds one run's answer, as natural logarithms of probabilities."""

    yes: float
    """The spellings of yes together."""
    no: float
    name: float
    """The concept's name, all its tokens, given that the answer opens as ``AnswerOptions.opening`` says."""

    @property
    def log_odds(self) -> float:
        """Return the log-odds of yes against no."""
        return self.yes - self.no

    def outcome(self, which: str) -> float:
        """Return ``log_odds`` or ``name``."""
        return self.log_odds if which == "log_odds" else self.name

    def as_dict(self) -> dict[str, float]:
        return {"yes": self.yes, "no": self.no, "name": self.name}

    @classmethod
    def of(cls, data: Mapping[str, float]) -> AnswerReading:
        return cls(**data)


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """Holds the continuations that a reading takes, as tokens."""

    yes: tuple[TokenIds, ...]
    no: tuple[TokenIds, ...]
    opening: TokenIds
    """Begins an answer that says yes; may be empty."""
    name: TokenIds

    @classmethod
    def encoded(
        cls, tokenizer: Tokenizer, yes: Sequence[str], no: Sequence[str], opening: str, name: str
    ) -> AnswerOptions:
        """Tokenise each text by itself, exactly as it is written (a leading space counts)."""

        def each(texts: Sequence[str]) -> tuple[TokenIds, ...]:
            return tuple(dict.fromkeys(tokenizer.encode(text).tokens for text in texts))

        begun = tokenizer.encode(opening).tokens if opening else ()
        return cls(each(yes), each(no), begun, tokenizer.encode(name).tokens)

    @property
    def continuations(self) -> list[TokenIds]:
        """Return what is to be scored, in the order in which ``read`` takes it."""
        return [*self.yes, *self.no, (*self.opening, *self.name)]

    @property
    def longest(self) -> int:
        return max(map(len, self.continuations))

    def read(self, logprobs: Sequence[Float32]) -> AnswerReading:
        """Turn the log-probabilities of ``continuations`` into a reading."""
        sums = [float(np.sum(one, dtype=np.float64)) for one in logprobs]
        yes, no = sums[: len(self.yes)], sums[len(self.yes) : len(self.yes) + len(self.no)]
        return AnswerReading(
            log_total(yes), log_total(no), float(np.sum(logprobs[-1][len(self.opening) :], dtype=np.float64))
        )
