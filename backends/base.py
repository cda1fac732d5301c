"""The backend contract: how to run a model and touch its residual stream.

Conventions, stated once for the whole project:

* Layers are 0-based. The site ``resid_post`` at layer ``L`` is the output of block ``L``, which Hugging Face calls
  ``hidden_states[L + 1]``; it is never the entry after the final norm. ``attn_out`` and ``mlp_out`` are what the
  attention and the MLP of block ``L`` add to the residual stream (after the block's own post-norm, where it has one).
* A position is the absolute index of a token in its own sequence: the prompt is ``0 .. P-1`` and the k-th generated
  token is ``P + k``, whatever padding, batching, chunking or caching happens underneath.
* A window is half open, ``[start, stop)``; ``stop=None`` means "through every generated token".
* Only NumPy float32 crosses this boundary. Arithmetic on the stream is done in float32 and cast back to its dtype.
* An injection is a value inside a request. Nothing stays patched: a model is the same, bit for bit, after a call
  returns, raises, or is abandoned half way.

This layer knows nothing of concepts, trials or experiments.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from backends.errors import InjectionError, UsageError

Site = Literal["resid_post", "attn_out", "mlp_out"]
Operation = Literal["add", "ablate", "replace"]
Float32 = NDArray[np.float32]
Message = dict[str, str]
"""``{"role": "system" | "user" | "assistant", "content": ...}``"""

SITES: tuple[Site, ...] = ("resid_post", "attn_out", "mlp_out")
OPERATIONS: tuple[Operation, ...] = ("add", "ablate", "replace")


@dataclass(frozen=True, slots=True, eq=False)
class Injection:
    """One intervention on the residual stream of one row."""

    layer: int
    """0-based block index."""
    vector: Float32
    """Shape (width,), float32, already scaled: ``add`` adds exactly this."""
    start: int
    """First absolute position touched."""
    stop: int | None = None
    """One past the last position touched; ``None`` goes on through every generated token."""
    site: Site = "resid_post"
    operation: Operation = "add"
    """``add`` the vector; ``ablate`` projects its direction out (its length does not matter); ``replace`` puts it in
    the activation's place (activation patching)."""


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """Token ids, special tokens included, and what is injected while they are processed."""

    tokens: tuple[int, ...]
    injections: tuple[Injection, ...] = ()


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one row is continued. Two rows with equal prompt and sampling get the same text in any batch."""

    max_tokens: int = 100
    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    seed: int = 0
    """Key of this row's own random numbers; see ``backends.sampling``."""
    stop: tuple[str, ...] = ()
    """Strings that end the reply, beside the model's end tokens. The reply's text is cut before them."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    prompt: Prompt
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True, slots=True)
class Proof:
    """What one injection did, measured inside the forward pass."""

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
    """A token as it is generated, for streaming displays."""

    index: int
    """Index of the request in the list that was passed."""
    token: int
    text: str
    """What this token adds to the visible reply (empty inside an unfinished character)."""


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


@dataclass(frozen=True, slots=True)
class Rendered:
    """A dialogue as the model reads it."""

    text: str
    tokens: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]
    """Per token, its ``[start, stop)`` in ``text``, in characters."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is loaded, recorded with every run."""

    model: str
    """What the user asked for, e.g. ``smollm2`` or ``Qwen/Qwen2.5-7B-Instruct``."""
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

    def layer(self, where: int | float) -> int:
        """Resolve an index, or a depth fraction in [0, 1) given as a float, to a block index.

        Raises:
            UsageError: outside the model.
        """
        if isinstance(where, float) and not where.is_integer():
            if not 0.0 < where < 1.0:
                raise UsageError(f"layer {where}: a depth fraction lies between 0 and 1, an index is a whole number")
            return min(self.layers - 1, math.floor(where * self.layers + 0.5))
        index = int(where)
        if not 0 <= index < self.layers:
            raise UsageError(f"layer {index} is out of range: {self.model} has layers 0 to {self.layers - 1}")
        return index


class Tokenizer(Protocol):
    """Text to ids and back, with the model's chat template."""

    end_tokens: frozenset[int]
    """Ids that end a reply."""
    stop_strings: tuple[str, ...]
    """Texts that end a reply of a model without a chat template, which would go on and play both sides."""

    def render(self, messages: Sequence[Message], prefill: str = "") -> Rendered:
        """The dialogue up to where the assistant speaks next; ``prefill`` is put in its mouth.

        Special tokens the template writes are not added a second time.
        """
        ...

    def encode(self, text: str) -> Rendered:
        """Plain text, no template and no special tokens."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """Visible text, special tokens left out."""
        ...

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        """Each token as text, special ones included, for token strips."""
        ...


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Bytes on the device that holds the model."""

    used: int
    free: int
    peak: int


