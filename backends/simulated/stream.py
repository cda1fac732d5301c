"""The simulated subject's residual stream: how it grows layer by layer, and what injections do to it.

It is arithmetic only: what a position holds is the business of ``text``, what it leads to
that of ``subject``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .. import lanes
from ..base import Float32, Injection, Site

_ADDED: tuple[Site, ...] = ("attn_out", "mlp_out")
GROWTH = 1.25
"""Ratio of the stream's scale from one layer to the next."""


class SimulatedStream:
    """Simulates one pass of a prompt: the residual stream with the injections applied, layer by layer.

    ``x`` starts at zero; layer ``L`` adds its attention's update, then its MLP's. What is injected stays in ``x``.
    """

    def __init__(self, updates: Float32, injections: Sequence[Injection], first: int = 0) -> None:
        layers, _, count, width = updates.shape
        self._first = first
        self.tallies: dict[int, lanes.InjectionTally] = {}
        self.sites: dict[Site, Float32] = {
            # Its heads need no output projection: what they hand over is what attention adds.
            "head_out": updates[:, 0].copy(),
            "attn_out": np.empty((layers, count, width), np.float32),
            "mlp_out": updates[:, 1].copy(),
            "resid_post": np.empty((layers, count, width), np.float32),
        }
        x = np.zeros((count, width), np.float32)
        for layer in range(layers):
            mine = [(i, injection) for i, injection in enumerate(injections) if injection.layer == layer]
            self.sites["attn_out"][layer] = self._inject(self.sites["head_out"][layer], mine, "head_out")
            for site in _ADDED:
                x = x + self._inject(self.sites[site][layer], mine, site)
            x = self._inject(x, mine, "resid_post")
            self.sites["resid_post"][layer] = x

    @property
    def residual(self) -> Float32:
        return self.sites["resid_post"]

    def _inject(self, values: Float32, injections: Sequence[tuple[int, Injection]], site: Site) -> Float32:
        """Apply the injections at one site in place, and measure what each did."""
        for owner, injection in injections:
            end = self._first + len(values)
            start, stop = max(injection.start, self._first), min(end if injection.stop is None else injection.stop, end)
            if injection.site != site or stop <= start:
                continue
            part = values[start - self._first : stop - self._first, injection.columns]
            before = part.copy()
            vectors = injection.vector
            if vectors.ndim > 1:
                vectors = vectors[start - injection.start : stop - injection.start]
            if injection.operation == "add":
                part += vectors
            elif injection.operation == "replace":
                part[:] = vectors
            else:
                units = vectors / np.linalg.norm(vectors.astype(np.float64), axis=-1, keepdims=True)
                units = np.broadcast_to(units.astype(np.float32), part.shape)
                part -= (part * units).sum(axis=-1, keepdims=True) * units
            change = np.linalg.norm(part - before, axis=1)
            relative = change / np.linalg.norm(before, axis=1)
            tally = lanes.InjectionTally(stop - start, start, stop - 1, float(change.sum()), float(relative.sum()))
            self.tallies[owner] = tally
        return values


def together(
    before: Mapping[int, lanes.InjectionTally], after: Mapping[int, lanes.InjectionTally]
) -> dict[int, lanes.InjectionTally]:
    """Return what injections did at positions and at later ones."""
    found = dict(before)
    for owner, new in after.items():
        old = found.get(owner)
        found[owner] = (
            new
            if old is None
            else replace(
                old,
                positions=old.positions + new.positions,
                last=new.last,
                change=old.change + new.change,
                relative_change=old.relative_change + new.relative_change,
            )
        )
    return found


def noise(seeds: NDArray[np.uint64], width: int) -> Float32:
    """Return +-1 from 64-bit seeds, shape (seeds, width): SplitMix64 over (seed, dimension)."""
    with np.errstate(over="ignore"):
        value = seeds[:, None] + (np.arange(1, width + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))[None]
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        value = (value ^ (value >> np.uint64(31))) & np.uint64(1)
    return np.asarray(value * 2.0 - 1.0, np.float32)
