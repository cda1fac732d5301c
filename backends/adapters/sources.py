"""From what a user calls an adapter to a local folder that a backend can apply.

A name is looked up in this order: an adapter that ships, a local folder, a hub id (``owner/name``, optionally
``@revision``). Two layouts are known, peft's and mlx-lm's; weights are safetensors, nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from ..errors import ModelError, UsageError
from ..models import hub

Layout = Literal["peft", "mlx"]

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
MLX_WEIGHTS = "adapters.safetensors"
_PICKLES = ("adapter_model.bin", "adapters.npz")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
_LARGEST_CONFIG = 2**20


@dataclass(frozen=True, slots=True)
class AdapterSource:
    """Says where an adapter's files lie and what they are, before anything is loaded."""

    name: str
    """Name that the user asked for."""
    folder: Path
    layout: Layout
    config: Mapping[str, Any]
    """Parsed adapter_config.json."""
    revision: str
    """``sha256:...`` over the configuration and every byte of the weights."""

    @property
    def weights(self) -> Path:
        return self.folder / (WEIGHTS if self.layout == "peft" else MLX_WEIGHTS)


def shipped() -> dict[str, Path]:
    """Return the adapters that ship, by name. All of them belong to ``smollm2``."""
    home = Path(str(files(__package__) / "shipped"))
    return {path.name: path for path in sorted(home.glob("*")) if (path / CONFIG).is_file()}


def resolve(adapter: str) -> AdapterSource:
    """Find the files of an adapter; one that is on disk never touches the network.

    Raises:
        UsageError: there is no such adapter.
        ModelError: its folder is incomplete, of another kind, or cannot be fetched.
    """
    return read_folder(_located(adapter), adapter)


def is_name(adapter: str) -> bool:
    """Tell whether a text can name an adapter: one that ships, a folder that is there, or a hub id (not asked for)."""
    if adapter in shipped() or Path(adapter).expanduser().is_dir():
        return True
    return not adapter.startswith((".", "/", "~")) and _HUB_ID.fullmatch(adapter) is not None


def canonical(adapter: str) -> str:
    """Return the name as it is stored with a run: a folder by its full path, so that a run is resumed from anywhere."""
    if adapter in shipped() or not Path(adapter).expanduser().is_dir():
        return adapter
    return str(Path(adapter).expanduser().resolve())


def read_folder(folder: Path, name: str) -> AdapterSource:
    """Describe a folder of adapter files.

    Raises:
        ModelError: it is not an adapter that can be applied.
    """
    file = folder / CONFIG
    try:
        raw = file.read_bytes()
        config = json.loads(raw) if len(raw) <= _LARGEST_CONFIG else None
    except FileNotFoundError:
        raise ModelError(
            f"{name} holds no {CONFIG}: give a folder as saved by `mlxintro train`, peft or mlx_lm.lora"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} cannot be read ({error}): save the adapter again") from None
    if not isinstance(config, dict):
        raise ModelError(f"{file} is not a small JSON object: save the adapter again")
    layout: Layout = "peft" if "peft_type" in config else "mlx"
    weights = folder / (WEIGHTS if layout == "peft" else MLX_WEIGHTS)
    if not weights.is_file():
        pickled = next((one for one in _PICKLES if (folder / one).exists()), None)
        if pickled is not None:
            raise ModelError(f"{name} holds {pickled}, which is never opened: save the adapter as {weights.name}")
        raise ModelError(f"{name} holds no {weights.name}: save or fetch the adapter again")
    digest = hashlib.sha256(raw)
    with weights.open("rb") as opened:
        for chunk in iter(lambda: opened.read(2**20), b""):
            digest.update(chunk)
    return AdapterSource(name, folder.resolve(), layout, config, f"sha256:{digest.hexdigest()}")


def _located(adapter: str) -> Path:
    if (own := shipped().get(adapter)) is not None:
        return own
    path = Path(adapter).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        raise UsageError(f"{adapter} is a file: give the folder that holds {CONFIG} and the weights", setting="adapter")
    if not is_name(adapter):
        known = ", ".join(shipped())
        raise UsageError(
            f"there is no adapter {adapter}: give a folder, a hub id (owner/name)"
            + (f", or one that ships: {known}" if known else ""),
            setting="adapter",
        )
    return _fetched(adapter)


def _fetched(adapter: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    repository, revision = hub.split(adapter)
    wanted = [CONFIG, WEIGHTS, MLX_WEIGHTS]
    try:
        folder = Path(snapshot_download(repository, revision=revision, local_files_only=True, allow_patterns=wanted))
        if (folder / CONFIG).is_file() and any((folder / one).is_file() for one in wanted[1:]):
            return folder
    except LocalEntryNotFoundError:
        pass
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=wanted))
    except Exception as error:
        raise hub.explain(error, repository, revision) from None
