"""What an experiment is: concepts, vectors, protocols, trials, runner, store, grading, statistics, command line.

``import mlxintro as mi`` gives the notebook API of ``mlxintro.api``, loaded when it is first used.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    # Importing the package must stay cheap: the command line does it before it knows what is asked of it.
    if name.startswith("_"):
        raise AttributeError(name)
    from importlib import import_module

    api = import_module("mlxintro.api")
    if name in api.__all__:
        return getattr(api, name)
    raise AttributeError(f"module 'mlxintro' has no attribute {name!r}")
