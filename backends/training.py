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
from numpy.typing import NDArray

from .checks import check_prompt, check_proofs
from .errors import UsageError
from .prefix import shared_prefix, usable
from .values import Float32, ModelInfo, Prompt, Proof

Products = Literal["float32", "bfloat16"]
"""In what matrices are multiplied during training. ``bfloat16`` lets a CPU round the factors of float32 products, which
processors with matrix units (AMX) do several times faster; sums, weights and moments stay float32."""

Matrices = Mapping[str, tuple[Float32, Float32]]
"""Module path -> A of shape (rank, inputs) and B of shape (outputs, rank)."""

BETAS = (0.9, 0.98)
"""Decay of AdamW's two moments (Loshchilov and Hutter 2019); nothing decays the weights."""
LARGEST_GRADIENT = 1.0
"""L2 norm to which a longer gradient is cut."""


@dataclass(frozen=True, slots=True)
class AdapterShape:
    """Sets size and place of a low-rank adapter (Hu et al. 2021, LoRA: h = W x + scale B A x)."""

    rank: int = 16
    alpha: float = 32.0
    """The scale is alpha / rank."""
    first_layer: int = 0
    """Every linear map of this block and of all later ones gets a pair of matrices."""
    reads_from: int | None = None
    """First block in which maps begin by reading given directions; ``None`` for ``first_layer``."""
    seed: int = 0
    """Seed of the initial A; B starts at zero, so an untrained adapter changes nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRow:
    """Holds one prompt with its injections, and the answer that the subject should learn to give."""

    prompt: Prompt
    answer: tuple[int, ...]
    """Token ids, the end token included."""
    decision: float = 1.0
    """How much the first token of the answer, which decides between yes and no, counts in the loss; others count 1."""

    @property
    def weights(self) -> tuple[float, ...]:
        """Return how much each token of the answer counts."""
        return (self.decision, *(1.0 for _ in self.answer[1:]))

    @property
    def whole(self) -> Prompt:
        """Return the prompt and answer as one text. The last token is predicted and never read."""
        return Prompt((*self.prompt.tokens, *self.answer[:-1]), self.prompt.injections)


@dataclass(frozen=True, slots=True)
class StepReport:
    """Says what one step of training did."""

    loss: float
    """Mean cross-entropy of the answers' tokens, by their weights, in nats, before the step."""
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
            if not row.decision > 0:
                raise UsageError(f"the weight of an answer's first token is above 0, got {row.decision}")
            check_prompt(row.prompt, self.info, len(row.answer))
        loss, proofs = self._backward(groups)
        for row, found in zip(rows, proofs, strict=True):
            whole = row.whole
            check_proofs(whole, len(whole.tokens), found)
        measured = [proof for found in proofs for proof in found]
        gradient = self._update(rate)
        return StepReport(loss, gradient, len(measured), sum(proof.positions for proof in measured))

    def begin_with(self, matrices: Matrices) -> None:
        """Take the matrices of another adapter, as ``matrices`` gives them, in the place of the first ones.

        Where they have a lower rank, the further rows of A stay as they are, and their columns of B at zero; maps that
        they do not have stay as they are.

        Raises:
            UsageError: they have a higher rank, or lie in other layers.
        """
        own = self.matrices()
        if not set(matrices) <= set(own) or not all(_fits(given, own[path]) for path, given in matrices.items()):
            raise UsageError("the adapter to start from has a higher rank, or lies in other layers")
        whole = dict(own)
        for path, (down, up) in matrices.items():
            below, beside = own[path]
            whole[path] = (
                np.concatenate([down, below[len(down) :]]),
                np.concatenate([up, beside[:, len(down) :]], axis=1),
            )
        self._take(whole)

    def restore(self, state: Mapping[str, Float32], steps: int) -> None:
        """Go on from a state after so many steps.

        Raises:
            UsageError: the state is of another adapter.
        """
        held = {name: value.shape for name, value in state.items() if "/" not in name}
        if held != {name: value.shape for name, value in self.state().items() if "/" not in name}:
            raise UsageError("the checkpoint is of an adapter of another shape: train into another folder")
        self._resume(state, steps)

    @abc.abstractmethod
    def state(self) -> dict[str, Float32]:
        """Return the matrices by name and the optimiser's moments as ``name/moment``.

        Everything the next step depends on but the count of steps.
        """

    @abc.abstractmethod
    def matrices(self) -> Matrices: ...

    @abc.abstractmethod
    def close(self) -> None:
        """Take the adapter out. Closing twice is harmless."""

    @abc.abstractmethod
    def _take(self, matrices: Matrices) -> None:
        """Set the matrices, which fit."""

    @abc.abstractmethod
    def _resume(self, state: Mapping[str, Float32], steps: int) -> None:
        """Set matrices, moments and count, which fit."""

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


def _fits(given: tuple[Float32, Float32], own: tuple[Float32, Float32]) -> bool:
    """Tell whether a pair of matrices is of the same map as another and of at most its rank."""
    (down, up), (below, beside) = given, own
    return len(down) <= len(below) and down.shape[1:] == below.shape[1:] and up.shape == (len(beside), len(down))


@dataclass(frozen=True, slots=True)
class AskedTokens:
    """Says where the answers of a group stand among what the model has read, one entry per token to learn."""

    rows: list[int]
    columns: list[int]
    """Where the token is predicted, counted from the first column that was read after the common beginning."""
    tokens: list[int]
    weights: list[float]


def asked_tokens(group: Sequence[TrainingRow], first: int) -> AskedTokens:
    """Return the tokens to learn of a group.

    Args:
        first: how many tokens of every row were read before.
    """
    asked = AskedTokens([], [], [], [])
    for number, row in enumerate(group):
        start = len(row.prompt.tokens) - 1 - first
        asked.rows.extend([number] * len(row.answer))
        asked.columns.extend(range(start, start + len(row.answer)))
        asked.tokens.extend(row.answer)
        asked.weights.extend(row.weights)
    return asked


def table(group: Sequence[TrainingRow], first: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the tokens of a group from column ``first`` on, padded on the right, and their positions, -1 for padding.

    Both have a row per training row.
    """
    texts = [row.whole.tokens for row in group]
    columns = np.arange(first, max(map(len, texts)), dtype=np.int32)
    tokens = np.zeros((len(texts), len(columns)), np.int64)
    for number, text in enumerate(texts):
        tokens[number, : len(text) - first] = text[first:]
    return tokens, np.where(columns < np.array([len(text) for text in texts])[:, None], columns, np.int32(-1))


def common_beginning(group: Sequence[TrainingRow]) -> int:
    """Count the tokens all rows of a group begin with, before the first injection and the first answer token."""
    prompts = [row.prompt for row in group]
    shared = shared_prefix(prompts)
    return min(usable(prompt, shared) for prompt in prompts)
