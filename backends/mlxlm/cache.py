"""mlx-lm's caches for rows that go through a model together.

Rows at one position use the plain caches with several rows: no padding, no mask. Rows at different positions use
mlx-lm's batch caches, which pad on the left. The functions here get from one to the other, multiply, join and cut rows;
what a cache holds is mlx-lm's affair. Quantised ones exist as plain caches only.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_map
from mlx_lm.models.cache import (
    BatchKVCache,
    KVCache,
    QuantizedKVCache,
    RotatingKVCache,
    can_trim_prompt_cache,
    make_prompt_cache,
)

from ..errors import UsageError

Maker = Callable[[], list[Any]]
"""Makes empty caches for one call of a model, one per block."""


class GroupedKVCache(BatchKVCache):  # type: ignore[misc]  # the library is untyped
    """Caches for attention whose scores have an axis for groups of query heads, as mlx-lm's Gemma 2 has.

    A mask per row, (rows, 1, n, m), would there be broadcast over heads instead of rows.
    """

    def make_mask(self, *args: Any, **kwargs: Any) -> mx.array:
        """Return a mask of shape (rows, 1, 1, n, m)."""
        return mx.expand_dims(super().make_mask(*args, **kwargs), 1)


PADDED = (BatchKVCache, GroupedKVCache)
"""MLXBatch caches a model may get along with."""


def maker(model: nn.Module, bits: int | None) -> Maker:
    """Return what makes the caches of a model.

    Args:
        bits: 4 or 8 to keep keys and values quantised, as they were computed when ``None``.

    Raises:
        UsageError: its attention, or its caches, know nothing of quantised keys and values.
    """
    plain = partial(make_prompt_cache, model)
    if bits is None:
        return plain
    blocks = len(plain())
    if all(type(cache) is KVCache for cache in plain()):
        # In the largest groups that a head's numbers fill.
        for group in (64, 32):
            caches = [QuantizedKVCache(group, bits) for _ in range(blocks)]
            try:
                mx.eval(model(mx.array([[0, 0]]), cache=caches))
            except (ValueError, RuntimeError, TypeError, AttributeError):
                continue
            return lambda: [QuantizedKVCache(group, bits) for _ in range(blocks)]
    raise UsageError("this model cannot run with quantised keys and values: leave out --kv-bits")


def can_pad(caches: Sequence[Any]) -> bool:
    """Tell whether plain caches have counterparts for rows at different positions; state-space caches have none."""
    return all(type(cache) in (KVCache, RotatingKVCache) for cache in caches)


def copied(caches: Sequence[Any]) -> list[Any]:
    """Return the plain caches that go on by themselves.

    Mlx-lm writes into a cache's arrays, so these are copied too.
    """
    return [_changed(cache, mx.array) for cache in caches]


def forked(caches: Sequence[Any], rows: int) -> list[Any]:
    """Return the plain caches of one row as plain caches of many equal ones."""
    return [_changed(cache, lambda array: mx.repeat(array, rows, axis=0)) for cache in caches]


def shortened(caches: Sequence[Any], tokens: int) -> list[Any] | None:
    """Return the plain caches of the first tokens alone; ``None`` where what came later cannot be taken back."""
    if not can_trim_prompt_cache(list(caches)):
        return None
    twins = [copy.copy(cache) for cache in caches]
    for twin in twins:
        twin.trim(twin.offset - tokens)
    # Copies of what is cut off would take memory in every row.
    room = -(-tokens // KVCache.step) * KVCache.step
    return [_changed(twin, lambda array: array[..., :room, :]) for twin in twins]


def stacked(ours: Sequence[Any], theirs: Sequence[Any]) -> list[Any] | None:
    """Return the plain caches of both sides' rows, which are at one position.

    ``None`` where they are not laid out alike.
    """
    twins = []
    for mine, other in zip(ours, theirs, strict=True):
        if type(mine) is not type(other):
            return None
        sides = [[leaf for _, leaf in tree_flatten(cache.state)] for cache in (mine, other)]
        if len(sides[0]) != len(sides[1]) or not all(map(_alike, *sides)):
            return None
        leaves = iter([_joined(a, b) if isinstance(a, mx.array) else a for a, b in zip(*sides, strict=True)])
        twin = copy.copy(mine)
        twin.state = tree_map(lambda _: next(leaves), mine.state)  # noqa: B023  # used at once
        twins.append(twin)
    return twins


def _alike(ours: Any, theirs: Any) -> bool:
    if not isinstance(ours, mx.array) or not isinstance(theirs, mx.array):
        return bool(type(ours) is type(theirs) and ours == theirs)
    sizes = [(array.ndim, array.shape[1:-2], array.shape[-1]) for array in (ours, theirs)]
    return ours.ndim > 2 and sizes[0] == sizes[1]


def _joined(ours: mx.array, theirs: mx.array) -> mx.array:
    """Rows of both; room that only one of them has is given up."""
    columns = min(ours.shape[-2], theirs.shape[-2])
    return mx.concatenate([array[..., :columns, :] for array in (ours, theirs)])


def chosen(caches: Sequence[Any], rows: Sequence[int]) -> list[Any]:
    """Return some rows of plain caches, in this order."""
    index = mx.array(list(rows))
    return [_changed(cache, lambda array: array[index]) for cache in caches]


def padded(caches: Sequence[Any], rows: int, kind: type[BatchKVCache]) -> list[Any]:
    """Return the plain caches of ``rows`` rows as batch caches.

    Args:
        kind: which one stands in for ``KVCache``.
    """
    singles = [chosen(caches, [row]) for row in range(rows)]
    return [_merged(layer, kind) for layer in zip(*singles, strict=True)]


def spread(caches: Sequence[Any], rows: int, kind: type[BatchKVCache]) -> list[Any]:
    """Return the plain caches of one row as batch caches of many equal ones."""
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
