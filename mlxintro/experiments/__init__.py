"""Experiments, one module each, found by name and imported when used."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from mlxintro.backends.errors import UsageError
from mlxintro.experiments.base import Experiment

_NO_EXPERIMENTS = {"base", "grid", "intentional_control_analysis", "latent_analysis"}


def names() -> list[str]:
    """Every experiment there is."""
    modules = (module.name for module in iter_modules(__path__) if not module.ispkg)
    return sorted(name.replace("_", "-") for name in modules if name not in _NO_EXPERIMENTS)


def find(name: str) -> Experiment:
    """The experiment of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in names():
        raise UsageError(f"no experiment called {name!r}: choose one of {', '.join(names())}", setting="experiment")
    experiment: Experiment = import_module(f"{__name__}.{name.replace('-', '_')}").EXPERIMENT
    return experiment
