"""How many steps fit into a given time."""

from __future__ import annotations

import time

from mlxintro.backends.base import Backend
from mlxintro.training.asking import Asker
from mlxintro.training.loop import open_trainer, word_vectors
from mlxintro.training.material import material, split_words
from mlxintro.training.plan import TrainingPlan
from mlxintro.training.rows import RowMaker
from mlxintro.vectors.cache import VectorCache
from mlxintro.vectors.extraction import Progress

_TIMED = 3
_EVALUATION = 2.5
"""Steps that one evaluation takes as long as."""


def fitting_steps(
    backend: Backend, plan: TrainingPlan, seconds: float, cache: VectorCache | None, progress: Progress | None
) -> TrainingPlan:
    """Return the plan with as many steps as fit into the time, counted from now.

    The count is rounded down to a coarse scale (10, 15, 20, 30, 40, 60, ...), so that two trainings on the same machine
    most likely have the same one, and so the same learning rates.
    """
    started = time.monotonic()
    stuff = material()
    split = split_words(stuff, plan.words, plan.stopping, plan.seed)
    vectors = word_vectors(backend, [*split.trained, *split.stopping], cache, progress)
    asker = Asker(backend.tokenizer)
    maker = RowMaker(plan, stuff, split, vectors, asker)
    with open_trainer(backend, plan, stuff, asker, vectors) as trainer:
        trainer.step(maker.step(0), plan.rate_at(0))
        before = time.monotonic()
        for number in range(_TIMED):
            trainer.step(maker.step(number), plan.rate_at(number))
        each = (time.monotonic() - before) / _TIMED
    left = seconds - (time.monotonic() - started)
    return plan.model_copy(update={"steps": coarse(left / each / (1 + _EVALUATION / plan.evaluate_every))})


def coarse(count: float) -> int:
    """Return the largest of 5, 10, 15, 20, 30, 40, 60, 80, 120, ... that is not above a count; 5 at least."""
    steps, best = [5, 10, 15], 5
    while steps[-1] <= count:
        steps.append(steps[-2] * 2)
    for step in steps:
        best = step if step <= count else best
    return best
