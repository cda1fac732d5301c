"""What layers carry from token to token instead of keys and values: a state of fixed size per row.

State spaces, gated delta rules and short convolutions keep a summary of all earlier tokens. It has no columns, so it
cannot be cut back to an earlier position, and a padding token would change it like any other. Rows that are read
together must therefore be equally long; once read they decode together, each in its slot, as rows of keys do.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

StateName = tuple[str, int]
"""``conv`` or ``recurrent``, and a number where a layer has several."""


class LayerStates:
    """Holds the states of one layer, (slots, ...) each; there are none before the first token."""

    def __init__(self, held: dict[StateName, Tensor] | None = None) -> None:
        self._held = held or {}

    def __bool__(self) -> bool:
        return bool(self._held)

    def get(self, name: StateName, rows: int) -> Tensor | None:
        """Return the state of the first rows, a view that a step may write to; ``None`` before the first token."""
        held = self._held.get(name)
        return None if held is None else held[:rows]

    def put(self, name: StateName, new: Tensor) -> Tensor:
        """Keep the state of the first rows; returns it as it is kept."""
        if name not in self._held:
            self._held[name] = torch.empty_like(new, memory_format=torch.contiguous_format)
        kept = self._held[name][: len(new)]
        return kept.copy_(new)

    def convolved(self, name: StateName, new: Tensor, kernel: int | None) -> Tensor:
        """Keep the last inputs of a convolution.

        Args:
            new: (rows, channels, tokens).
            kernel: how many inputs are kept; as many as there are when ``None``.

        Returns:
            (rows, channels, tokens or more): the new inputs with what is kept of the earlier ones before them.
        """
        before = self.get(name, len(new))
        size = before.shape[-1] if before is not None else kernel or new.shape[-1]
        whole = pad(new, (max(0, size - new.shape[-1]), 0)) if before is None else torch.cat([before, new], dim=-1)
        self.put(name, whole[..., whole.shape[-1] - size :])
        return whole

    def spoil(self, kind: str) -> bool:
        """Turn all states of a kind into NaN; whether there were any."""
        found = [held.fill_(float("nan")) for (name, _), held in self._held.items() if name == kind]
        return bool(found)

    def chosen(self, rows: Sequence[int]) -> LayerStates:
        """Return the copies of these rows; one may be listed several times."""
        return LayerStates({name: held[list(rows)] for name, held in self._held.items()})

    def move(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Copy slots onto others."""
        for held in self._held.values():
            held[list(targets)] = held[list(sources)]

    def absorb(self, other: LayerStates, first: int, rows: int) -> None:
        """Take the first rows of another layer's states in, from slot ``first`` on."""
        for name, new in other._held.items():
            held = self._held[name]
            if len(held) < first + rows:
                held = torch.cat([held, held.new_zeros(first + rows - len(held), *held.shape[1:])])
                self._held[name] = held
            held[first : first + rows] = new[:rows]
