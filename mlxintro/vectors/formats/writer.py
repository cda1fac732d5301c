"""Writes vectors for other programs: safetensors with the recipe in its metadata, GGUF control vectors, npz."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlxintro.backends.errors import UsageError
from mlxintro.vectors.cache import write
from mlxintro.vectors.formats.gguf_file import write_control_vector
from mlxintro.vectors.formats.outgoing import OutgoingVector

SUFFIXES = {".safetensors": "safetensors", ".gguf": "gguf", ".npz": "npz"}


def export(vector: OutgoingVector, path: Path, file_format: str) -> tuple[int, ...]:
    """Write a vector.

    Args:
        file_format: ``safetensors``, ``gguf`` or ``npz``.

    Returns:
        The layers that were written.

    Raises:
        UsageError: a format that cannot hold this vector.
        OSError: the place cannot be written.
    """
    if file_format == "gguf":
        return write_control_vector(path, vector)
    tensors: dict[str, NDArray[Any]] = {
        "direction": vector.directions.direction,
        "layers": np.asarray(vector.directions.layers, np.int32),
    }
    if vector.resid_norms is not None:
        tensors["resid_norms"] = vector.resid_norms
    if file_format == "safetensors":
        write(path, vector.record.hash, tensors, {**vector.made, "recipe": vector.recipe})
    elif file_format == "npz":
        texts = {"word": vector.word, "model": vector.model, "site": vector.directions.site, "recipe": vector.recipe}
        with path.open("wb") as file:
            np.savez(file, **tensors, **{name: np.array(text) for name, text in texts.items()})  # type: ignore[arg-type]
    else:
        raise UsageError(f"no format called {file_format!r}: choose one of {', '.join(SUFFIXES.values())}")
    return vector.directions.layers
