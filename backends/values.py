"""What goes into a backend and what comes out of it: plain values, checked elsewhere and executed elsewhere.

The conventions they follow (layers, positions, windows, dtypes) are stated in ``backends.base``, which offers all of
these names.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .errors import UsageError
from .thinking.marks import ThinkingMarks, ThinkingMode

DialogueFormat = Literal["chat", "plain"]
"""``chat``: by the model's template. ``plain``: "Human:" and "Assistant:", as base models get it."""

Site = Literal["resid_post", "attn_out", "mlp_out", "head_out"]
Operation = Literal["add", "ablate", "replace"]
ReplyPart = Literal["reply", "thought", "answer"]
"""What a window that goes on through generated tokens covers of a reply that begins with a thought."""
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Message = dict[str, str]
"""``{"role": "system" | "user" | "assistant", "content": ...}``"""

SITES: tuple[Site, ...] = ("resid_post", "attn_out", "mlp_out", "head_out")
OPERATIONS: tuple[Operation, ...] = ("add", "ablate", "replace")


@dataclass(frozen=True, slots=True, eq=False)
class Injection:
    """Asks for one intervention on the residual stream of one row."""

    layer: int
    """Block index, from 0."""
    vector: Float32
    """Shape (size,), float32, already scaled: ``add`` adds exactly this. The size is ``ModelInfo.size_of`` the site and
    head. Shape (positions, size) gives every position of the window a vector of its own; such a window ends with the
    prompt or before."""
    start: int
    """First absolute position touched."""
    stop: int | None = None
    """One past the last position touched; ``None`` goes on through every generated token."""
    site: Site = "resid_post"
    operation: Operation = "add"
    """``add`` the vector; ``ablate`` projects its direction out (its length does not matter); ``replace`` puts it in
    the activation's place (activation patching)."""
    head: int | None = None
    """Attention head, from 0, that is touched at the site ``head_out``; all of them when ``None``."""
    part: ReplyPart = "reply"
    """Where a reply begins with a thought: ``thought`` ends the window with it, before the closing mark; ``answer``
    begins the window with the closing mark, whose last token predicts the answer's first."""

    @property
    def columns(self) -> slice:
        """Return which columns of the activation are touched."""
        if self.head is None:
            return slice(None)
        size = self.vector.shape[-1]
        return slice(self.head * size, (self.head + 1) * size)


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """Holds token ids, special tokens included, and what is injected while they are processed."""

    tokens: tuple[int, ...]
    injections: tuple[Injection, ...] = ()


@dataclass(frozen=True, slots=True)
class ThoughtLimit:
    """Says how a thought before an answer is bounded."""

    max_tokens: int
    """Most tokens of the thought; then it is closed by force."""
    marks: ThinkingMarks
    """How the model's template writes a thought."""
    prefill: str = ""
    """Text that is put in the model's mouth after the thought."""


@dataclass(frozen=True, slots=True)
class Thought:
    """Says what a model thought before it answered."""

    text: str
    """Visible text between the marks."""
    tokens: tuple[int, ...]
    closing: tuple[int, ...]
    """Tokens between thought and answer: the closing mark, headers, and a prefill."""
    closed: Literal["itself", "budget", "turn"]
    """What ended it: the model's own mark; its budget, so that it was closed by force; or the end of the model's turn,
    which left it without an answer, so that it was closed by force, too."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Says how one row is continued. Two rows with equal prompt and sampling get the same text in any batch."""

    max_tokens: int = 100
    temperature: float = 0.0
    """Temperature; 0 is greedy."""
    top_p: float = 1.0
    seed: int = 0
    """Key of this row's own random numbers; see ``backends.sampling``."""
    stop: tuple[str, ...] = ()
    """Strings that end the reply, beside the model's end tokens. The reply's text is cut before them."""
    ends: tuple[int, ...] = ()
    """Tokens that end the reply, beside the model's own."""
    thought: ThoughtLimit | None = None
    """Limit of the thought, where the prompt ends with an opened one; ``max_tokens`` are the answer's alone."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    prompt: Prompt
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True, slots=True)
class Proof:
    """Says what one injection did, measured inside the forward pass."""

    layer: int
    site: Site
    operation: Operation
    positions: int
    """How many positions were touched."""
    first: int | None
    """First position touched; ``None`` when none was."""
    last: int | None
    change: float
    """Mean over touched positions of ||after - before||, in the stream's own units."""
    relative_change: float
    """Mean over touched positions of ||after - before|| / ||before||."""


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """Tells of a token as it is generated, for streaming displays."""

    index: int
    """Index of the request in the list that was passed."""
    token: int
    text: str
    """Text that this token adds to the visible reply (empty inside an unfinished character)."""


