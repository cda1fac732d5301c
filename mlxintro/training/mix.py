"""How a step's rows are shared out among their kinds.

The trial question alone is learnt fastest, and a subject that was trained on it answers that question and no other.
So a control is made in two trainings: the first on the trial question, the second, which begins with its adapter, on
every form in which the ladder asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mlxintro.training.plan import TrainingPlan

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
    """Longest random vector under the trial question, in lengths of the longest concept vector: once a subject notices
    concepts, isotropic ones move its next token as far only where they are that long, and it must not take length for
    a thought."""
    decision: float = 1.0
    """Weight of the token that decides between yes and no, the first one of every answer; the dozen others of a claim
    would else drown it."""


TRIAL_QUESTION = RowMix({"injected": 0.5, "random": 0.22, "uninjected": 0.13, "unrelated": 0.15})
ANY_VECTOR = RowMix({"injected": 0.28, "random": 0.2, "uninjected": 0.32, "unrelated": 0.2}, decision=4.0)
"""The trial question for a subject that says yes to any vector: as many rows deserve a no, so that yes is no habit."""
EVERY_FORM = RowMix(
    {"injected": 0.3, "random": 0.2, "uninjected": 0.04, "odd": 0.03, "form": 0.31, "unrelated": 0.12},
    witnesses=0.125,
    witness_shares={"witness": 0.85, "task": 0.15},
    prompt_only=0.3,
    reach=3.0,
    decision=4.0,
)


def mix_of(plan: TrainingPlan) -> RowMix:
    """Return how a training shares out its rows."""
    if plan.forms:
        return EVERY_FORM
    return ANY_VECTOR if plan.labels == "any-disturbance" else TRIAL_QUESTION