OnToken = Callable[[TokenEvent], None]


class Backend(abc.ABC):
    """A loaded model. Use as a context manager, or call ``close``.

    Subclasses implement the underscored methods; what is checked for all of them is checked here, once: requests on
    the way in, proofs on the way out.
    """

    info: ModelInfo
    tokenizer: Tokenizer

    def generate(self, requests: Sequence[Request], on_token: OnToken | None = None) -> Iterator[Completion]:
        """Continue every prompt; yields completions as rows finish, in any order.

        Raises:
            UsageError: a request does not fit the model.
            InjectionError: what was injected is not what was asked for.
        """
        for request in requests:
            self._check(request.prompt, request.sampling.max_tokens)
            check_sampling(request.sampling)
        for completion in self._generate(requests, on_token):
            check_proofs(requests[completion.index].prompt, completion.forwarded, completion.proofs)
            yield completion

    def capture(
        self,
        prompts: Sequence[Prompt],
        *,
        layers: Sequence[int] | None = None,
        sites: Sequence[Site] = ("resid_post",),
        positions: Sequence[int] | None = None,
    ) -> list[dict[Site, Float32]]:
        """Activations, after any injection at the same place.

        Args:
            prompts: one forward pass each (batched inside).
            layers: block indices, all when ``None``.
            sites: which activations.
            positions: token positions, negative ones counted from the end; all when ``None``.

        Returns:
            Per prompt, site -> float32 array of shape (layers, positions, width).
        """
        chosen = tuple(range(self.info.layers)) if layers is None else tuple(self.info.layer(i) for i in layers)
        where = []
        for prompt in prompts:
            self._check(prompt, 0)
            n = len(prompt.tokens)
            wanted = range(n) if positions is None else positions
            if any(not -n <= p < n for p in wanted):
                raise UsageError(f"positions {list(wanted)} reach outside a prompt of {n} tokens")
            where.append(tuple(p % n for p in wanted))
        results: list[dict[Site, Float32]] = [{} for _ in prompts]
        for index, captured, proofs in self._capture(prompts, chosen, tuple(sites), where):
            check_proofs(prompts[index], len(prompts[index].tokens), proofs)
            results[index] = captured
        return results

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[Sequence[int]]]) -> list[list[Float32]]:
        """Log-probabilities of given continuations.

        Args:
            prompts: what comes before. Windows with ``stop=None`` reach over the continuation.
            continuations: per prompt, the token sequences to score (none empty).

        Returns:
            Per prompt and continuation, float32 (tokens,): natural log-probability of each token.
        """
        if len(prompts) != len(continuations):
            raise UsageError(f"{len(prompts)} prompts but {len(continuations)} lists of continuations")
        results: list[list[Float32]] = [[np.empty(0, np.float32)] * len(c) for c in continuations]
        for prompt, options in zip(prompts, continuations, strict=True):
            if any(len(option) == 0 for option in options):
                raise UsageError("a continuation to score has no tokens")
            self._check(prompt, max((len(option) for option in options), default=0))
        for index, option, logprobs, proofs in self._score(prompts, continuations):
            # The last token of a continuation is predicted, never read, so the model sees one position fewer.
            check_proofs(prompts[index], len(prompts[index].tokens) + len(logprobs) - 1, proofs)
            results[index][option] = logprobs
        return results

    @abc.abstractmethod
    def lens(self, residuals: Float32, tokens: Sequence[int] | None = None) -> Float32:
        """Logit lens: final norm and unembedding applied to captured ``resid_post`` activations.

        Args:
            residuals: float32 (..., width).
            tokens: vocabulary ids to keep; the whole vocabulary when ``None``.

        Returns:
            float32 (..., len(tokens)): log-probabilities, normalised over the whole vocabulary.

        Source: nostalgebraist 2020, "interpreting GPT: the logit lens".
        """

    @abc.abstractmethod
    def memory(self) -> MemoryUse: ...

    @abc.abstractmethod
    def close(self) -> None:
        """Free the weights. Closing twice is harmless."""

    @abc.abstractmethod
    def _generate(self, requests: Sequence[Request], on_token: OnToken | None) -> Iterator[Completion]: ...

    @abc.abstractmethod
    def _capture(
        self,
        prompts: Sequence[Prompt],
        layers: tuple[int, ...],
        sites: tuple[Site, ...],
        positions: Sequence[tuple[int, ...]],
    ) -> Iterator[tuple[int, dict[Site, Float32], tuple[Proof, ...]]]: ...

    @abc.abstractmethod
    def _score(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[Sequence[int]]]
    ) -> Iterator[tuple[int, int, Float32, tuple[Proof, ...]]]: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self, prompt: Prompt, extra: int) -> None:
        """Refuse what does not fit the model, before any work is done."""
        info = self.info
        n = len(prompt.tokens)
        if n == 0:
            raise UsageError("the prompt has no tokens")
        if n + extra > info.context:
            raise UsageError(f"{n} prompt tokens and {extra} new ones exceed {info.model}'s context of {info.context}")
        if not 0 <= min(prompt.tokens) <= max(prompt.tokens) < info.vocabulary:
            raise UsageError(f"a token id is outside the vocabulary of {info.vocabulary}")
        for injection in prompt.injections:
            check_injection(injection, info, n + extra)


