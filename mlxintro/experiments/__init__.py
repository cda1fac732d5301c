"""Experiments, found by name and imported when used.

Each is a module of this package, an entry point of another one, or a Python file of one's own.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Literal

from mlxintro.backends.entry_points import load_outside, outside_names
from mlxintro.backends.errors import PrerequisiteError, UsageError
from mlxintro.experiments.base import Experiment
from mlxintro.experiments.outside.own_files import load_file, own_files, remember
from mlxintro.protocol import presets
from mlxintro.protocol.spelling import nearest

GROUP: Literal["mlxintro.experiments"] = "mlxintro.experiments"
_NO_EXPERIMENTS = {
    "base",
    "cells",
    "grid",
    "intentional_control_analysis",
    "latent_analysis",
}


def names() -> list[str]:
    """List every experiment: those that ship, those of other packages, and those of files that were run here."""
    return sorted({*_shipped(), *outside_names(GROUP), *own_files()})


def own_name(path: Path) -> str:
    """Take in a Python file of one's own that sets ``EXPERIMENT``; return the name of its experiment.

    Raises:
        UsageError: there is no such file, or another experiment has that name.
        PrerequisiteError: it does not load, or gives no experiment.
    """
    found = load_file(path)
    if not isinstance(found, Experiment) or not getattr(found, "name", ""):
        raise PrerequisiteError(f"{path} sets EXPERIMENT to something that is no instance of Experiment with a name")
    if found.name in _shipped() or found.name in outside_names(GROUP):
        raise UsageError(f"{path}: there is already an experiment called {found.name!r}: give it another name")
    if found.preset not in {*found.own_presets, *presets.names()}:
        raise PrerequisiteError(f"{path}: its preset {found.preset!r} is neither in own_presets nor one that ships")
    remember(found.name, path)
    return found.name


def find(name: str) -> Experiment:
    """Find an experiment by its name. One that ships goes before one of another package.

    Raises:
        UsageError: there is none.
        PrerequisiteError: it is another package's, and does not load.
    """
    if name in _shipped():
        shipped: Experiment = import_module(f"{__name__}.{name.replace('-', '_')}").EXPERIMENT
        return shipped
    try:
        found = load_outside(GROUP, name)
    except LookupError:
        if (path := own_files().get(name)) is not None:
            own = load_file(path)
            if not isinstance(own, Experiment) or own.name != name:
                raise PrerequisiteError(f"{path} is not the experiment {name!r} any more: run it again") from None
            return own
        raise UsageError(
            f"no experiment called {name!r}{nearest(name, names())}: choose one of {', '.join(names())}",
            setting="experiment",
        ) from None
    if not isinstance(found, Experiment) or found.name != name:
        raise PrerequisiteError(
            f"the entry point {name!r} of {GROUP} is no experiment of that name: it must be an instance of Experiment"
        )
    return found


def _shipped() -> list[str]:
    modules = (module.name for module in iter_modules(__path__) if not module.ispkg)
    return [name.replace("_", "-") for name in modules if name not in _NO_EXPERIMENTS]
