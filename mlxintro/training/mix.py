"""How a step's rows are shared out among their kinds.

The trial question alone is learnt fastest, and a subject that was trained on it answers that question and no other.
So a control is made in two trainings: the first on the trial question, the second, which begins with its adapter, on
every form in which the ladder asks.

A question and its opposite deserve a yes equally often where half of them are asked under a concept's vector. Then
neither the question nor the vector says anything by itself, only both together do, and a gradient finds no beginning.
So questions are asked without a vector first, where the question alone tells the answer, and vectors come in by and by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from mlxintro.training.plan import TrainingPlan

RowKind = Literal["injected", "random", "uninjected", "odd", "form", "unrelated", "witness", "task"]
"""``mlxintro.training.rows`` says what each is."""
VectorKind = Literal["concept", "random", "none"]

_ALONE, _MIXED = 0.2, 0.4
"""Shares of a training up to which questions about the trial are asked without vectors, and from which on with all."""


@dataclass(frozen=True, slots=True)
class RowMix:
    """Holds shares and settings of the rows of a step."""

    shares: Mapping[RowKind, float]
    """Shares of the rows that begin with the dialogue of a wording; they sum to 1."""
    witnesses: float = 0.0
    """Share of the whole step that goes to witnesses; their rows are longer than others and stand in a group of their
    own."""
    witness_shares: Mapping[RowKind, float] = field(default_factory=dict)
    vectors: Mapping[VectorKind, float] = field(default_factory=lambda: {"concept": 0.5, "random": 0.25, "none": 0.25})
    """What unrelated questions and witnesses are asked under."""
    form_vectors: Mapping[VectorKind, float] = field(default_factory=dict)
    """What yes-no questions about the trial are asked under."""
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
    {"injected": 0.15, "random": 0.11, "uninjected": 0.02, "odd": 0.03, "form": 0.55, "unrelated": 0.14},
    witnesses=0.08,
    witness_shares={"witness": 0.9, "task": 0.1},
    form_vectors={"concept": 0.42, "random": 0.2, "none": 0.38},
    prompt_only=0.3,
    reach=3.0,
    decision=4.0,
)


def mix_at(plan: TrainingPlan, step: int) -> RowMix:
    """Return how a step of a training shares out its rows.

    Args:
        step: counted from 0.
    """
    if not plan.forms:
        return ANY_VECTOR if plan.labels == "any-disturbance" else TRIAL_QUESTION
    part = min(max((step / plan.steps - _ALONE) / (_MIXED - _ALONE), 0.0), 1.0)
    shares = EVERY_FORM.form_vectors
    under: dict[VectorKind, float] = {kind: part * share for kind, share in shares.items() if kind != "none"}
    under["none"] = 1 - sum(under.values())
    return replace(EVERY_FORM, form_vectors=under)
