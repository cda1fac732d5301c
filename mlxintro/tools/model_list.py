"""What can be run here: the short names and what lies on disk, each held against this machine's memory."""

from __future__ import annotations

import platform
import shutil
import sys
from dataclasses import dataclass
from typing import Literal

from mlxintro.backends.machine import memory
from mlxintro.backends.models import aliases, embedded, sources

DownloadState = Literal["complete", "partial", "absent"]

_EMBEDDED_FLOAT32 = 540_000_000
_EMBEDDED_4BIT = 98_000_000
"""Bytes of the embedded model's weights, as either backend loads them."""


@dataclass(frozen=True, slots=True)
class ModelRow:
    name: str
    """Name that ``-m`` takes."""
    repository: str
    weight_bytes: int
    on_disk: DownloadState
    fits: bool
    needed_bytes: int
    note: str = ""


def usable(backend: sources.Framework, size: int) -> int:
    """Return the bytes that a model may take of a machine's memory (MLX) or of a card's (torch)."""
    return memory.apple_working_set(size) if backend == "mlx" else size


def rows(backend: sources.Framework, size: int | None = None) -> list[ModelRow]:
    """List the embedded model, the aliases, then whatever else is in the hub's cache.

    Args:
        size: bytes of memory of another machine; this one's when ``None``.
    """
    here = {model.name: model for model in sources.installed()}
    place = "gpu" if backend == "mlx" else _torch_place()
    total = memory.room(place).total if size is None else usable(backend, size)
    # On a CPU torch runs in float32, whatever the files hold.
    dtype = "float32" if place == "cpu" and size is None else None

    def row(name: str, repository: str, size: int, note: str) -> ModelRow:
        found = here.pop(repository, None) or here.pop(name, None)
        size = found.weight_bytes if found and found.complete and name != embedded.NAME else size
        verdict = memory.fits(size, {}, free=total, dtype=None if name == embedded.NAME else dtype)
        state: DownloadState = "absent" if found is None else "complete" if found.complete else "partial"
        return ModelRow(name, repository, size, state, verdict.fits, verdict.needed, note)

    smallest = _EMBEDDED_FLOAT32 if backend == "torch" else _EMBEDDED_4BIT
    found = [
        row(
            embedded.NAME, f"{embedded.PACKAGE} (PyPI)", smallest, "Apache-2.0; too small to introspect, for trying out"
        )
    ]
    for alias in aliases.ALIASES:
        note = alias.licence + ("; asks for a login" if alias.gated and backend == "torch" else "")
        found.append(row(alias.name, alias.repository(backend), alias.weight_bytes(backend), note))
    for model in list(here.values()):
        found.append(row(model.name, model.name, model.weight_bytes, f"quantisation {model.quantization}"))
    return found


def _torch_place() -> str:
    """Where torch would run. Importing it to ask takes a second, so the machine is asked."""
    if shutil.which("nvidia-smi"):
        return "cuda"
    return "mps" if sys.platform == "darwin" and platform.machine() == "arm64" else "cpu"
