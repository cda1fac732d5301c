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
    """Names one model by its short name."""

    name: str
    torch: str
    """Hub id of the original weights."""
    mlx: str | None
    """Hub id of the quantised conversion for mlx-lm; ``None`` where there is none and the original is taken."""
    parameters: float
    """Number of parameters in billions, embeddings included."""
    layers: int
    licence: str
    gated: bool = False
    """Whether the original asks for a login and acceptance of its licence. The conversions never do."""
    torch_bits: float = 16
    """Bits per parameter of the original."""
    mlx_bits: float = 4.5
    """Bits per parameter of the conversion; 4 in groups of 64 with a scale and a bias each."""

    def repository(self, backend: Literal["mlx", "torch"]) -> str:
        return self.mlx if backend == "mlx" and self.mlx is not None else self.torch

    def weight_bytes(self, backend: Literal["mlx", "torch"]) -> int:
        """Return the size before anything is downloaded."""
        bits = self.mlx_bits if backend == "mlx" and self.mlx is not None else self.torch_bits
        return int(self.parameters * 1e9 * bits / 8)


def _qwen(size: str, parameters: float, layers: int, licence: str = "Apache-2.0") -> Alias:
    name = f"Qwen2.5-{size.upper()}-Instruct"
    return Alias(f"qwen2.5-{size}", f"Qwen/{name}", f"mlx-community/{name}-4bit", parameters, layers, licence)


def _qwen_base(size: str, parameters: float, layers: int, licence: str = "Apache-2.0") -> Alias:
    """The model before it was instructed; `--dialogue plain` asks both in one format."""
    name = f"Qwen2.5-{size.upper()}"
    return Alias(f"qwen2.5-{size}-base", f"Qwen/{name}", f"mlx-community/{name}-4bit", parameters, layers, licence)


def _qwen3(size: str, parameters: float, layers: int) -> Alias:
    name = f"Qwen3-{size.upper()}"
    return Alias(f"qwen3-{size}", f"Qwen/{name}", f"mlx-community/{name}-4bit", parameters, layers, "Apache-2.0")


def _gemma3(size: str, parameters: float, layers: int) -> Alias:
    name = f"gemma-3-{size}-it"
    conversion = f"mlx-community/{name}-4bit"
    return Alias(f"gemma-3-{size}", f"google/{name}", conversion, parameters, layers, "Gemma terms of use", gated=True)


def _llama31(size: str, parameters: float, layers: int) -> Alias:
    name = f"Llama-3.1-{size.upper()}-Instruct"
    conversion = f"mlx-community/Meta-{name}-4bit"
    licence = "Llama 3.1 Community"
    return Alias(f"llama-3.1-{size}", f"meta-llama/{name}", conversion, parameters, layers, licence, gated=True)


def _olmo3(stage: str, repository: str, conversion: str | None = None) -> Alias:
    """One stage of training of OLMo 3 7B, for comparisons of base, SFT, DPO and the final model."""
    return Alias(f"olmo-3-7b{stage}", f"allenai/{repository}", conversion, 7.30, 32, "Apache-2.0")


ALIASES: tuple[Alias, ...] = (
    _qwen("0.5b", 0.49, 24),
    _qwen("1.5b", 1.54, 28),
    _qwen("3b", 3.09, 36, "Qwen Research, non-commercial"),
    _qwen("7b", 7.62, 28),
    _qwen("14b", 14.77, 48),
    _qwen("32b", 32.76, 64),
    _qwen_base("7b", 7.62, 28),
    _qwen_base("14b", 14.77, 48),
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
    # Subjects of the literature on introspection.
    Alias(
        name="qwen2.5-coder-32b",
        torch="Qwen/Qwen2.5-Coder-32B-Instruct",
        mlx="mlx-community/Qwen2.5-Coder-32B-Instruct-4bit",
        parameters=32.76,
        layers=64,
        licence="Apache-2.0",
    ),
    _qwen3("4b", 4.02, 36),
    _qwen3("8b", 8.19, 36),
    _qwen3("14b", 14.77, 40),
    _qwen3("32b", 32.76, 64),
    _gemma3("4b", 4.30, 34),
    _gemma3("12b", 12.19, 48),
    _gemma3("27b", 27.43, 62),
    _llama31("8b", 8.03, 32),
    _llama31("70b", 70.55, 80),
    _olmo3("-base", "Olmo-3-1025-7B"),
    _olmo3("-sft", "Olmo-3-7B-Instruct-SFT"),
    _olmo3("-dpo", "Olmo-3-7B-Instruct-DPO"),
    _olmo3("", "Olmo-3-7B-Instruct", "mlx-community/Olmo-3-7B-Instruct-4bit"),
    Alias(
        name="gpt-oss-20b",
        torch="openai/gpt-oss-20b",
        mlx="mlx-community/gpt-oss-20b-MXFP4-Q8",
        parameters=20.91,
        layers=24,
        licence="Apache-2.0",
        torch_bits=5.3,
        mlx_bits=4.65,
    ),
    Alias(
        name="mistral-small",
        torch="mistralai/Mistral-Small-24B-Instruct-2501",
        mlx="mlx-community/Mistral-Small-24B-Instruct-2501-4bit",
        parameters=23.57,
        layers=40,
        licence="Apache-2.0",
        gated=True,
    ),
)

DEFAULTS: Mapping[Literal["mlx", "torch"], str] = {
    "mlx": "mlx-community/Qwen2.5-7B-Instruct-4bit",
    "torch": "Qwen/Qwen2.5-14B-Instruct",
}
"""The model a study uses when none is named."""


def find(name: str) -> Alias | None:
    """Return the alias of that short name, whatever its case."""
    return next((alias for alias in ALIASES if alias.name == name.lower()), None)


def unknown(name: str) -> UsageError:
    """Return the error for a name that is neither alias, folder nor hub id, with what was probably meant."""
    names = [embedded.NAME, *(alias.name for alias in ALIASES)]
    close = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    guess = f"did you mean {' or '.join(close)}? " if close else ""
    return UsageError(
        f"no model called {name!r}: {guess}`mlxintro models list` shows the short names; "
        "a hub id is owner/name, a local model is the path of its folder",
        setting="model",
    )
