"""Whether a model could be loaded here, told from its configuration and the sizes of its files; nothing is loaded."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..adapters import sources as adapters
from ..errors import KnownError
from ..gguf_models import container
from ..models import embedded, folders, hub, sources, support, weights
from ..registry import choose, default_model, open_backend, place_of, require
from . import memory


@dataclass(frozen=True, slots=True)
class Readiness:
    """Says what stands between a name and a loaded model."""

    repository: str
    """Hub id, or the folder; what is downloaded once however often it is named."""
    download: int
    """Bytes that are not on disk yet."""
    needed: int
    """Bytes of memory that the loaded model takes; 0 when it is not known."""
    total: int
    """Bytes of memory of the device."""
    problem: str | None
    """Why it cannot be loaded, in one line; ``None`` when nothing is known against it."""


def readiness(
    model: str,
    backend: str = "auto",
    *,
    device: str | None = None,
    dtype: str | None = None,
    quantize: str | None = None,
    kv_bits: int | None = None,
    adapter: str | None = None,
) -> Readiness:
    """Look for everything that a model needs; settings as for ``open_backend``. The hub is asked only for what is not
    on disk, and then for the configuration and the sizes alone."""
    try:
        name = choose(backend, device)
        if name not in ("mlx", "torch"):
            return _elsewhere(model, name, device, dtype, quantize)
        framework: sources.Framework = "mlx" if name == "mlx" else "torch"
        require(framework)
        found = model_files(model or default_model(name), framework)
        if adapter is not None:
            adapters.resolve(adapter)
        room = memory.room(place_of(framework, device))
    except KnownError as error:
        return Readiness(model, 0, 0, 0, str(error))
    if not found.weight_bytes:
        return Readiness(found.repository, found.download, 0, 0, None)
    on_cpu = framework == "torch" and room.device == "cpu"
    needed = memory.needed(
        found.weight_bytes,
        found.config,
        dtype=dtype or ("float32" if on_cpu else None),
        quantize=quantize,
        backend=framework,
    )
    problem = None
    if needed > room.total:
        problem = (
            f"{model} does not fit: it needs about {needed / 1e9:.1f} GB, and {room.device} has "
            f"{room.total / 1e9:.1f} GB: leave it out, or run it on a larger machine"
        )
    return Readiness(found.repository, found.download, needed, room.total, problem)


def free_disk() -> int:
    """Return the bytes that are free where models are downloaded to."""
    from huggingface_hub import constants

    place = Path(constants.HF_HUB_CACHE).expanduser()
    while not place.exists() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place).free


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Lists a model's files by their sizes."""

    repository: str
    config: Mapping[str, Any]
    weight_bytes: int
    """Size of the weight files; 0 when that says nothing."""
    download: int = 0
    """Bytes that are not on disk yet."""
    folder: Path | None = None
    """Folder of configuration and tokenizer; ``None`` while they are not on disk."""


def model_files(model: str, framework: sources.Framework) -> ModelFiles:
    """Describe a model's files without reading weights, which identifying them by their content would do.

    Raises:
        KnownError: the model cannot be found, or is none for this backend.
    """
    kind, where = sources.locate(model, framework)
    if kind == "embedded":
        # Made once from the installed package, and what loading it would make.
        return _folder(embedded.materialise("float32" if framework == "torch" else "mlx-4bit"), where, framework)
    if kind == "gguf":
        container.files_of(Path(where))
        # What its packed weights come to is known when they are unpacked.
        return ModelFiles(where, {}, 0)
    if kind == "folder":
        return _folder(Path(where), where, framework)
    repository, revision = hub.split(where)
    cached = hub.cached(repository, revision)
    if cached is not None:
        return _folder(cached, repository, framework)
    config = hub.config(repository, revision)
    support.check_weights(repository, config, framework)
    support.check_architecture(repository, config, framework)
    remote = hub.describe(repository, revision)
    return ModelFiles(repository, config, remote.weight_bytes, remote.total_bytes)


def _folder(folder: Path, repository: str, framework: sources.Framework) -> ModelFiles:
    folders.check_complete(folder)
    config = folders.read_config(folder)
    support.check_weights(repository, config, framework)
    return ModelFiles(repository, config, weights.total_bytes(folder), folder=folder)


def _elsewhere(model: str, backend: str, device: str | None, dtype: str | None, quantize: str | None) -> Readiness:
    """Ask a simulated subject, which takes no time to open; nothing is known of other packages' backends."""
    if backend == "fake":
        open_backend(model, backend, device=device, dtype=dtype, quantize=quantize).close()
    return Readiness(model, 0, 0, 0, None)
