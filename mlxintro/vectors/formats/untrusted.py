"""What is checked of every vector that comes from outside, whatever its format."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mlxintro.backends.errors import UsageError
from mlxintro.vectors.imported import LayerDirections
from mlxintro.vectors.reading import ReadSite

FileFormat = Literal["safetensors", "gguf", "npz", "sae"]

LARGEST = 2**31
"""Bytes of a vector file. A vector of a model with 100 layers of width 16,384 has 7 million."""
DEEPEST = 1000
"""Layers; no model has as many."""
WIDEST = 2**20
_LONGEST = 200
_FACTS = 40


@dataclass(frozen=True, slots=True)
class VectorFile:
    """Says what a file holds."""

    directions: LayerDirections
    format: FileFormat
    facts: Mapping[str, str] = field(default_factory=dict)
    """Statements of the file about itself: model, recipe, feature. Nobody has checked them."""


def check_regular(path: Path, largest: int = LARGEST) -> int:
    """Return the size of a regular file, which is never waited for. A link to one is followed.

    Hub caches are made of them.

    Raises:
        UsageError: there is none, it cannot be read, it is no regular file, or it is larger than any vector.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        facts = os.fstat(handle)
    finally:
        os.close(handle)
    if not stat.S_ISREG(facts.st_mode):
        raise UsageError(f"{path} is no regular file: give a vector file")
    if facts.st_size > largest:
        raise UsageError(f"{path} has {facts.st_size / 2**30:.1f} GB, more than any vector: give a vector file")
    return facts.st_size


def checked(
    path: Path, by_layer: Mapping[int, Any], file_format: FileFormat, facts: Mapping[str, Any], site: str = "resid_post"
) -> VectorFile:
    """Return the directions by layer as a vector file's content.

    Raises:
        UsageError: one line that names the first thing that is wrong with them.
    """
    if not by_layer:
        raise UsageError(f"{path} holds no vector: see `mlxintro vectors import --help` for what is read")
    if site not in ("resid_post", "attn_out", "mlp_out"):
        raise UsageError(
            f"{path} was made at the site {site!r:.60}, where nothing is injected: resid_post, attn_out, mlp_out"
        )
    rows: dict[int, np.ndarray[Any, Any]] = {}
    for layer, values in by_layer.items():
        if not 0 <= layer < DEEPEST:
            raise UsageError(f"{path} has a direction for layer {layer}, and no model has one: the file is damaged")
        row = np.asarray(values)
        if row.ndim != 1 or not 1 < row.shape[0] <= WIDEST or row.dtype.kind not in "fiu":
            raise UsageError(
                f"{path} has at layer {layer} an array of shape {row.shape} and type {row.dtype}: a direction is one "
                "row of numbers"
            )
        with np.errstate(over="ignore", invalid="ignore"):
            rows[layer] = row.astype(np.float32)
        if not np.isfinite(rows[layer]).all():
            raise UsageError(f"{path} has numbers at layer {layer} that are not finite: make the vector again")
    widths = {len(row) for row in rows.values()}
    if len(widths) > 1:
        raise UsageError(f"{path} has directions of the widths {min(widths)} and {max(widths)}: a model has one")
    # A layer of zeros says that there is nothing at this layer.
    layers = tuple(sorted(layer for layer, row in rows.items() if row.any()))
    if not layers:
        raise UsageError(f"{path} is zero at every layer: there is nothing to inject")
    said = {str(name)[:_LONGEST]: str(value)[:_LONGEST] for name, value in list(facts.items())[:_FACTS] if value}
    directions = LayerDirections(layers, np.stack([rows[layer] for layer in layers]), _site(site))
    return VectorFile(directions, file_format, said)


def _site(site: str) -> ReadSite:
    match site:
        case "attn_out" | "mlp_out" | "resid_post":
            return site
    raise ValueError(site)
