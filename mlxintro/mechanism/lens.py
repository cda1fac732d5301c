"""The logit lens over a whole dialogue: what an injection adds to yes, no and the concept's name, layer by layer.

Source: nostalgebraist 2020, "interpreting GPT: the logit lens".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlxintro.backends.base import Backend, Float32, Injection, Prompt

LENS_ANSWERS = ("yes", "no", "name")


def lens_shift(
    backend: Backend,
    tokens: tuple[int, ...],
    injections: tuple[Injection, ...],
    positions: range,
    answers: Sequence[Sequence[int]],
) -> Float32:
    """Return the log-probability by the lens with the injection minus the one without it.

    Args:
        positions: of the prompt.
        answers: for each answer the first tokens of its spellings, whose probabilities are added up.

    Returns:
        float32 (answers, layers, positions): natural logarithms.
    """
    prompts = [Prompt(tokens), Prompt(tokens, injections)]
    clean, injected = (
        _logprobs(backend, captured["resid_post"], answers)
        for captured in backend.capture(prompts, positions=positions)
    )
    return np.asarray(injected - clean, np.float32)


def _logprobs(backend: Backend, residuals: Float32, answers: Sequence[Sequence[int]]) -> np.ndarray[tuple[int, ...]]:
    every = [token for spellings in answers for token in spellings]
    logprobs = backend.lens(residuals, every).astype(np.float64)
    ends = np.cumsum([len(spellings) for spellings in answers])[:-1]
    return np.stack([np.logaddexp.reduce(part, axis=-1) for part in np.split(logprobs, ends, axis=-1)])
