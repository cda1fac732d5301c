"""Short names for the models the project is meant for, each with the repository that suits a backend.

Data only: nothing here looks at a disk or a network.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..errors import UsageError
from . import embedded


@dataclass(frozen=True, slots=True)
class Alias:
    """One model under its short name."""

    name: str
    torch: str
    """Hub id of the original weights."""
    mlx: str
    """Hub id of the 4-bit conversion for mlx-lm."""
    parameters: float
    """In billions, embeddings included."""
    layers: int
    licence: str
    gated: bool = False
    """Whether the original asks for a login and acceptance of its licence. The conversions never do."""

    def repository(self, backend: Literal["mlx", "torch"]) -> str:
        return self.mlx if backend == "mlx" else self.torch

    def weight_bytes(self, backend: Literal["mlx", "torch"]) -> int:
        """Size before anything is downloaded: bfloat16 on torch, 4 bits in groups of 64 (4.5 bits each) on MLX."""
        return int(self.parameters * 1e9 * (4.5 / 8 if backend == "mlx" else 2))


def _qwen(size: str, parameters: float, layers: int, licence: str = "Apache-2.0") -> Alias:
    name = f"Qwen2.5-{size.upper()}-Instruct"
    return Alias(f"qwen2.5-{size}", f"Qwen/{name}", f"mlx-community/{name}-4bit", parameters, layers, licence)


ALIASES: tuple[Alias, ...] = (
    _qwen("3b", 3.09, 36, "Qwen Research, non-commercial"),
    _qwen("7b", 7.62, 28),
    _qwen("14b", 14.77, 48),
    _qwen("32b", 32.76, 64),
    Alias(
        name="llama-3.2-3b",
        torch="meta-llama/Llama-3.2-3B-Instruct",
        mlx="mlx-community/Llama-3.2-3B-Instruct-4bit",
        parameters=3.21,
        layers=28,
        licence="Llama 3.2 Community",
        gated=True,
    ),
    Alias(
        name="mistral-7b",
        torch="mistralai/Mistral-7B-Instruct-v0.3",
        mlx="mlx-community/Mistral-7B-Instruct-v0.3-4bit",
        parameters=7.25,
        layers=32,
        licence="Apache-2.0",
        gated=True,
    ),
    Alias(
        name="gemma-2-9b",
        torch="google/gemma-2-9b-it",
        mlx="mlx-community/gemma-2-9b-it-4bit",
        parameters=9.24,
        layers=42,
        licence="Gemma terms of use",
        gated=True,
    ),
)

DEFAULTS: Mapping[Literal["mlx", "torch"], str] = {
    "mlx": "mlx-community/Qwen2.5-7B-Instruct-4bit",
    "torch": "Qwen/Qwen2.5-14B-Instruct",
}
"""The model a study uses when none is named."""


def find(name: str) -> Alias | None:
    """The alias of that short name, whatever its case."""
    return next((alias for alias in ALIASES if alias.name == name.lower()), None)


def unknown(name: str) -> UsageError:
    """The error for a name that is neither alias, folder nor hub id, with what was probably meant."""
    names = [embedded.NAME, *(alias.name for alias in ALIASES)]
    close = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    guess = f"did you mean {' or '.join(close)}? " if close else ""
    return UsageError(
        f"no model called {name!r}: {guess}`mlxintro models list` shows the short names; "
        "a hub id is owner/name, a local model is the path of its folder",
        setting="model",
    )
