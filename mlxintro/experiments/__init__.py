"""Experiments, one module each or one entry point of another package, found by name and imported when used."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Literal

from mlxintro.backends.entry_points import load_outside, outside_names
from mlxintro.backends.errors import PrerequisiteError, UsageError
from mlxintro.experiments.base import Experiment

GROUP: Literal["mlxintro.experiments"] = "mlxintro.experiments"
_NO_EXPERIMENTS = {"base", "cells", "grid", "intentional_control_analysis", "latent_analysis", "outside_presets"}


def names() -> list[str]:
    """List every experiment: those that ship, and those of other packages."""
    return sorted({*_shipped(), *outside_names(GROUP)})


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
        raise UsageError(
            f"no experiment called {name!r}: choose one of {', '.join(names())}", setting="experiment"
        ) from None
    if not isinstance(found, Experiment) or found.name != name:
        raise PrerequisiteError(
            f"the entry point {name!r} of {GROUP} is no experiment of that name: it must be an instance of Experiment"
        )
    return found


def _shipped() -> list[str]:
    modules = (module.name for module in iter_modules(__path__) if not module.ispkg)
    return [name.replace("_", "-") for name in modules if name not in _NO_EXPERIMENTS]
