"""The text of a reply that grows token by token, at a cost per token that does not grow with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .base import Tokenizer

_OPEN = 16
"""Tokens decoded anew at least every time."""
_CONTEXT = 4
"""Tokens before them that are decoded along: a piece may be written differently at the very beginning of a text."""


@dataclass(slots=True)
class Visible:
    """Says what ``tokenizer.decode`` makes of all tokens, from the latest ones alone."""

    tokenizer: Tokenizer
    _settled: str = ""
    _begin: int = 0
    """First token that is decoded."""
    _open: int = 0
    """First token whose text is not settled."""
    _context: str = ""
    """Text of the tokens between the two."""

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text of all tokens, which are those of the last call and further ones."""
        text = self._settled + self.tokenizer.decode(tokens[self._begin :])[len(self._context) :]
        # A character that is not whole yet is U+FFFD; what follows may still change it.
        if len(tokens) - self._open >= _OPEN and not text.endswith("�"):
            self._settled, self._open, self._begin = text, len(tokens), len(tokens) - _CONTEXT
            self._context = self.tokenizer.decode(tokens[self._begin :])
        return text
