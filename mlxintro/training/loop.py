"""Training step by step: from a plan and a folder to an adapter, resumable after any interruption.

What a step sees depends on the plan and the number of the step alone, and a checkpoint holds everything else, so a
training that was killed and resumed ends with the weights of one that was not (on one machine, with as many threads).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import numpy as np

from mlxintro.backends.adapters import low_rank, sources
from mlxintro.backends.base import Backend, Float32
from mlxintro.backends.errors import UsageError
from mlxintro.backends.training import AdapterTrainer
from mlxintro.protocol import presets
from mlxintro.protocol.trials import model_key
from mlxintro.training.aiming import question_discriminants
from mlxintro.training.asking import Asker
from mlxintro.training.checkpoint import TrainingFolder
from mlxintro.training.evaluation import HeldOutRates, held_out_rates
from mlxintro.training.material import Material, digest, material, split_words
from mlxintro.training.plan import TrainingPlan
from mlxintro.training.rows import RowMaker
from mlxintro.vectors.cache import VectorCache
from mlxintro.vectors.extraction import Progress, extract
from mlxintro.vectors.settings import recipe_for
from mlxintro.vectors.vector import ConceptVector

PRESET = "lindsey"
"""Its extraction makes the vectors that are trained on."""


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """Tells something that happened in a training."""

    step: int
    """Steps taken so far."""
    steps: int
    loss: float | None = None
    """Mean cross-entropy before the step; ``None`` for the evaluation of the untrained subject."""
    held_out: HeldOutRates | None = None
    kept: bool = False
    """Whether the adapter of this step is the best so far and was written."""


def word_vectors(
    backend: Backend, words: list[str], cache: VectorCache | None, progress: Progress | None = None
) -> dict[str, ConceptVector]:
    """Return the concept vectors of words, as studies extract them."""
    extraction = presets.load(PRESET).extraction
    recipes = {word: recipe_for(extraction, word, backend.info) for word in words}
    made = extract(backend, recipes.values(), cache, progress=progress)
    return {word: made[recipe.key] for word, recipe in recipes.items()}


def open_trainer(
    backend: Backend, plan: TrainingPlan, stuff: Material, asker: Asker, vectors: Mapping[str, ConceptVector]
) -> AdapterTrainer:
    """Return the trainer of a plan.

    Its adapter is aimed at the vectors that are trained on and, where every form is asked, at what tells questions
    apart.
    """
    first, last = plan.layers
    directions = np.concatenate([vector.direction[first : last + 1] for vector in vectors.values()])
    apart = question_discriminants(backend, plan, stuff, asker, vectors) if plan.forms else None
    trainer = backend.trainer(plan.shape, products=plan.products, directions=directions, discriminants=apart)
    try:
        if plan.start is not None:
            trainer.begin_with(_matrices(plan))
    except BaseException:
        trainer.close()
        raise
    return trainer


def _matrices(plan: TrainingPlan) -> dict[str, tuple[Float32, Float32]]:
    """The matrices that a training begins with, at the scale of its plan.

    Raises:
        UsageError: they are no longer what they were when the training was planned.
    """
    assert plan.start is not None
    source = sources.resolve(plan.start)
    if source.revision != plan.start_revision:
        raise UsageError(f"{plan.start} has changed since this training began: choose another folder with -o")
    scale = plan.alpha / plan.rank
    return {path: (one.down, one.up * np.float32(one.scale / scale)) for path, one in low_rank.read(source).items()}


def train(
    backend: Backend,
    plan: TrainingPlan,
    folder: TrainingFolder,
    *,
    cache: VectorCache | None = None,
    progress: Progress | None = None,
) -> Iterator[TrainingStep]:
    """Train, or go on where the folder's checkpoint stands.

    Args:
        cache: keeps the vectors of the words.
        progress: told how many words have been read.

    Raises:
        UsageError: the plan is for another model, or was made with other words or questions.
    """
    if plan.model != model_key(backend.info):
        raise UsageError(f"{folder.path} is a training of {plan.model}, not of {model_key(backend.info)}")
    if plan.material != digest():
        raise UsageError(f"{folder.path} was begun with other words or questions: choose another folder with -o")
    stuff = material()
    split = split_words(stuff, plan.words, plan.stopping, plan.seed)
    vectors = word_vectors(backend, [*split.trained, *split.stopping], cache, progress)
    asker = Asker(backend.tokenizer)
    maker = RowMaker(plan, stuff, split, vectors, asker)
    best: float | None = None
    step = 0
    with open_trainer(backend, plan, stuff, asker, {word: vectors[word] for word in split.trained}) as trainer:
        if (found := folder.load()) is not None:
            state, kept = found
            step, best = kept["step"], kept["best"]
            trainer.restore(state, step)
        folder.forget_after(step)
        while step < plan.steps:
            report = trainer.step(maker.step(step), plan.rate_at(step))
            step += 1
            rates, keep = None, False
            if step % plan.evaluate_every == 0 or step == plan.steps:
                rates = held_out_rates(backend, plan, split.stopping, vectors, stuff.wording(PRESET), asker)
                margin = rates.margin(plan.labels)
                # Shuffled labels teach nothing that could be measured, and the rates know nothing of forms.
                keep = best is None or margin >= best or plan.labels == "shuffled" or plan.forms
                best = margin if keep else best
            if keep:
                folder.write_adapter(trainer.matrices(), plan, backend.info.model)
            line = {"step": step, **asdict(report)} | ({"held_out": rates.as_dict()} if rates else {})
            folder.note(line)
            if keep or step % plan.save_every == 0 or step == plan.steps:
                folder.save(trainer.state(), {"step": step, "best": best})
            yield TrainingStep(step, plan.steps, report.loss, rates, keep)
