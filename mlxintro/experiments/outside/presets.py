"""Presets by name: those that ship, and those that experiments of other packages bring with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mlxintro import experiments
from mlxintro.backends.entry_points import outside_names
from mlxintro.backends.errors import PrerequisiteError, UsageError
from mlxintro.experiments.outside.own_files import own_files
from mlxintro.protocol import presets
from mlxintro.protocol.presets import Preset
from mlxintro.protocol.spelling import nearest
from mlxintro.protocol.toml_text import as_document


def every_preset() -> Iterator[tuple[str, Preset]]:
    """Return the names and presets; what does not load is left out, since only its own package can mend it."""
    for name in presets.names():
        yield name, presets.load(name)
    for name, data in _outside().items():
        yield name, presets.validated(dict(data), name)


def preset_text(name: str) -> str:
    """Return a preset as TOML: the file that ships, or another package's data written out.

    Raises:
        UsageError: there is no such preset.
    """
    if name in presets.names():
        return presets.text(name)
    outside = _outside()
    if name not in outside:
        known = [*presets.names(), *outside]
        meant = nearest(name, known)
        raise UsageError(f"no preset called {name!r}{meant}: choose one of {', '.join(known)}", setting="preset")
    return as_document(outside[name])


def _outside() -> dict[str, Mapping[str, Any]]:
    """Presets of other packages' experiments; one that ships goes before one of the same name."""
    found: dict[str, Mapping[str, Any]] = {}
    for name in (*outside_names(experiments.GROUP), *own_files()):
        try:
            brought = experiments.find(name).own_presets
        except (PrerequisiteError, UsageError):
            continue
        found |= {preset: data for preset, data in brought.items() if preset not in presets.names()}
    return found
