"""A model of random weights with another one's sizes and fewer layers, to be timed in its place."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import ModelError

_LARGE = (".safetensors", ".bin", ".gguf", ".pt", ".pth")
"""Endings of files that hold weights."""


def write_stand_in(config: Mapping[str, Any], layers: int, source: Path, folder: Path) -> None:
    """Write a model with the first layers of a configuration, at its full width, into a folder.

    Args:
        config: parsed config.json of the model that is stood in for.
        layers: how many layers.
        source: folder of that model, whose tokenizer is taken along.
        folder: made if missing.

    Raises:
        ModelError: the configuration is of a kind that cannot be cut short.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    folder.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        if path.is_file() and path.suffix not in _LARGE and "index" not in path.name:
            shutil.copyfile(path, folder / path.name)
    cut = {name: value for name, value in config.items() if name != "quantization_config"}
    whole = cut.get("num_hidden_layers")
    if not isinstance(whole, int):
        raise ModelError("the configuration does not say how many layers the model has: use `run --dry-run`")
    for name, value in cut.items():
        if isinstance(value, list) and len(value) == whole:
            cut[name] = value[:layers]
    cut["num_hidden_layers"] = layers
    (folder / "config.json").write_text(json.dumps(cut))
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        made = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32)
        made.save_pretrained(folder)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ModelError(f"a model of this configuration cannot be made ({reason}): use `run --dry-run`") from error
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
