"""What a study says of thinking, held against the model that is loaded."""

from __future__ import annotations

from mlxintro.backends.base import Backend
from mlxintro.backends.errors import UsageError
from mlxintro.experiments.base import Experiment
from mlxintro.protocol.study import Study
from mlxintro.protocol.windows import THOUGHT_WINDOWS


def check_thinking(study: Study, experiment: Experiment, backend: Backend) -> None:
    """Hold what a study says of thinking against the experiment and the model's chat template.

    Raises:
        UsageError: with the mode that this model and this experiment can take.
    """
    mode, marks = study.thinking, backend.tokenizer.thinking
    if mode == "on" and not experiment.thinks:
        why = experiment.thoughtless or "it has no protocol for a subject that thinks first"
        raise UsageError(f"{experiment.name}: {why}: use --thinking off or empty", setting="thinking")
    if study.window in THOUGHT_WINDOWS and mode != "on":
        raise UsageError(f"the window {study.window} is for a subject that thinks: add --thinking on", setting="window")
    if mode in ("on", "empty") and marks is None:
        raise UsageError(
            f"{backend.info.model}'s chat template knows no thoughts: leave --thinking out", setting="thinking"
        )
    if mode == "off" and marks is not None and marks.unasked:
        raise UsageError(
            f"{backend.info.model} thinks before it answers, and its chat template has no switch for that: use "
            "--thinking on or empty",
            setting="thinking",
        )


def check_says_thinking(study: Study, experiment: Experiment, backend: Backend) -> None:
    """Refuse a new run of a model that thinks unasked, where the study does not say what becomes of its thoughts.

    Raises:
        UsageError: with the modes to choose from.
    """
    marks = backend.tokenizer.thinking
    if study.thinking is None and marks is not None and marks.unasked:
        on = "--thinking on (a thought, then the answer), or " if experiment.thinks else ""
        raise UsageError(
            f"{backend.info.model} thinks before it answers, and its chat template has no switch for that: use "
            f"{on}--thinking empty (an empty thought is put in its mouth)",
            setting="thinking",
        )
