"""What an experiment is: concepts, vectors, protocols, trials, runner, store, grading, statistics, command line.

``import mlxintro as mi`` gives the notebook API of ``mlxintro.api``, loaded when it is first used.
"""

from __future__ import annotations

from typing import Any

_API = {
    "Completion": "backends.base",
    "ConceptVector": "mlxintro.vectors",
    "Injection": "backends.base",
    "Prompt": "backends.base",
    "Proof": "backends.base",
    "Request": "backends.base",
    "Sampling": "backends.base",
    "concept_vector": "mlxintro.api",
    "load": "mlxintro.api",
    "steer": "mlxintro.steering",
    "validate": "mlxintro.steering",
}
"""Name -> where it lives."""

__all__ = list(_API)


def __getattr__(name: str) -> Any:
    # Importing the package must stay cheap: the command line does it before it knows what is asked of it.
    if name not in _API:
        raise AttributeError(f"module 'mlxintro' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_API[name]), name)
