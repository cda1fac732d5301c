"""Models of mlx-lm for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlx.nn as nn
import numpy as np

from mlxintro.backends.base import Injection, Prompt
from mlxintro.backends.mlxlm import backend as mlx_backend
from mlxintro.backends.mlxlm.backend import MLXBackend
from mlxintro.backends.models.sources import read_folder


def load(folder: Path, **settings: Any) -> MLXBackend:
    return mlx_backend.load(read_folder(folder, name=folder.name, repository="tiny"), **settings)


def blocks_of(backend: MLXBackend) -> list[nn.Module]:
    return list(backend._network.blocks)


def injected(layer: int = 1, size: float = 5.0, **settings: Any) -> Prompt:
    vector = np.full(64, size, np.float32)
    return Prompt(tuple(range(5, 25)), (Injection(layer, vector, 3, **settings),))