@dataclass(frozen=True, slots=True)
class Completion:
    index: int
    """Index of the request in the list that was passed."""
    tokens: tuple[int, ...]
    """Generated ids without the end token."""
    text: str
    finish: Literal["stop", "length"]
    forwarded: int
    """How many positions went through the model: prompt and every generated token that was fed back."""
    proofs: tuple[Proof, ...] = ()
    """One per injection of the prompt, in its order."""
    ended_by: int | None = None
    """The token that ended the reply; ``None`` where a stop string or its length did."""
    thought: Thought | None = None
    """Thought that was written before; ``tokens`` and ``text`` are the answer's alone."""


@dataclass(frozen=True, slots=True, eq=False)
class ProvenScore:
    """Says what was scored after one prompt, and what was injected meanwhile."""

    logprobs: list[Float32]
    """Natural log-probability of each token, float32 (tokens,), for every continuation."""
    proofs: tuple[Proof, ...]
    """One per injection of the prompt, in its order, while the longest continuation was read."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """Holds a dialogue as the model reads it."""

    text: str
    tokens: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]
    """Place of every token in ``text``, ``[start, stop)`` in characters."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Says what is loaded, recorded with every run."""

    model: str
    """Name that the user asked for, e.g. ``smollm2`` or ``Qwen/Qwen2.5-7B-Instruct``."""
    revision: str
    """Commit of a hub model, content hash of a local folder, version of the embedded one."""
    backend: str
    device: str
    dtype: str
    """``float32``, ``bfloat16`` or ``float16``: the dtype of the residual stream."""
    quantization: str
    """``none`` or e.g. ``4-bit (group 64)``."""
    architecture: str
    """``model_type`` of the configuration, e.g. ``qwen2``."""
    layers: int
    width: int
    vocabulary: int
    context: int
    weight_bytes: int
    chat_template: bool
    """False for base models, which get a plain dialogue format."""
    template_hash: str
    adapter: str = ""
    """Low-rank adapter that the user asked for; empty without one."""
    adapter_revision: str = ""
    """``sha256:...`` over the adapter's configuration and weights."""
    heads: int = 0
    """Attention heads of a block; 0 where the site ``head_out`` cannot be reached."""
    head_width: int = 0
    """Columns of one head at the site ``head_out``."""
    parameters: int = 0
    """Numbers in the model's weights, however they are packed, without an adapter's; 0 where it is not known."""

    def size_of(self, site: Site, head: int | None = None) -> int:
        """Return the columns of the activation at a site, or of one head of it."""
        if site != "head_out":
            return self.width
        return self.head_width if head is not None else self.heads * self.head_width

    def layer(self, where: int | float) -> int:
        """Resolve an index, or a depth fraction in [0, 1) given as a float, to a block index.

        Raises:
            UsageError: outside the model.
        """
        if isinstance(where, float) and not where.is_integer():
            if not 0.0 < where < 1.0:
                raise UsageError(
                    f"layer {where}: a depth fraction lies between 0 and 1, an index is a whole number",
                    setting="layers",
                )
            return min(self.layers - 1, math.floor(where * self.layers + 0.5))
        index = int(where)
        if not 0 <= index < self.layers:
            raise UsageError(
                f"layer {index} is out of range: {self.model} has layers 0 to {self.layers - 1}", setting="layers"
            )
        return index


class Tokenizer(Protocol):
    """Turns text to ids and back, with the model's chat template."""

    end_tokens: frozenset[int]
    """Ids that end a reply."""
    stop_strings: tuple[str, ...]
    """Texts that end a reply of a model without a chat template, which would go on and play both sides."""

    @property
    def thinking(self) -> ThinkingMarks | None:
        """Return how the template writes a thought; ``None`` for models that do not think before they answer."""
        ...

    def render(self, messages: Sequence[Message], prefill: str = "", thinking: ThinkingMode = "off") -> Rendered:
        """Return the dialogue up to where the assistant speaks next; ``prefill`` is put in its mouth.

        Special tokens the template writes are not added a second time.

        Args:
            thinking: ``off`` asks the model not to think, where its template can; ``on`` ends with the opened block of
                thought, to which ``prefill`` is not added, being part of the answer; ``empty`` closes that block at
                once.
        """
        ...

    def encode(self, text: str) -> Rendered:
        """Turn plain text into ids, without template and special tokens."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the visible text, special tokens left out."""
        ...

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        """Return each token as text, special ones included, for token strips."""
        ...


@runtime_checkable
class DatedTokenizer(Protocol):
    """Is a tokenizer whose chat template may write the day into prompts."""

    date: datetime.date | None
    """The day it writes; ``None`` for templates that write none."""

    @property
    def template_hash(self) -> str:
        """Return the digest of everything that prompts depend on beside what is said."""
        ...

    def set_date(self, date: datetime.date) -> None:
        """Write another day; without effect where none is written."""
        ...


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Counts bytes on the device that holds the model."""

    used: int
    free: int
    peak: int


OnToken = Callable[[TokenEvent], None]
