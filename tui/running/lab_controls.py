"""The lab's knobs: where, how much and in which unit; pure values, turned by ``tui.screens.lab``."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import get_args

from mlxintro.lab.messages import READOUT, Ready, Started
from mlxintro.protocol.trials import Unit
from mlxintro.protocol.windows import THOUGHT_WINDOWS, WINDOWS, WindowName
from mlxintro.vectors.steering import DEFAULT_LAYER

UNITS: tuple[Unit, ...] = get_args(Unit)
USUAL: dict[Unit, float] = {"raw": 2.0, "norm": 10.0, "resid": 0.5}
"""Strengths to begin with where the dose in another unit is not known."""
IN_UNIT: dict[Unit, str] = {"raw": "× vector", "norm": "norm", "resid": "× ‖resid‖"}
"""A strength in words: what stands behind the number."""


@dataclass(frozen=True, slots=True)
class Knobs:
    layer: int | float = DEFAULT_LAYER
    """Block index, or depth fraction while the model is not known."""
    readout: int | float = READOUT
    strength: float = USUAL["raw"]
    unit: Unit = "raw"
    window: WindowName = "all"
    layers: int = 0
    """Layers of the model; 0 while it is not known."""
    dose: Started | None = field(default=None, compare=False)
    """The latest in all units."""

    def fitted(self, model: Ready) -> Knobs:
        """Return the knobs with a model's layers: those that were chosen, where it has them."""
        keep = [isinstance(at, int) and at < model.layers for at in (self.layer, self.readout)]
        return replace(
            self,
            layers=model.layers,
            layer=self.layer if keep[0] else model.layer,
            readout=self.readout if keep[1] else model.readout,
            dose=None,
        )

    def turned_layer(self, by: int) -> Knobs:
        return replace(self, layer=self._moved(self.layer, by))

    def turned_readout(self, by: int) -> Knobs:
        return replace(self, readout=self._moved(self.readout, by))

    def turned(self, steps: int) -> Knobs:
        """Return the strength by so many steps."""
        return replace(self, strength=round(self.strength + steps * self.step, 9))

    def scaled(self, factor: float) -> Knobs:
        """Return a multiple of the strength; from 0 the first step."""
        return replace(self, strength=float(f"{self.strength * factor:.6g}")) if self.strength else self.turned(1)

    def next_unit(self) -> Knobs:
        """Return the dose in the next unit, or the usual strength where the dose at this layer is not known."""
        unit = UNITS[(UNITS.index(self.unit) + 1) % len(UNITS)]
        dose = self.dose if self.dose is not None and self.dose.layer == self.layer else None
        if dose is None or not dose.vector_norm or not dose.resid_norm:
            return replace(self, unit=unit, strength=USUAL[unit])
        worth = {"raw": dose.vector_norm, "norm": 1.0, "resid": dose.resid_norm}
        return replace(self, unit=unit, strength=float(f"{self.strength * worth[self.unit] / worth[unit]:.3g}"))

    def next_window(self) -> Knobs:
        windows: list[WindowName] = [name for name in WINDOWS if name not in ("question", *THOUGHT_WINDOWS)]
        return replace(self, window=windows[(windows.index(self.window) + 1) % len(windows)])

    @property
    def step(self) -> float:
        """Return a step of strength: half a vector, a twentieth of the residual norm, or a round norm of that order."""
        if self.unit == "norm":
            return _round_number(self.dose.vector_norm / 2) if self.dose is not None and self.dose.vector_norm else 1.0
        return 0.5 if self.unit == "raw" else 0.05

    def _moved(self, at: int | float, by: int) -> int | float:
        return max(0, min(self.layers - 1, int(at) + by)) if self.layers else at


def _round_number(value: float) -> float:
    """1, 2 or 5 times a power of ten, next below."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(first for first in (5, 2, 1) if first * power <= value * (1 + 1e-9)) * power
