"""Columns in which all rows hold the same, attended together: against torch's own attention, and in whole replies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from mlxintro.backends.base import Injection, Prompt, Request, Sampling
from mlxintro.backends.models.sources import read_folder
from mlxintro.backends.pytorch import attention
from mlxintro.backends.pytorch import backend as torch_backend

ROWS, SHARED, COLUMNS = 20, 30, 41


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many columns were attended together, once for every layer and step."""
    found: list[int] = []
    apart = attention._attend_apart

    def counted(*tensors: Any) -> Tensor:
        found.append(tensors[-1])
        return apart(*tensors)

    monkeypatch.setattr(attention, "_attend_apart", counted)
    return found


@torch.inference_mode()
@pytest.mark.parametrize(("heads", "kinds"), [(6, 2), (4, 4), (4, 1)])
def test_it_is_the_same_sum(heads: int, kinds: int, taken: list[int]) -> None:
    generator = torch.Generator().manual_seed(heads)
    query = torch.randn(ROWS, heads, 1, 8, generator=generator)
    # As a cache hands them out: rows and columns of a larger store.
    stores = torch.randn(2, ROWS + 3, kinds, COLUMNS + 9, 8, generator=generator)
    stores[:, :, :, :SHARED] = stores[:, :1, :, :SHARED]
    key, value = stores[:, :ROWS, :, :COLUMNS]
    lengths = torch.randint(SHARED + 1, COLUMNS + 1, (ROWS,), generator=generator)
    mask = torch.arange(COLUMNS) < lengths[:, None, None, None]
    keys, values = (part.double().repeat_interleave(heads // kinds, dim=1) for part in (key, value))
    expected = scaled_dot_product_attention(query.double(), keys, values, attn_mask=mask, scale=0.4).transpose(1, 2)
    for columns in (0, SHARED):
        attention.mark_shared(key, columns)
        found, _ = attention.attend(None, query, key, value, mask, scaling=0.4)
        assert found.shape == (ROWS, 1, heads, 8)
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    assert taken == [SHARED]


def requests(width: int, *, beginnings: tuple[int, ...] = (0,), rows: int = 40) -> list[Request]:
    """Rows with endings, lengths, windows and vectors of their own; they go on from one of several beginnings."""
    random = np.random.default_rng(5)
    begun = [tuple(random.integers(4, 440, SHARED).tolist()) for _ in range(max(beginnings) + 1)]
    found = []
    for row in range(rows):
        tokens = begun[beginnings[row % len(beginnings)]] + tuple(random.integers(4, 440, 3 + row % 5).tolist())
        vector = random.normal(size=width).astype(np.float32)
        prompt = Prompt(tokens, (Injection(row % 4, vector, SHARED + 1),))
        found.append(Request(prompt, Sampling(max_tokens=2 + row % 7)))
    return found


def replies(backend: Any, asked: list[Request]) -> list[tuple[int, ...]]:
    return [reply.tokens for reply in sorted(backend.generate(asked), key=lambda reply: reply.index)]


def test_rows_that_leave_and_enter_say_what_they_say_alone(tiny: Callable[[str], Path], taken: list[int]) -> None:
    """Forty rows through a batch of twenty: the first slot changes its row several times."""
    source = read_folder(tiny("llama"), name="tiny", repository="tiny")
    with torch_backend.load(source, device="cpu", batch_size=ROWS) as backend:
        asked = requests(backend.info.width)
        together = replies(backend, asked)
        assert taken
        assert set(taken) <= set(range(SHARED, SHARED + 2))
        taken.clear()
        assert together[::3] == [replies(backend, [one])[0] for one in asked[::3]]
        assert not taken


@pytest.mark.parametrize(
    ("family", "beginnings"), [("llama", (0, 1)), pytest.param("gemma3", (0,), marks=pytest.mark.slow)]
)
def test_rows_of_two_beginnings_and_sliding_windows_are_attended_one_by_one(
    family: str, beginnings: tuple[int, ...], tiny: Callable[[str], Path], taken: list[int]
) -> None:
    source = read_folder(tiny(family), name="tiny", repository="tiny")
    with torch_backend.load(source, device="cpu", batch_size=ROWS) as backend:
        asked = requests(backend.info.width, beginnings=beginnings, rows=ROWS)
        together = replies(backend, asked)
        assert not taken
        assert together[::3] == [replies(backend, [one])[0] for one in asked[::3]]
