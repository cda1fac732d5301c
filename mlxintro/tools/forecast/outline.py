"""A study's trials, prompts and sizes from the configuration of its model alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from mlxintro.backends.base import Backend, ModelInfo, Tokenizer
from mlxintro.backends.errors import ModelError
from mlxintro.backends.machine.memory import ArrayLibrary, settings_of
from mlxintro.backends.machine.readiness import ModelFiles, model_files
from mlxintro.backends.models.tokenizer import ChatTokenizer
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.experiments.base import Plan
from mlxintro.running import launch
from mlxintro.running.launch import Checked


@dataclass(frozen=True, slots=True)
class _Unloaded:
    """Answers what planning asks of a backend, without one."""

    info: ModelInfo
    tokenizer: Tokenizer


@dataclass(frozen=True, slots=True)
class StudyOutline:
    """Describes one run of a study before its model is loaded."""

    checked: Checked
    planned: Plan
    files: ModelFiles
    layers: int
    counted: bool
    """Whether prompts were counted with the model's own tokenizer; else they are guessed."""

    def item(self, dtype: str | None) -> int:
        """Return the bytes of a number of the residual stream."""
        return settings_of(self.files.config, dtype)[2]


def outline_of(checked: Checked, library: ArrayLibrary) -> StudyOutline:
    """Plan one run from its model's configuration.

    Args:
        library: what would run it, which decides about files: MLX takes conversions in 4 bits.

    Raises:
        ModelError: the model cannot be found, or its configuration does not say its sizes.
        UsageError: the settings do not fit the model.
    """
    study = checked.study
    files = model_files(study.model, library)
    settings, _, _ = settings_of(files.config, study.dtype)
    layers = _count(settings, "num_hidden_layers", "n_layer")
    context = _count(settings, "max_position_embeddings", "n_positions", missing=4096)
    if not layers:
        raise ModelError(f"the configuration of {study.model} does not say how many layers it has: use --dry-run")
    tokenizer, counted = _tokenizer(files.folder)
    with FakeBackend(f"detector?layers={layers}") as simulated:
        info = replace(simulated.info, model=study.model, backend=library, layers=layers, context=context)
        unloaded = cast("Backend", _Unloaded(info, tokenizer or simulated.tokenizer))
        return StudyOutline(checked, launch.plan(checked, unloaded), files, layers, counted)


def _tokenizer(folder: Path | None) -> tuple[Tokenizer | None, bool]:
    if folder is None:
        return None, False
    try:
        return ChatTokenizer.load(folder), True
    except ModelError:
        return None, False


def _count(settings: Mapping[str, Any], *names: str, missing: int = 0) -> int:
    found = next((settings[name] for name in names if isinstance(settings.get(name), int)), missing)
    return int(found)
