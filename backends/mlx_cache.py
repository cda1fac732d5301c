"""mlx-lm's caches for rows that go through a model together.

Rows at one position use the plain caches with several rows: no padding, no mask. Rows at different positions use
mlx-lm's batch caches, which pad on the left. The functions here get from one to the other, multiply, join and cut rows;
what a cache holds is mlx-lm's affair.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import mlx.core as mx
from mlx.utils import tree_map
from mlx_lm.models.cache import BatchKVCache, KVCache, RotatingKVCache


class GroupedKVCache(BatchKVCache):  # type: ignore[misc]  # the library is untyped
    """For attention whose scores have an axis for the group of query heads, as mlx-lm's Gemma 2 writes it out.

    A mask per row, (rows, 1, n, m), would there be broadcast over heads instead of rows.
    """

    def make_mask(self, *args: Any, **kwargs: Any) -> mx.array:
        """(rows, 1, 1, n, m)."""
        return mx.expand_dims(super().make_mask(*args, **kwargs), 1)


PADDED = (BatchKVCache, GroupedKVCache)
"""Batch caches a model may get along with."""


def can_pad(caches: Sequence[Any]) -> bool:
    """Whether plain caches have counterparts for rows at different positions; state-space caches have none."""
    return all(type(cache) in (KVCache, RotatingKVCache) for cache in caches)


def copied(caches: Sequence[Any]) -> list[Any]:
    """Plain caches that go on by themselves. mlx-lm writes into a cache's arrays, so these are copied too."""
    return [_changed(cache, mx.array) for cache in caches]


def forked(caches: Sequence[Any], rows: int) -> list[Any]:
    """Plain caches of one row as plain caches of many equal ones."""
    return [_changed(cache, lambda array: mx.repeat(array, rows, axis=0)) for cache in caches]


def chosen(caches: Sequence[Any], rows: Sequence[int]) -> list[Any]:
    """Some rows of plain caches, in this order."""
    index = mx.array(list(rows))
    return [_changed(cache, lambda array: array[index]) for cache in caches]


def padded(caches: Sequence[Any], rows: int, kind: type[BatchKVCache]) -> list[Any]:
    """Plain caches of ``rows`` rows as batch caches.

    Args:
        kind: which one stands in for ``KVCache``.
    """
    singles = [chosen(caches, [row]) for row in range(rows)]
    return [_merged(layer, kind) for layer in zip(*singles, strict=True)]


def spread(caches: Sequence[Any], rows: int, kind: type[BatchKVCache]) -> list[Any]:
    """Plain caches of one row as batch caches of many equal ones."""
    return [_merged([cache] * rows, kind) for cache in caches]


def _merged(caches: Sequence[Any], kind: type[BatchKVCache]) -> Any:
    if isinstance(caches[0], RotatingKVCache):
        return RotatingKVCache.merge(caches)
    return kind([0] * len(caches)) if caches[0].empty() else kind.merge(caches)


def _changed(cache: Any, change: Callable[[mx.array], mx.array]) -> Any:
    """A cache with every array over rows changed; counters are left alone."""
    twin = copy.copy(cache)
    twin.state = tree_map(
        lambda leaf: change(leaf) if isinstance(leaf, mx.array) and leaf.ndim > 1 else leaf, cache.state
    )
    return twin
