"""A GGUF model as one thing, whether it lies in one file or in several.

Two ways of cutting a model exist: llama.cpp's own (``NAME-00001-of-00003.gguf``), where every part is a GGUF file with
some of the tensors, and plain pieces of one file (``NAME.gguf.part1``, ``NAME.gguf-split-a``), which are put together
again before they are read.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from ..models import digests
from ..models.foreign import told

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SPLIT = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
_PIECE = re.compile(r"(?P<stem>.+\.gguf)[._-]?(?:part|split)[._-]?(?P<number>\d+|[a-z])(?:-?of-?(?P<count>\d+))?", re.I)
_ADVICE = "download the file again, or convert the model again with llama.cpp"


@dataclass(frozen=True, slots=True)
class GGUFFiles:
    """Lists the files of one model, in order."""

    name: str
    """The model's file name without what says which part it is."""
    paths: tuple[Path, ...]
    pieces: bool
    """Whether the files are pieces of one GGUF file, rather than GGUF files each."""

    @property
    def revision(self) -> str:
        """Return the digest of the content; ``sha256:`` and 64 hexadecimal digits, or of several files' digests."""
        import hashlib

        found = [digests.sha256(path) for path in self.paths]
        whole = found[0] if len(found) == 1 else hashlib.sha256("\n".join(found).encode()).hexdigest()
        return f"sha256:{whole}"

    @property
    def bytes(self) -> int:
        return sum(path.stat().st_size for path in self.paths)


@dataclass(frozen=True, slots=True)
class GGUFTensor:
    """Describes one tensor as it lies in the file."""

    name: str
    """Name in llama.cpp's words, e.g. ``blk.0.attn_q.weight``."""
    kind: str
    """How its numbers are stored: ``F32``, ``Q4_K``, ..."""
    data: NDArray[np.generic]
    """Rows of packed bytes where it is quantised, numbers where it is not."""


@dataclass(frozen=True, slots=True)
class GGUFContent:
    """Says what the files of a model hold, mapped into memory."""

    fields: Mapping[str, Callable[[], Any]]
    """Metadata; a value is read when it is asked for."""
    tensors: tuple[GGUFTensor, ...]
    path: Path
    """The file with the metadata."""

    def get(self, name: str, default: Any = None) -> Any:
        return self.fields[name]() if name in self.fields else default

    @property
    def architecture(self) -> str:
        return str(self.get("general.architecture", "unknown"))


def names_gguf(path: Path) -> bool:
    """Tell whether a file is called like a GGUF model or a part of one."""
    return path.suffix.lower() == ".gguf" or _PIECE.fullmatch(path.name) is not None


def in_folder(folder: Path) -> Path | None:
    """Return the GGUF model of a folder that holds nothing else to load, by any of its files.

    Raises:
        ModelError: it holds several.
    """
    if (folder / "config.json").exists():
        return None
    found = sorted(path for path in folder.iterdir() if path.is_file() and names_gguf(path))
    models = {_stem(path): path for path in reversed(found)}
    if len(models) > 1:
        raise ModelError(
            f"{folder} holds {len(models)} GGUF models ({', '.join(sorted(models)[:3])}): give the path of one"
        )
    return next(iter(models.values()), None)


def files_of(path: Path) -> GGUFFiles:
    """Find all files of the model that a file belongs to.

    Raises:
        ModelError: parts are missing.
    """
    if not path.is_file():
        raise ModelError(f"{path} cannot be read: check the path")
    for pattern, pieces in ((_SPLIT, False), (_PIECE, True)):
        match = pattern.fullmatch(path.name)
        if match is None:
            continue
        parts = _parts(path.parent, pattern, match["stem"])
        count = int(match["count"]) if match["count"] else len(parts)
        numbers = sorted(parts)
        if numbers not in (list(range(1, count + 1)), list(range(count))):
            raise ModelError(
                f"{path.parent} holds {len(parts)} of the {max(count, numbers[-1])} parts of {match['stem']}: put the "
                "missing ones beside them"
            )
        return GGUFFiles(match["stem"], tuple(parts[number] for number in numbers), pieces)
    return GGUFFiles(path.stem, (path,), pieces=False)


@contextlib.contextmanager
def opened(files: GGUFFiles, scratch: Path) -> Iterator[GGUFContent]:
    """Read a model's metadata and map its tensors into memory.

    Args:
        scratch: folder where pieces are put together for as long as they are read.

    Raises:
        ModelError: a file is no GGUF file, or is damaged.
    """
    with contextlib.ExitStack() as stack:
        paths = files.paths
        if files.pieces:
            joined = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=scratch))) / "joined.gguf"
            _join(paths, joined)
            paths = (joined,)
        yield _read(paths)


def _read(paths: tuple[Path, ...]) -> GGUFContent:
    from gguf import GGUFReader

    fields: dict[str, Callable[[], Any]] = {}
    tensors: list[GGUFTensor] = []
    for path in paths:
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise ModelError(f"{path} is not a GGUF file: {_ADVICE}")
        with told(f"{path} cannot be read as a GGUF file", _ADVICE):
            reader = GGUFReader(path)
            fields = {name: field.contents for name, field in reader.fields.items()} | fields
            tensors += [GGUFTensor(one.name, one.tensor_type.name, one.data) for one in reader.tensors]
    names = [tensor.name for tensor in tensors]
    if len(set(names)) != len(names):
        raise ModelError(f"{paths[0]} and its other parts hold a tensor twice: keep the parts of one model")
    content = GGUFContent(fields, tuple(tensors), paths[0])
    said = content.get("split.tensors.count")
    if said is not None and said != len(tensors):
        raise ModelError(f"{paths[0]} and its other parts hold {len(tensors)} of {said} tensors: {_ADVICE}")
    return content


def _parts(folder: Path, pattern: re.Pattern[str], stem: str) -> dict[int, Path]:
    """Files of one stem by their number; letters count from a, which is 0."""
    found: dict[int, Path] = {}
    for path in folder.iterdir():
        match = pattern.fullmatch(path.name)
        if match is not None and match["stem"] == stem:
            number = match["number"]
            found[int(number) if number.isdigit() else ord(number.lower()) - ord("a")] = path
    return found


def _stem(path: Path) -> str:
    match = _SPLIT.fullmatch(path.name) or _PIECE.fullmatch(path.name)
    return match["stem"] if match else path.name


def _join(pieces: tuple[Path, ...], target: Path) -> None:
    with target.open("wb") as file:
        for piece in pieces:
            with piece.open("rb") as part:
                shutil.copyfileobj(part, file, 4 * 2**20)
