"""The machines that a forecast knows: ``mlxintro/data/machines.toml``."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

from mlxintro import data as packaged
from mlxintro.backends.errors import UsageError
from mlxintro.backends.machine.memory import ArrayLibrary, apple_working_set

HERE = "here"
"""This machine, which is measured."""


@dataclass(frozen=True, slots=True)
class RatedMachine:
    """Describes a machine by its maker's data sheet."""

    name: str
    title: str
    backend: ArrayLibrary
    memory: int
    """Bytes."""
    bandwidth: float
    """Bytes per second."""
    compute: float
    """Operations per second, 16 bits, dense."""
    overhead: float
    """Seconds per layer and decoding step."""
    price: tuple[float, float] | None
    """US dollars per hour, from spot to on demand; ``None`` for a machine that is bought."""

    @property
    def usable(self) -> int:
        """Return the bytes that a model may take."""
        return apple_working_set(self.memory) if self.backend == "mlx" else self.memory


@cache
def _file() -> dict[str, Any]:
    return packaged.load("machines.toml")


def prices_from() -> str:
    """Say where prices come from, and of when they are."""
    return f"{_file()['date']}, {_file()['source']}"


def machine_names() -> list[str]:
    """List every machine that is known."""
    return list(_file()["machines"])


def rated(name: str) -> RatedMachine:
    """Find a machine by its name.

    Raises:
        UsageError: there is none.
    """
    known = _file()["machines"]
    if name not in known:
        close = get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join((HERE, *known))}"
        raise UsageError(f"no machine called {name!r}: {hint}")
    one = known[name]
    return RatedMachine(
        name=name,
        title=one["title"],
        backend=one["backend"],
        memory=int(one["memory"] * 2**30),
        bandwidth=one["bandwidth"] * 1e9,
        compute=one["compute"] * 1e12,
        overhead=one["overhead"] * 1e-6,
        price=tuple(one["price"]) if "price" in one else None,
    )
