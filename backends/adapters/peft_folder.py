"""The folder layout of peft: ``adapter_config.json`` and ``adapter_model.safetensors``.

Written by ``mlxintro train`` and read by every tool that reads LoRA adapters.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from ..training import AdapterShape
from ..values import Float32
from .sources import CONFIG, WEIGHTS

PREFIX = "base_model.model."
"""What peft puts before a module's path in the names of tensors."""


def write(folder: Path, matrices: Mapping[str, tuple[Float32, Float32]], shape: AdapterShape, base: str) -> None:
    """Write an adapter in float16, each file whole or not at all.

    Args:
        matrices: module path -> A of shape (rank, inputs) and B of shape (outputs, rank).
        base: name of the model that it belongs to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for path, (down, up) in matrices.items():
        tensors[f"{PREFIX}{path}.lora_A.weight"] = down.astype(np.float16)
        tensors[f"{PREFIX}{path}.lora_B.weight"] = up.astype(np.float16)
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": shape.rank,
        "lora_alpha": shape.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "use_rslora": False,
        "use_dora": False,
        "target_modules": sorted({path.rpartition(".")[2] for path in matrices}),
        "layers_to_transform": sorted({layer for path in matrices if (layer := _layer(path)) is not None}),
        "layers_pattern": "layers",
    }
    partial = folder / f"{WEIGHTS}.part"
    save_file(tensors, partial, metadata={"format": "pt"})
    os.replace(partial, folder / WEIGHTS)
    partial = folder / f"{CONFIG}.part"
    partial.write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    os.replace(partial, folder / CONFIG)


def _layer(path: str) -> int | None:
    return next((int(part) for part in path.split(".") if part.isdecimal()), None)
