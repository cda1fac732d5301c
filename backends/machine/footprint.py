"""What a batch takes in memory, predicted from a model's configuration, and how many rows fit.

The prediction follows what the backends do: a row has keys and values of its own for its whole prompt and reply (a
shared prefix is computed once but copied to every row), in as many columns as the backend's cache allocates for them;
logits over the vocabulary with what sampling makes of them; and, while prompts are read, activations of the columns
that are not shared. It is the peak when every reply has full length. ``benchmarks/memory.py`` holds it against what
processes take.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import memory

MOST_ROWS = 128
"""Beyond this a batch gains little, its first reply is long in coming, and an interruption costs more."""
TYPICAL_PROMPT, TYPICAL_REPLY = 384, 128
"""Tokens, where nothing is known of what will run."""

_MARGIN = 0.7
"""Share of the free memory a batch may be predicted to take. The rest is for rows that are read while others run, and
for what the prediction does not know."""
_ROOM = 64
"""Columns that PyTorch's caches have beyond what is read (``pytorch.past``)."""
_STEP = 256
"""Columns that mlx-lm's caches grow by."""
_SAMPLING_BYTES = 24
"""Per row and token of the vocabulary: float32 logits, their scaled copy, float64 weights and cumulative weights."""
_CHUNK = 2048
"""Prompt columns of a forward pass."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Holds the sizes of a model that memory follows from."""

    weights: int
    """Bytes, as run."""
    cached: int
    """Bytes of keys and values per position."""
    width: int
    inner: int
    """Width inside the MLP."""
    vocabulary: int
    item: int
    """Bytes per number of the residual stream."""
    backend: memory.ArrayLibrary = "torch"
    """Whose caches and loop they are."""
    recorded: bool = False
    """Whether decoding steps are recorded as CUDA graphs, which keep working memory of their own."""

    @classmethod
    def of(
        cls,
        config: Mapping[str, Any],
        weight_bytes: int,
        *,
        dtype: str | None = None,
        quantize: str | None = None,
        kv_bits: int | None = None,
        backend: memory.ArrayLibrary = "torch",
    ) -> Shape | None:
        """Read the sizes from config.json; ``None`` when it does not say.

        Args:
            weight_bytes: size of the weight files.
            dtype: what the model is run in; as stored when ``None``.
            quantize: e.g. ``4bit``, while loading.
            kv_bits: of quantised keys and values.
        """
        settings, _, item = memory.settings_of(config, dtype)
        # A group of 64 has a scale and a bias.
        cached = memory.cache_bytes(settings, kv_bits / 8 + 2 * item / 64 if kv_bits else item)
        try:
            width, vocabulary = int(settings["hidden_size"]), int(settings["vocab_size"])
            inner = int(settings.get("intermediate_size") or 4 * width)
        except (KeyError, TypeError, ValueError, OverflowError):
            return None
        weights = memory.loaded_bytes(weight_bytes, config, dtype=dtype, quantize=quantize, backend=backend)
        return cls(weights, cached, width, inner, vocabulary, item, backend) if cached else None


@dataclass(frozen=True, slots=True)
class Footprint:
    """Holds predicted bytes at the peak, by cause."""

    weights: int
    cache: int
    logits: int
    """Bytes of the next token's logits and of the work space of sampling."""
    activations: int
    """While prompts are read."""
    recorded: int = 0
    """The pool that recorded decoding steps work in."""
    ahead: bool = False
    """Whether the model computes while the last logits are sampled from."""

    @property
    def work(self) -> int:
        """Return the bytes beside the weights.

        Unless a backend computes ahead, prompts are read before anything is sampled, so only the larger of the two
        counts.
        """
        moment = self.logits + self.activations if self.ahead else max(self.logits, self.activations)
        return self.cache + moment + self.recorded

    @property
    def total(self) -> int:
        return self.weights + self.work

    def as_dict(self) -> dict[str, int]:
        """Return what JSON takes: bytes by cause, and the total."""
        causes = {name: getattr(self, name) for name in ("weights", "cache", "logits", "activations", "recorded")}
        return {**causes, "total": self.total}


def predict(shape: Shape, *, rows: int, prompt_tokens: int, new_tokens: int, shared_prefix: int = 0) -> Footprint:
    """Return what ``rows`` rows take together.

    Args:
        prompt_tokens: of the longest prompt.
        new_tokens: of the longest reply.
        shared_prefix: leading tokens that are read once for all rows.
    """
    mlx = shape.backend == "mlx"
    columns = (_mlx_columns if mlx else _torch_columns)(prompt_tokens, new_tokens, shared_prefix)
    read = rows * min(_CHUNK, max(1, prompt_tokens - shared_prefix))
    # Per token: the stream and its norm in the model's dtype, the injection's float32 copies of it, and the MLP's two
    # branches with their product.
    per_token = shape.width * (3 * shape.item + 3 * 4) + 3 * shape.inner * shape.item
    return Footprint(
        weights=shape.weights,
        cache=rows * columns * shape.cached,
        logits=rows * shape.vocabulary * _SAMPLING_BYTES,
        activations=read * per_token,
        # A step of one token per row: its activations, its logits in the model's dtype and in float32.
        recorded=rows * (per_token + shape.vocabulary * (shape.item + 4)) if shape.recorded else 0,
        ahead=mlx,
    )


def _torch_columns(prompt: int, new: int, shared: int) -> int:
    """A prompt's, and room for the reply that is made a piece at a time."""
    return prompt + _ROOM * max(1, -(-(new - 1) // _ROOM))


def _mlx_columns(prompt: int, new: int, shared: int) -> int:
    """Whole steps for the prefix, which its copies have too; more of them for what does not fit."""
    held = -(-shared // _STEP) * _STEP
    if prompt > held:
        held = shared + -(-(prompt - shared) // _STEP) * _STEP
    return held + _STEP * max(0, -(-(prompt + new - 1 - held) // _STEP))


def rows_that_fit(
    shape: Shape | None,
    free: int,
    *,
    prompt_tokens: int = TYPICAL_PROMPT,
    new_tokens: int = TYPICAL_REPLY,
    shared_prefix: int = 0,
) -> int:
    """Return how many rows may run together: a power of two up to ``MOST_ROWS``.

    Powers of two, so that a little more or less free memory gives the same batches and a study the same texts.

    Args:
        shape: 16 rows when it is not known.
        free: bytes, once the weights are loaded.
    """
    if shape is None:
        return 16
    rows = MOST_ROWS
    while rows > 1:
        needed = predict(
            shape, rows=rows, prompt_tokens=prompt_tokens, new_tokens=new_tokens, shared_prefix=shared_prefix
        )
        if needed.work <= _MARGIN * free:
            break
        rows //= 2
    return rows
