"""What an experiment is: concepts, vectors, protocols, trials, runner, store, grading, statistics, command line.

``import mlxintro as mi`` gives the notebook API, loaded when it is first used: models and vectors from
``mlxintro.api``, runs and their trials from ``mlxintro.notebook``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlxintro.api import concept_vector, load
    from mlxintro.backends.base import Completion, Injection, Prompt, Proof, Request, Sampling
    from mlxintro.mechanism.notebook import patch_map
    from mlxintro.notebook import figure, frame, grade, results, run, runs
    from mlxintro.vectors.notebook import align, read_vector, write_vector
    from mlxintro.vectors.steering import steer, validate
    from mlxintro.vectors.vector import ConceptVector

__all__ = [
    "Completion",
    "ConceptVector",
    "Injection",
    "Prompt",
    "Proof",
    "Request",
    "Sampling",
    "align",
    "concept_vector",
    "figure",
    "frame",
    "grade",
    "load",
    "patch_map",
    "read_vector",
    "results",
    "run",
    "runs",
    "steer",
    "validate",
    "write_vector",
]

_API = {
    "Completion": "mlxintro.backends.base",
    "ConceptVector": "mlxintro.vectors.vector",
    "Injection": "mlxintro.backends.base",
    "Prompt": "mlxintro.backends.base",
    "Proof": "mlxintro.backends.base",
    "Request": "mlxintro.backends.base",
    "Sampling": "mlxintro.backends.base",
    "align": "mlxintro.vectors.notebook",
    "concept_vector": "mlxintro.api",
    "figure": "mlxintro.notebook",
    "frame": "mlxintro.notebook",
    "grade": "mlxintro.notebook",
    "load": "mlxintro.api",
    "patch_map": "mlxintro.mechanism.notebook",
    "read_vector": "mlxintro.vectors.notebook",
    "results": "mlxintro.notebook",
    "run": "mlxintro.notebook",
    "runs": "mlxintro.notebook",
    "steer": "mlxintro.vectors.steering",
    "validate": "mlxintro.vectors.steering",
    "write_vector": "mlxintro.vectors.notebook",
}
"""Name -> where it lives."""


def __getattr__(name: str) -> Any:
    # Importing the package must stay cheap: the command line does it before it knows what is asked of it.
    if name not in _API:
        raise AttributeError(f"module 'mlxintro' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_API[name]), name)
