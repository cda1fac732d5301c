"""Arrays on disk that are either exactly what was written, or not there.

One safetensors file per entry, named by the hash of what it was made from. The file carries a SHA-256 of itself, so a
flipped bit anywhere, a truncated copy or a file under another's name is found on reading, told in one line, and treated
as missing: whoever asked makes it again. Files are written beside their place and moved there, so a reader never sees
half of one and writers that race leave one of two equal files. A cache that cannot be written is told once and done
without. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from mlxintro.backends.base import ModelInfo
from mlxintro.backends.errors import KnownError
from mlxintro.protocol.hashing import canonical_json
from mlxintro.store.records import VectorRecord
from mlxintro.vectors.imported import LayerDirections
from mlxintro.vectors.reading import ReadSite
from mlxintro.vectors.recipe import VectorRecipe
from mlxintro.vectors.vector import BaselineMean, ConceptVector

Tensors = Mapping[str, NDArray[Any]]

_DIGEST = re.compile(rb'"sha256":"([0-9a-f]{64})"')
_BLANK = b"0" * 64
_OWN_NAMES = frozenset({"key", "sha256"})

_log = logging.getLogger(__name__)


class DamagedError(KnownError):
    """A file is not what was written."""


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    tensors: Tensors
    metadata: Mapping[str, str]


class VectorCache:
    """Keeps such files in a folder, which is made when something is first saved.

    Args:
        folder: where they lie.
        notice: told, in one line, what was rebuilt or could not be kept; a log warning by default.
        recorded: gives the content hash that the store recorded for a vector's key; a file with another content is
            not used, though it vouches for itself.
    """

    def __init__(
        self,
        folder: Path,
        notice: Callable[[str], None] | None = None,
        recorded: Callable[[str], str | None] | None = None,
    ) -> None:
        self.folder = folder
        self._recorded = recorded
        self._notice = notice or _log.warning
        self._told = False
        self._damaged: set[str] = set()

    def path(self, key: str) -> Path:
        return self.folder / f"{key.replace(':', '-')}.safetensors"

    def load_vector(self, recipe: VectorRecipe, info: ModelInfo) -> ConceptVector | None:
        """Return the vector of a recipe; ``None`` where it has to be made again."""
        entry = self.load(recipe.key)
        if entry is None or entry.metadata.get("recipe") != canonical_json(recipe):
            return None
        direction, norms = entry.tensors["direction"], entry.tensors["resid_norms"]
        if direction.shape != (info.layers, info.width):
            return None
        made = {name: value for name, value in entry.metadata.items() if name not in ("recipe", *_OWN_NAMES)}
        vector = ConceptVector(recipe, direction, norms, made)
        recorded = self._recorded(recipe.key) if self._recorded is not None else None
        if recorded not in (None, vector.content_hash):
            self._notice(
                f"{self.path(recipe.key).name} in the vector cache is not what the store recorded: it is extracted anew"
            )
            return None
        return vector

    def save_vector(self, vector: ConceptVector) -> None:
        """Keep a vector under the hash of its recipe."""
        tensors = {"direction": vector.direction, "resid_norms": vector.resid_norms}
        self.save(vector.recipe.key, tensors, {"recipe": canonical_json(vector.recipe), **vector.provenance})

    def load_directions(self, content: str) -> LayerDirections | None:
        """Return the imported directions by their content.

        ``None`` where they are not there, or not what their name says.
        """
        entry = self.load(content)
        found = None if entry is None else directions_of(entry)
        if entry is not None and (found is None or found.content_hash != content):
            self._notice(f"{self.path(content).name} in the vector cache is not what its name says: import it again")
            return None
        return found

    def save_directions(self, directions: LayerDirections, made: Mapping[str, str]) -> bool:
        """Keep imported directions under their content; ``False`` when the cache cannot be written.

        Args:
            made: where they come from.
        """
        tensors = {"direction": directions.direction, "layers": np.asarray(directions.layers, np.int32)}
        return self.save(directions.content_hash, tensors, {**made, "site": directions.site})

    def record_of(self, vector: ConceptVector) -> VectorRecord:
        """Return what a store records of a vector that lies here."""
        key = vector.recipe.key
        return VectorRecord(key, json.loads(canonical_json(vector.recipe)), self.path(key).name, vector.content_hash)

    def load_baseline(self, key: str) -> BaselineMean | None:
        """Return the baseline mean under a key; ``None`` where it has to be made again."""
        entry = self.load(key)
        return None if entry is None else BaselineMean(entry.tensors["mean"], entry.tensors["norms"])

    def save_baseline(self, key: str, baseline: BaselineMean, made: Mapping[str, str]) -> None:
        """Keep the mean over baseline words.

        Args:
            made: when and with what.
        """
        self.save(key, {"mean": baseline.mean, "norms": baseline.norms}, made)

    def load(self, key: str) -> Entry | None:
        """Return what was saved under a key; ``None`` when there is nothing, or nothing that can be trusted."""
        path = self.path(key)
        try:
            return read(path, key)
        except FileNotFoundError:
            return None
        except (DamagedError, OSError) as error:
            if key not in self._damaged:
                self._damaged.add(key)
                self._notice(f"{path.name} in the vector cache is ignored and made again: {error}")
            return None

    def save(self, key: str, tensors: Tensors, metadata: Mapping[str, str]) -> bool:
        """Keep arrays under a key; ``False``, and one notice for all, when the cache cannot be written."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write(self.path(key), key, tensors, metadata)
        except OSError as error:
            if not self._told:
                self._told = True
                why = error.strerror or str(error)
                self._notice(f"vectors are not kept, because {self.folder} cannot be written ({why})")
            return False
        return True