def check_injection(injection: Injection, info: ModelInfo, length: int) -> None:
    """Refuse an injection that would do nothing, do harm, or not fit.

    Raises:
        UsageError: with the offending value.
    """
    info.layer(injection.layer)
    if injection.site not in SITES or injection.operation not in OPERATIONS:
        raise UsageError(
            f"no such site or operation: {injection.site}, {injection.operation} "
            f"(sites: {', '.join(SITES)}; operations: {', '.join(OPERATIONS)})"
        )
    vector: Any = injection.vector
    if not isinstance(vector, np.ndarray) or vector.dtype != np.float32 or vector.shape != (info.width,):
        shape = getattr(vector, "shape", None)
        raise UsageError(f"an injected vector must be float32 of shape ({info.width},), got {shape}")
    if not np.isfinite(vector).all():
        raise UsageError(f"the vector for layer {injection.layer} holds NaN or infinity: check its strength")
    if injection.operation == "ablate" and not np.any(vector):
        raise UsageError("a zero vector has no direction to ablate")
    if injection.start < 0 or (injection.stop is not None and injection.stop <= injection.start):
        raise UsageError(f"the window [{injection.start}, {injection.stop}) is empty or negative")
    if injection.start >= max(length, 1):
        raise UsageError(f"the window starts at position {injection.start}, past the last of {length}")


def check_sampling(sampling: Sampling) -> None:
    """Refuse settings that no sampler can follow.

    Raises:
        UsageError: with the offending value.
    """
    if sampling.max_tokens < 1:
        raise UsageError(f"max_tokens must be at least 1, got {sampling.max_tokens}")
    if not (math.isfinite(sampling.temperature) and sampling.temperature >= 0):
        raise UsageError(f"temperature must be 0 or more, got {sampling.temperature}")
    if not 0 < sampling.top_p <= 1:
        raise UsageError(f"top_p must lie in (0, 1], got {sampling.top_p}")


def check_proofs(prompt: Prompt, forwarded: int, proofs: Sequence[Proof]) -> None:
    """Compare what was touched with what the windows demand of ``forwarded`` positions.

    A silently missing injection is the commonest bug of the field; here it is an error, never a zero-percent result.

    Raises:
        InjectionError: naming the first difference.
    """
    if len(proofs) != len(prompt.injections):
        raise InjectionError(f"{len(prompt.injections)} injections planned, {len(proofs)} proven: report this as a bug")
    for injection, proof in zip(prompt.injections, proofs, strict=True):
        stop = forwarded if injection.stop is None else min(injection.stop, forwarded)
        count = max(0, stop - injection.start)
        expected = (injection.layer, injection.site, count, injection.start if count else None)
        last = stop - 1 if count else None
        if (proof.layer, proof.site, proof.positions, proof.first) != expected or proof.last != last:
            raise InjectionError(
                f"injection at layer {injection.layer} should touch {count} positions "
                f"({expected[3]} to {last}) but touched {proof.positions} ({proof.first} to {proof.last}): "
                "run `mlxintro check` on this model and report it as a bug"
            )
        effective = injection.operation == "add" and bool(np.any(injection.vector))
        if count and effective and not proof.change > 0:
            raise InjectionError(
                f"injection at layer {injection.layer} left the residual stream unchanged: "
                "the vector is below the resolution of the model's dtype; use a larger strength"
            )
