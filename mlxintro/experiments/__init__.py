"""Experiments, one module each, found by name and imported when used."""

from __future__ import annotations

from importlib import import_module

from backends.errors import UsageError
from mlxintro.experiments.base import Experiment

MODULES = {
    "injected-thoughts": "mlxintro.experiments.injected_thoughts",
}


def find(name: str) -> Experiment:
    """The experiment of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in MODULES:
        raise UsageError(f"no experiment called {name!r}: choose one of {', '.join(MODULES)}")
    experiment: Experiment = import_module(MODULES[name]).EXPERIMENT
    return experiment
