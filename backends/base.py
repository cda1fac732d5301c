"""The backend contract: how to run a model and touch its residual stream.

Conventions, stated once for the whole project:

* Layers are 0-based. The site ``resid_post`` at layer ``L`` is the output of block ``L``, which Hugging Face calls
  ``hidden_states[L + 1]``; it is never the entry after the final norm. ``attn_out`` and ``mlp_out`` are what the
  attention and the MLP of block ``L`` add to the residual stream (after the block's own post-norm, where it has one).
  ``head_out`` is what the attention's heads of block ``L`` hand to its output projection, one head after the other.
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
import dataclasses
import datetime
import gc
from collections.abc import Iterable, Iterator, Sequence, Set
from types import TracebackType
from typing import Self, TypeVar

import numpy as np

from .checks import check_continuations, check_prompt, check_proofs, check_sampling, check_sites
from .errors import OutOfMemory, UsageError
from .machine.footprint import Shape
from .machine.roofline import Roofline
from .site_checks import check_heads, check_sum
from .thinking.thoughts import thinking_first
from .training import AdapterShape, AdapterTrainer, Products
from .values import (
    OPERATIONS,
    SITES,
    Completion,
    DatedTokenizer,
    Float32,
    Float64,
    Injection,
    MemoryUse,
    Message,
    ModelInfo,
    OnToken,
    Operation,
    Prompt,
    Proof,
    ProvenScore,
    Rendered,
    ReplyPart,
    Request,
    Sampling,
    Site,
    Thought,
    ThoughtLimit,
    TokenEvent,
    Tokenizer,
)

__all__ = [
    "OPERATIONS",
    "SITES",
    "Backend",
    "Completion",
    "DatedTokenizer",
    "Float32",
    "Float64",
    "Injection",
    "MemoryUse",
    "Message",
    "ModelInfo",
    "OnToken",
    "Operation",
    "Prompt",
    "Proof",
    "ProvenScore",
    "Rendered",
    "ReplyPart",
    "Request",
    "Sampling",
    "Site",
    "Thought",
    "ThoughtLimit",
    "TokenEvent",
    "Tokenizer",
]

Continuations = Sequence[Sequence[Sequence[int]]]
_Result = TypeVar("_Result")


class Backend(abc.ABC):
    """Runs a loaded model. Use as a context manager, or call ``close``.

    Subclasses implement the underscored methods; what is checked for all of them is checked here, once: requests on
    the way in, proofs on the way out.
    """

    info: ModelInfo
    tokenizer: Tokenizer
    batch_size: int
    """Most rows that run together; longer lists of requests are worked off in batches of this size. May be set between
    calls."""
    batch_size_given: bool = False
    """Whether a person chose it, so that it is not fitted to the trials."""
    answers_as_it_reads: bool = True
    """Whether ``score`` of one token is an entry of ``next_token``, as in every real model."""
    _sites_checked: bool = False
    """Whether ``attn_out`` and ``mlp_out`` were found to be what the contract says."""
    _heads_checked: bool = False
    """Whether ``head_out`` was found to be all that ``attn_out`` depends on."""
    shape: Shape | None = None
    """Sizes from which its use of memory is predicted; ``None`` where they are not known."""

    def generate(self, requests: Sequence[Request], on_token: OnToken | None = None) -> Iterator[Completion]:
        """Continue every prompt; yields completions as rows finish, in any order.

        Rows whose sampling has a ``thought`` think first; see ``backends.thinking.thoughts``.

        Raises:
            UsageError: a request does not fit the model.
            InjectionError: what was injected is not what was asked for.
            OutOfMemory: ``batch_size`` rows are too many. It may be lowered, and the call made again.
        """
        for request in requests:
            check_sampling(request.sampling)
        requests, thoughts = thinking_first(self, requests, on_token)
        for request in requests:
            check_prompt(request.prompt, self.info, request.sampling.max_tokens)
        self._check_sites(_injected_sites(request.prompt for request in requests))
        for completion in self._guarded(self._generate(requests, on_token)):
            check_proofs(requests[completion.index].prompt, completion.forwarded, completion.proofs)
            yield dataclasses.replace(completion, thought=thoughts.get(completion.index)) if thoughts else completion

    def capture(
        self,
        prompts: Sequence[Prompt],
        *,
        layers: Sequence[int] | None = None,
        sites: Sequence[Site] = ("resid_post",),
        positions: Sequence[int] | None = None,
    ) -> list[dict[Site, Float32]]:
        """Return the activations, after any injection at the same place.

        Args:
            prompts: one forward pass each (batched inside).
            layers: block indices, all when ``None``.
            sites: which activations.
            positions: token positions, negative ones counted from the end; all when ``None``.

        Returns:
            Per prompt, site -> float32 array of shape (layers, positions, ``info.size_of(site)``).

        Raises:
            UsageError: positions or prompts that do not fit.
            OutOfMemory: as for ``generate``.
        """
        chosen = tuple(range(self.info.layers)) if layers is None else tuple(self.info.layer(i) for i in layers)
        check_sites(sites, self.info)
        where = []
        for prompt in prompts:
            check_prompt(prompt, self.info, 0)
            n = len(prompt.tokens)
            wanted = range(n) if positions is None else positions
            if any(not -n <= p < n for p in wanted):
                raise UsageError(f"positions {list(wanted)} reach outside a prompt of {n} tokens")
            where.append(tuple(p % n for p in wanted))
        self._check_sites(_injected_sites(prompts) | set(sites))
        results: list[dict[Site, Float32]] = [{} for _ in prompts]
        for index, captured, proofs in self._guarded(self._capture(prompts, chosen, tuple(sites), where)):
            check_proofs(prompts[index], len(prompts[index].tokens), proofs)
            results[index] = captured
        return results

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[Sequence[int]]]) -> list[list[Float32]]:
        """Return the natural log-probability of each token of given continuations.

        Per prompt and continuation, float32 (tokens,).

        Args:
            prompts: what comes before. Windows with ``stop=None`` reach over the continuation.
            continuations: per prompt, the token sequences to score (none empty).
        """
        return [one.logprobs for one in self.score_proven(prompts, continuations)]

    def score_proven(self, prompts: Sequence[Prompt], continuations: Continuations) -> list[ProvenScore]:
        """Score as ``score`` does, and hand out the proofs that were checked."""
        check_continuations(prompts, continuations, self.info)
        self._check_sites(_injected_sites(prompts))
        scored = [ProvenScore([np.empty(0, np.float32)] * len(options), ()) for options in continuations]
        longest = [0] * len(prompts)
        for index, option, logprobs, proofs in self._guarded(self._score(prompts, continuations)):
            # The last token of a continuation is predicted, never read, so the model sees one position fewer.
            check_proofs(prompts[index], len(prompts[index].tokens) + len(logprobs) - 1, proofs)
            scored[index].logprobs[option] = logprobs
            if len(logprobs) > longest[index]:
                longest[index], scored[index] = len(logprobs), ProvenScore(scored[index].logprobs, proofs)
        return scored

    def next_token(self, prompts: Sequence[Prompt]) -> Float32:
        """Return the log-probabilities of the whole vocabulary after each prompt, float32 (prompts, vocabulary).

        Args:
            prompts: what comes before; what they begin with in common is read once.

        Raises:
            UsageError: a prompt does not fit the model.
            InjectionError: what was injected is not what was asked for.
            OutOfMemory: as for ``generate``.
        """
        for prompt in prompts:
            check_prompt(prompt, self.info, 0)
        self._check_sites(_injected_sites(prompts))
        rows = np.empty((len(prompts), self.info.vocabulary), np.float32)
        for index, logprobs, proofs in self._guarded(self._next_token(prompts)):
            check_proofs(prompts[index], len(prompts[index].tokens), proofs)
            rows[index] = logprobs
        return rows

    def lens(self, residuals: Float32, tokens: Sequence[int] | None = None) -> Float32:
        """Return the logit lens: final norm and unembedding applied to captured ``resid_post`` activations.

        Args:
            residuals: float32 (..., width).
            tokens: vocabulary ids to keep; the whole vocabulary when ``None``.

        Returns:
            float32 (..., len(tokens)): log-probabilities, normalised over the whole vocabulary.

        Raises:
            UsageError: residuals of another width, or a token id outside the vocabulary.
            OutOfMemory: as for ``generate``.

        Source: nostalgebraist 2020, "interpreting GPT: the logit lens".
        """
        if residuals.shape[-1:] != (self.info.width,):
            raise UsageError(f"residuals must have {self.info.width} columns, got the shape {residuals.shape}")
        if tokens is not None and not all(0 <= token < self.info.vocabulary for token in tokens):
            raise UsageError(f"a token id is outside the vocabulary of {self.info.vocabulary}")
        kept = self.info.vocabulary if tokens is None else len(tokens)
        rows = np.ascontiguousarray(residuals.reshape(-1, self.info.width))
        parts = list(self._guarded(self._lens(rows, tokens)))
        logprobs: Float32 = np.concatenate([np.empty((0, kept), np.float32), *parts])
        return logprobs.reshape(*residuals.shape[:-1], kept)

    def set_date(self, date: datetime.date) -> None:
        """Let the chat template write another day into prompts; without effect where it writes none."""
        tokenizer = self.tokenizer
        if isinstance(tokenizer, DatedTokenizer):
            tokenizer.set_date(date)
            self.info = dataclasses.replace(self.info, template_hash=tokenizer.template_hash)

    @property
    def date(self) -> datetime.date | None:
        """Return the day that the chat template writes into prompts; ``None`` where it writes none."""
        return self.tokenizer.date if isinstance(self.tokenizer, DatedTokenizer) else None

    @abc.abstractmethod
    def memory(self) -> MemoryUse: ...

    def roofline(self) -> Roofline | None:
        """Measure what this machine can do at best with this model, in about a second.

        ``None`` where there is nothing to measure (a simulated subject) or the weights a token meets cannot be counted
        (mixtures of experts).
        """
        return None

    def trainer(
        self,
        shape: AdapterShape,
        *,
        products: Products = "float32",
        directions: Float32 | None = None,
        discriminants: Float32 | None = None,
    ) -> AdapterTrainer:
        """Put a new low-rank adapter into the model and train it; the model speaks with it until the trainer closes.

        Args:
            products: see ``training.Products``.
            directions: (count, width), what will be injected; maps that read the residual stream then begin by reading
                these, see ``training.reading_rows``.
            discriminants: (count, width), further directions that these maps begin by reading, in their last rows, half
                of them at most: what tells prompts apart in the normalised stream, whatever is injected.

        Raises:
            UsageError: this backend cannot train, or the shape does not fit the model.
            PrerequisiteError: a library is missing.
        """
        raise UsageError(f"the {self.info.backend} backend cannot train an adapter: use --backend torch")

    @abc.abstractmethod
    def close(self) -> None:
        """Free the weights. Closing twice is harmless."""

    def _exhausted(self, error: Exception) -> bool:
        """Whether an error of the library says that memory is used up."""
        return isinstance(error, MemoryError)

    def _release(self) -> None:  # noqa: B027  # nothing, where nothing is kept
        """Give back memory that the library keeps for later."""

    def _guarded(self, results: Iterator[_Result]) -> Iterator[_Result]:
        """Pass results on, and turn the library's error for exhausted memory into ``OutOfMemory``."""
        try:
            yield from results
            return
        except Exception as error:
            if not self._exhausted(error):
                raise
        # Raised outside the handler: there the error is gone, and with it the frames that held what filled the memory.
        raise self._freed()

    def _check_sites(self, sites: Set[Site]) -> None:
        """Before other sites than ``resid_post`` are used: do they mean what the contract says?

        Raises:
            ModelError: they do not.
        """
        if "head_out" in sites and not self._heads_checked:
            check_heads(self.info, self._activations)
            self._heads_checked = True
        if not (self._sites_checked or sites <= {"resid_post", "head_out"} or self.info.layers < 2):
            check_sum(self.info, self._activations)
            self._sites_checked = True

    def _activations(
        self, prompt: Prompt, layers: tuple[int, ...], sites: tuple[Site, ...], positions: tuple[int, ...]
    ) -> dict[Site, Float32]:
        """``capture`` of one prompt, without checks."""
        [(_, captured, _)] = self._guarded(self._capture([prompt], layers, sites, [positions]))
        return captured

    def _freed(self) -> OutOfMemory:
        gc.collect()
        self._release()
        return OutOfMemory(
            f"{self.info.device} has no memory left for {self.batch_size} rows at once: close other programs, or take "
            "fewer or shorter trials"
        )

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

    def _next_token(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Float32, tuple[Proof, ...]]]:
        """Log-probabilities by prompt; a backend that reads common beginnings once has a faster way."""
        ends = [(len(prompt.tokens) - 1,) for prompt in prompts]
        for index, found, proofs in self._capture(prompts, (self.info.layers - 1,), ("resid_post",), ends):
            for row in self._lens(found["resid_post"][0], None):
                yield index, row[0], proofs

    @abc.abstractmethod
    def _lens(self, rows: Float32, tokens: Sequence[int] | None) -> Iterator[Float32]:
        """Log-probabilities for residuals (rows, width), a few rows at a time and in their order."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _injected_sites(prompts: Iterable[Prompt]) -> set[Site]:
    return {injection.site for prompt in prompts for injection in prompt.injections}