def directions_of(entry: Entry) -> LayerDirections | None:
    """Return the imported directions from an entry; ``None`` where it holds something else."""
    direction, layers = entry.tensors.get("direction"), entry.tensors.get("layers")
    site = entry.metadata.get("site", "")
    if direction is None or layers is None or site not in get_args(ReadSite):
        return None
    if direction.ndim != 2 or layers.shape != direction.shape[:1] or direction.dtype != np.float32:
        return None
    return LayerDirections(tuple(map(int, layers)), direction, cast(ReadSite, site))


def write(path: Path, key: str, tensors: Tensors, metadata: Mapping[str, str]) -> None:
    """Write one entry, all or nothing.

    Args:
        metadata: goes into the file's header, beside ``key`` and ``sha256``.

    Raises:
        OSError: the place cannot be written.
    """
    from safetensors.numpy import save

    if _OWN_NAMES & metadata.keys():
        raise ValueError(f"the names {', '.join(sorted(_OWN_NAMES))} are taken")
    header = {**metadata, "key": key, "sha256": _BLANK.decode()}
    blank = save({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, metadata=header)
    data = _with_digest(blank, hashlib.sha256(blank).hexdigest().encode())
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def read(path: Path, key: str) -> Entry:
    """Read one entry and verify every byte of it.

    Raises:
        DamagedError: it is not what was written under this key.
        OSError: it cannot be read.
    """
    return parse(path.read_bytes(), key)


def parse(data: bytes, key: str) -> Entry:
    """Parse the content of an entry's file and verify every byte of it.

    Raises:
        DamagedError: it is not what was written under this key.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    header = _header(data)
    found = _DIGEST.findall(header)
    if len(found) != 1:
        raise DamagedError("it carries no checksum")
    if hashlib.sha256(_with_digest(data, _BLANK)).hexdigest().encode() != found[0]:
        raise DamagedError("its checksum does not match")
    try:
        metadata, tensors = json.loads(header)["__metadata__"], load(data)
    except (SafetensorError, ValueError, LookupError, TypeError, RecursionError):
        raise DamagedError("it is not made as such files are") from None
    if metadata.get("key") != key:
        raise DamagedError("it holds something else than its name says")
    return Entry(tensors, metadata)


def _header(data: bytes) -> bytes:
    return data[8 : 8 + int.from_bytes(data[:8], "little")]


def _with_digest(data: bytes, digest: bytes) -> bytes:
    """Return the file's bytes with another checksum in the header."""
    match = _DIGEST.search(_header(data))
    if match is None:
        raise DamagedError("it carries no checksum")
    start = 8 + match.start(1)
    return data[:start] + digest + data[start + len(digest) :]
