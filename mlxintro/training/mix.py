"""How a step's rows are shared out among their kinds.

The trial question alone is learnt fastest, and a subject that was trained on it answers that question and no other.
So a control is made in two trainings: the first on the trial question, the second, which begins with its adapter, on
every form in which the ladder asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

RowKind = Literal["injected", "random", "uninjected", "odd", "form", "unrelated", "witness", "task"]
"""``mlxintro.training.rows`` says what each is."""


@dataclass(frozen=True, slots=True)
class RowMix:
    """Holds shares and settings of the rows of a step."""

    shares: Mapping[RowKind, float]
    """Shares of the rows that begin with the dialogue of a wording; they sum to 1."""
    witnesses: float = 0.0
    """Share of the whole step that goes to witnesses; their rows are longer than others and stand in a group of their
    own."""
    witness_shares: Mapping[RowKind, float] = field(default_factory=dict)
    prompt_only: float = 0.0
    """Share of injected rows whose window ends before the reply."""
    reach: float = 1.0
    """Random vectors are up to so many times as long as the longest concept vector: once a subject notices concepts,
    isotropic ones move its next token as far only where they are that long, and it must not take length for a
    thought."""
    short_weight: float = 1.0
    """Weight of each token of a yes or no: one token of it decides, among the dozen of a claim that would else drown
    it."""


TRIAL_QUESTION = RowMix({"injected": 0.5, "random": 0.22, "uninjected": 0.13, "unrelated": 0.15})
EVERY_FORM = RowMix(
    {"injected": 0.34, "random": 0.22, "uninjected": 0.05, "odd": 0.04, "form": 0.24, "unrelated": 0.11},
    witnesses=0.17,
    witness_shares={"witness": 0.75, "task": 0.25},
    prompt_only=0.35,
    reach=5.0,
    short_weight=4.0,
)
