"""What a question to a Claude model costs: before it is asked, at worst, and afterwards."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt

from mlxintro import data
from mlxintro.protocol.bounds import Data

MILLION = 1_000_000


class Long(Data):
    """Holds prices of long requests."""

    above: int
    input: float
    output: float


class Model(Data):
    """Holds prices of a model in US dollars per million tokens."""

    input: float
    output: float
    long: Long | None = None
    effort: Literal["low", "medium", "high"] | None = None


class PriceTable(Data):
    date: str
    source: str
    default: str
    batch: float
    cache_write: float
    cache_read: float
    models: Mapping[str, Model]


class Usage(BaseModel):
    """Counts tokens as the API counts and bills them."""

    model_config = ConfigDict(frozen=True)

    input_tokens: NonNegativeInt
    """Neither written to the cache nor read from it."""
    output_tokens: NonNegativeInt
    """Thinking included."""
    cache_creation_input_tokens: NonNegativeInt | None = None
    cache_read_input_tokens: NonNegativeInt | None = None

    @property
    def read(self) -> int:
        """Return all input tokens."""
        return self.input_tokens + (self.cache_creation_input_tokens or 0) + (self.cache_read_input_tokens or 0)


@lru_cache(maxsize=1)
def table() -> PriceTable:
    """Return the prices that ship."""
    return PriceTable.model_validate(data.load("claude_models.toml"))


def find(model: str) -> Model | None:
    """Return a model's prices; a dated id (``-20251001``) has those of its alias. ``None`` when they are not known."""
    return table().models.get(model) or table().models.get(re.sub(r"-\d{8}$", "", model))


class Tariff:
    """Works out the price of one model, for single requests or for batches."""

    def __init__(self, model: Model, *, batch: bool = False) -> None:
        self._model = model
        self._share = table().batch if batch else 1.0

    def cost(self, usage: Usage) -> float:
        """Return the US dollars of an answered request."""
        read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
        weighted = usage.input_tokens + table().cache_write * written + table().cache_read * read
        return self._dollars(usage.read, weighted, usage.output_tokens)

    def at_most(self, size: int, max_tokens: int) -> float:
        """Return the US dollars of a request at worst.

        Args:
            size: UTF-8 bytes of everything that is sent. No byte-level tokeniser makes more tokens than bytes.
            max_tokens: of output, thinking included.
        """
        tokens = size + _OVERHEAD
        return self._dollars(tokens, table().cache_write * tokens, max_tokens)

    def about(self, characters: int, output: int) -> float:
        """Return the US dollars of a request, estimated."""
        tokens = estimated_tokens(characters)
        return self._dollars(tokens, tokens, output)

    def _dollars(self, length: int, weighted_input: float, output: float) -> float:
        long = self._model.long
        prices = long if long is not None and length > long.above else self._model
        return self._share * (weighted_input * prices.input + output * prices.output) / MILLION


_OVERHEAD = 1000
"""Tokens the API adds by itself: the frame of the dialogue, and instructions for structured output."""


def estimated_tokens(characters: int) -> int:
    """Return the tokens of English text: 3.5 characters each, a little fewer with the tokenisers since Claude 4.7."""
    return round(characters / 2.7)
