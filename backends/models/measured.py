"""What was measured of model families on tiny random models, and what it says a user should do.

``families.json`` is written by ``docs/families_table.py``. What holds for the releases of transformers and mlx-lm that
were measured need not hold for others: a family is refused on its word alone only with the same release.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from ..errors import ModelError

ModelLibrary = Literal["mlx", "torch"]
_RELEASES = {"mlx": "mlx-lm", "torch": "transformers"}


@cache
def _measured() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(__file__).with_name("families.json").read_text("utf-8"))
    return found


def is_known(kind: str) -> bool:
    """Tell whether a family was measured at all."""
    return kind in _measured()["families"]


def works(kind: str, backend: ModelLibrary) -> bool:
    """Tell whether a backend was measured to compute a family as transformers does."""
    return bool(_finding(kind, backend).get("works"))


def alternative(kind: str, backend: ModelLibrary) -> str:
    """Say what to do with a family that a backend cannot run.

    Args:
        backend: the one that cannot.
    """
    other: ModelLibrary = "torch" if backend == "mlx" else "mlx"
    if not is_known(kind):
        if not _has_code_for(kind, other):
            return f"choose another model ({_RELEASES[other]} has no module of that name)"
        return f"try --backend {other}, or choose another model"
    if works(kind, other):
        return f"use --backend {other}"
    if other == "mlx" and "another form" in _finding(kind, "mlx").get("refused", ""):
        return (
            "use --backend mlx with a conversion from https://huggingface.co/mlx-community if there is one, "
            "or choose another model"
        )
    return "neither backend runs this family, so choose another model"


def check(kind: str, backend: ModelLibrary) -> None:
    """Refuse a family that this release of the library was measured to compute otherwise, or not at all.

    Raises:
        ModelError: naming the backend that runs it.
    """
    found = _finding(kind, backend)
    if not found or found["works"] or not _is_same_release(backend):
        return
    library = f"{_RELEASES[backend]} {_measured()[_RELEASES[backend]]}"
    if "nats" in found:
        raise ModelError(
            f"{library} computes {kind} otherwise than transformers does (by {found['nats']:.2g} nats on a tiny "
            f"model): {alternative(kind, backend)}"
        )
    if backend == "torch":
        raise ModelError(f"the torch backend cannot run {kind} with {library}: {alternative(kind, backend)}")


def _has_code_for(kind: str, backend: ModelLibrary) -> bool:
    """Tell whether a library has a module for a family, by its files: importing it takes seconds."""
    found = find_spec("mlx_lm" if backend == "mlx" else "transformers")
    if found is None or not found.submodule_search_locations:
        return False
    models = Path(found.submodule_search_locations[0], "models")
    name = kind.replace("-", "_")
    return (models / f"{name}.py").exists() or (models / name).is_dir()


def _finding(kind: str, backend: ModelLibrary) -> dict[str, Any]:
    found: dict[str, Any] = _measured()["families"].get(kind, {}).get(backend, {})
    return found


def _is_same_release(backend: ModelLibrary) -> bool:
    try:
        return bool(version(_RELEASES[backend]) == _measured()[_RELEASES[backend]])
    except PackageNotFoundError:
        return False
