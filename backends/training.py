"""The contract for training a low-rank adapter: what goes into a step and what comes out of it.

An adapter is trained on answers: the loss is the cross-entropy of given answers after given prompts, while the vectors
of the prompts are injected by the same masked code as everywhere else. Only the low-rank matrices change. Blocks below
``AdapterShape.first_layer`` get none, so whatever is read there is the same with the adapter and without it.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

import numpy as np

from .checks import check_prompt, check_proofs
from .errors import UsageError
from .prefix import shared_prefix, usable
from .values import Float32, ModelInfo, Prompt, Proof

Products = Literal["float32", "bfloat16"]
"""In what matrices are multiplied during training. ``bfloat16`` lets a CPU round the factors of float32 products, which
processors with matrix units (AMX) do several times faster; sums, weights and moments stay float32."""


READING = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")
"""Maps that read the residual stream, after a normalisation; those of a block that has others start at random."""
_LEAST_SHARE = 1e-4
"""Share of the whole variance below which a direction is not made louder."""


@dataclass(frozen=True, slots=True)
class AdapterShape:
    """Sets size and place of a low-rank adapter (Hu et al. 2021, LoRA: h = W x + scale B A x)."""

    rank: int = 16
    alpha: float = 32.0
    """The scale is alpha / rank."""
    first_layer: int = 0
    """Every linear map of this block and of all later ones gets a pair of matrices."""
    seed: int = 0
    """Seed of the initial A; B starts at zero, so an untrained adapter changes nothing."""


def reading_rows(directions: Float32, gain: Float32, rank: int, turn: int, turns: int) -> Float32:
    """Return the initial A of a map that reads the residual stream.

    Principal directions of what it is to read, each as loud.

    Starting from the directions of the input's variance is what EVA does (Paischer et al. 2024, arXiv 2410.07170). Here
    the input's interesting part is known, the directions that are injected; and they are whitened, because a word is
    told from its neighbours by directions with little variance, which gradients through random projections find last.
    Blocks take the principal directions in turn, so that together they read more of them than the rank of one.

    Args:
        directions: (count, width) of any length, in the residual stream.
        gain: (width,) of the normalisation before the map.
        turn: number of the block, counted from the first that is adapted.
        turns: how many blocks there are.

    Returns:
        (rank, width). Rows beyond what there are directions for are zero.
    """
    unit = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
    seen = unit.astype(np.float64) * gain
    _, lengths, axes = np.linalg.svd(seen, full_matrices=False)
    spread = lengths**2 / len(seen)
    whitened = axes / np.sqrt(spread + _LEAST_SHARE * spread.sum())[:, None]
    chosen = whitened[turn::turns][:rank]
    rows = np.zeros((rank, directions.shape[1]), np.float32)
    # As loud under what is injected as the usual random start, whose entries have a variance of 1 / (3 inputs).
    rows[: len(chosen)] = chosen / np.sqrt(3 * directions.shape[1])
    return rows


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRow:
    """Holds one prompt with its injections, and the answer that the subject should learn to give."""

    prompt: Prompt
    answer: tuple[int, ...]
    """Token ids, the end token included."""
    weight: float = 1.0
    """How much each of its tokens counts in the loss."""

    @property
    def whole(self) -> Prompt:
        """Return the prompt and answer as one text. The last token is predicted and never read."""
        return Prompt((*self.prompt.tokens, *self.answer[:-1]), self.prompt.injections)


@dataclass(frozen=True, slots=True)
class StepReport:
    """Says what one step of training did."""

    loss: float
    """Mean cross-entropy of the answers' tokens, by their rows' weights, in nats, before the step."""
    gradient: float
    """L2 norm of the gradient before clipping."""
    injections: int
    """How many injections were measured in the forward passes, each as planned."""
    positions: int
    """How many token positions they touched."""


class AdapterTrainer(abc.ABC):
    """Trains one adapter inside a loaded model; as long as it is open, the model speaks with the adapter.

    ``close`` takes the adapter out again and leaves the model as it was, bit for bit.
    """

    def __init__(self, info: ModelInfo, shape: AdapterShape) -> None:
        """Check the shape; the adapter itself is made by the backend's class."""
        if not 0 <= shape.first_layer < info.layers:
            raise UsageError(f"layer {shape.first_layer} is out of range: {info.model} has {info.layers} layers")
        if shape.rank < 1:
            raise UsageError(f"the rank of an adapter is at least 1, got {shape.rank}")
        self.info = info
        self.shape = shape

    def step(self, groups: Sequence[Sequence[TrainingRow]], rate: float) -> StepReport:
        """Take one step of AdamW on all rows.

        Args:
            groups: rows that begin alike stand in one group: their common beginning is read once.
            rate: learning rate.

        Raises:
            UsageError: a row does not fit the model.
            InjectionError: what was injected is not what the rows ask for; the adapter is then unchanged.
        """
        rows = [row for group in groups for row in group]
        if not rows:
            raise UsageError("a step of training needs rows")
        for row in rows:
            if not row.answer:
                raise UsageError("an answer to learn has no tokens")
            if not row.weight > 0:
                raise UsageError(f"the weight of a row is above 0, got {row.weight}")
            check_prompt(row.prompt, self.info, len(row.answer))
        loss, proofs = self._backward(groups)
        for row, found in zip(rows, proofs, strict=True):
            whole = row.whole
            check_proofs(whole, len(whole.tokens), found)
        measured = [proof for found in proofs for proof in found]
        gradient = self._update(rate)
        return StepReport(loss, gradient, len(measured), sum(proof.positions for proof in measured))

    @abc.abstractmethod
    def begin_with(self, matrices: Mapping[str, tuple[Float32, Float32]]) -> None:
        """Take the matrices of another adapter, as ``matrices`` gives them, in the place of the first ones.

        Raises:
            UsageError: they are of another shape.
        """

    @abc.abstractmethod
    def state(self) -> dict[str, Float32]:
        """Return the matrices and the optimiser's moments by name.

        Everything the next step depends on but the count of steps.
        """

    @abc.abstractmethod
    def restore(self, state: Mapping[str, Float32], steps: int) -> None:
        """Go on from a state after so many steps.

        Raises:
            UsageError: the state is of another adapter.
        """

    @abc.abstractmethod
    def matrices(self) -> dict[str, tuple[Float32, Float32]]:
        """Return the module path -> A of shape (rank, inputs) and B of shape (outputs, rank)."""

    @abc.abstractmethod
    def close(self) -> None:
        """Take the adapter out. Closing twice is harmless."""

    @abc.abstractmethod
    def _backward(self, groups: Sequence[Sequence[TrainingRow]]) -> tuple[float, list[tuple[Proof, ...]]]:
        """Compute the weighted mean loss over all tokens and its gradient; the proofs of every row, in order."""

    @abc.abstractmethod
    def _update(self, rate: float) -> float:
        """Apply the gradient and forget it; returns its norm."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def common_beginning(group: Sequence[TrainingRow]) -> int:
    """Count the tokens all rows of a group begin with, before the first injection and the first answer token."""
    prompts = [row.prompt for row in group]
    shared = shared_prefix(prompts)
    return min(usable(prompt, shared) for prompt in prompts)
