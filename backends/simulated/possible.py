"""Ways in which a simulated subject may reply, and the dice by which one is chosen."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PossibleReply:
    """Is one way to reply."""

    probability: float
    openings: tuple[str, ...]
    """The first words, as the probabilities of continuations see them; the first is the likeliest."""
    replies: tuple[str, ...]
    """Ways to put it, equally likely."""
    says: bool | None = None
    """Whether it is a yes or a no to what is asked; ``None`` for replies to other things."""


class Dice:
    """Draws uniform numbers from a key, the same on every machine."""

    def __init__(self, *key: object) -> None:
        self._key = repr(key).encode()
        self._count = 0

    def uniform(self) -> float:
        self._count += 1
        digest = hashlib.blake2b(self._key + self._count.to_bytes(4, "big"), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64

    def choice(self, options: Sequence[str]) -> str:
        return options[int(self.uniform() * len(options))]
