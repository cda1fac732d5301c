"""Settings of one training, complete enough to repeat it to the last bit on the same machine."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mlxintro.backends.training import AdapterShape

Labels = Literal["true", "shuffled", "any-disturbance"]
"""``true`` rewards saying what was injected; ``shuffled`` deals the same answers out at random; ``any-disturbance``
rewards a yes with a word at random for every vector, random ones included."""

Share = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class TrainingPlan(BaseModel):
    """Says what is trained on what, for how long. Stored beside the adapter as ``training.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    """``trials.model_key`` of the subject without the adapter."""
    labels: Labels = "true"
    forms: bool = False
    """Whether every form in which the ladder asks is trained on, or the trial question alone: ``training.mix``."""
    start: str | None = None
    """An adapter of at most this rank, in the same layers, to begin with, as ``adapters.sources.resolve`` finds it."""
    start_revision: str | None = None
    """Hash of the content it starts from, so that a resumed training begins with nothing else."""
    material: str = ""
    """``material.digest`` of the words and questions."""
    seed: int = Field(default=0, ge=0)
    steps: int = Field(ge=1)
    rows: int = Field(default=24, ge=4)
    """Rows of one step, half of them in each of two wordings."""
    rate: Share = 2e-3
    """Highest learning rate; it rises over the first steps and falls to a twentieth along a cosine."""
    rank: int = Field(default=32, ge=1)
    alpha: Share = 32.0
    layers: tuple[int, int]
    """First and last layer that is injected into; the adapter lies above the last, or begins lower."""
    adapt_from: int | None = Field(default=None, ge=0)
    """First block that is adapted; ``None`` for the one above the last layer that is injected into, so that vectors
    are those of the subject without the adapter. A lower one can make louder what a question asks before a vector
    covers it."""
    strengths: tuple[Share, Share] = (0.4, 1.0)
    """Range of the norm of what is injected, as a fraction of the residual norm of the layer."""
    words: int = Field(default=600, ge=1)
    """How many words are trained on."""
    stopping: int = Field(default=32, ge=2)
    """How many words choose when to stop."""
    evaluate_every: int = Field(default=20, ge=1)
    save_every: int = Field(default=10, ge=1)
    products: Literal["float32", "bfloat16"] = "float32"
    """Type of number in which the CPU multiplies; see ``backends.training.Products``."""

    @model_validator(mode="after")
    def _ordered(self) -> TrainingPlan:
        if not 0 <= self.layers[0] <= self.layers[1]:
            raise ValueError("layers: give the first and the last layer, in this order")
        if self.strengths[0] > self.strengths[1]:
            raise ValueError("strengths: give the lowest and the highest, in this order")
        if self.adapt_from is not None and self.adapt_from > self.layers[1] + 1:
            raise ValueError(f"adapt from layer {self.layers[1] + 1} or a lower one, so that all above is adapted")
        return self

    @property
    def shape(self) -> AdapterShape:
        above = self.layers[1] + 1
        first = above if self.adapt_from is None else self.adapt_from
        return AdapterShape(self.rank, self.alpha, first, above, self.seed)

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        warm = max(1, min(10, self.steps // 10))
        if step < warm:
            return self.rate * (step + 1) / warm
        done = (step - warm) / max(1, self.steps - warm)
        return self.rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))
