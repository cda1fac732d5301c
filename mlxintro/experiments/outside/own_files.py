"""Experiments in a Python file of one's own, outside this package and without an installation.

A file becomes known when a person runs it; what is known is written beside the store, never into it, so that no store
that comes from elsewhere can name a file that is executed here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from hashlib import blake2b
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from mlxintro.backends.errors import PrerequisiteError, UsageError
from mlxintro.paths import data_home

LIST = "experiments.json"
"""File in the data folder: name of the experiment -> path."""


def own_files() -> Mapping[str, Path]:
    """Name the experiments of files that were run here, with their paths."""
    try:
        found = json.loads((data_home().db.parent / LIST).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(name): Path(path) for name, path in found.items() if isinstance(path, str)}


def load_file(path: Path) -> Any:
    """Run a Python file and return its ``EXPERIMENT``.

    Raises:
        UsageError: there is no such file.
        PrerequisiteError: it does not load, or gives no experiment.
    """
    path = path.expanduser().resolve()
    if not path.is_file():
        raise UsageError(f"there is no file {path}: give the path of a Python file that sets EXPERIMENT")
    name = f"mlxintro_own_{blake2b(str(path).encode(), digest_size=6).hexdigest()}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is no Python file: give one that sets EXPERIMENT")
    module = module_from_spec(spec)
    # Data classes and pickles look their module up by its name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise PrerequisiteError(f"{path} does not load ({reason}): mend it and run it again") from error
    found = getattr(module, "EXPERIMENT", None)
    if found is None:
        raise PrerequisiteError(
            f"{path} sets no EXPERIMENT: end it with EXPERIMENT = MyExperiment(), see docs/protocols.md"
        )
    return found


def remember(name: str, path: Path) -> None:
    """Keep where the experiment of that name is, for resuming its runs and analysing them."""
    known = {key: str(place) for key, place in own_files().items()}
    place = str(path.expanduser().resolve())
    if known.get(name) == place:
        return
    file = data_home().db.parent / LIST
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({**known, name: place}, indent=1) + "\n", "utf-8")
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}: choose another place with MLXINTRO_HOME") from error
