"""How the model and the adapter of a study are called in the store, so that its run can be resumed from anywhere."""

from __future__ import annotations

from typing import Any, cast

from mlxintro.backends.adapters import sources as adapters
from mlxintro.backends.models import sources
from mlxintro.backends.registry import choose, default_model


def model_name(settings: dict[str, Any]) -> str:
    """Return the model's name as it is stored: a folder by its full path, so that a run is resumed from anywhere."""
    backend = choose(settings.get("backend", "auto"), settings.get("device"))
    name: str = settings.get("model") or default_model(backend)
    if backend not in ("mlx", "torch"):
        return name
    kind, where = sources.locate(name, cast("sources.Framework", backend))
    return where if kind in ("folder", "gguf") else name


def adapter_name(settings: dict[str, Any]) -> str | None:
    """Return the adapter's name as it is stored with a run."""
    name = settings.get("adapter")
    return None if name is None else adapters.canonical(name)
