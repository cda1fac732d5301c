"""The PyTorch backend: CUDA, Apple GPUs and the CPU, through Hugging Face transformers.

It turns the contract of ``backends.base`` into batches; how a batch runs is the business of ``batch``, what happens
inside a forward pass that of ``hooks``, and where things lie in a model that of ``model``.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence

import numpy as np
import psutil
import torch

from .. import engine, scoring
from ..adapters.sources import AdapterSource
from ..base import (
    Backend,
    Completion,
    Float32,
    MemoryUse,
    ModelInfo,
    OnToken,
    Prompt,
    Proof,
    Request,
    Site,
    Tokenizer,
)
from ..errors import UsageError
from ..machine.roofline import Roofline
from ..models import measured
from ..models.foreign import loading
from ..models.sources import ModelSource
from ..models.tokenizer import ChatTokenizer
from ..scoring import Wanted, batched
from ..training import AdapterShape, AdapterTrainer, Products
from .batch import PromptReader, TorchBatch, TorchDecoder
from .devices import pick_device
from .graph import GraphDecoder, Graphs
from .hooks import Recorder
from .loading import DTYPES, load_model
from .model import Network
from .sampling import log_softmax
from .selftest import check_decoding, check_masks
from .yardsticks import roofline as torch_roofline

_RECORD_BYTES = 2**30
"""Activations held on the device at a time."""
_EXHAUSTED = ("DefaultCPUAllocator: can't allocate memory", "not enough memory", "out of memory")
_LOGIT_ROWS = 64
"""Positions unembedded at a time: a vocabulary is wide."""


def load(
    source: ModelSource,
    *,
    device: str | None = None,
    dtype: str | None = None,
    quantize: str | None = None,
    batch_size: int = 16,
    adapter: AdapterSource | None = None,
) -> TorchBackend:
    """Load a model from a local folder.

    Args:
        source: see ``backends.models.sources.resolve``.
        device: ``cuda``, ``cuda:N``, ``mps`` or ``cpu``; the best there is when ``None``.
        dtype: ``float32``, ``bfloat16`` or ``float16``; when ``None``, float32 on the CPU and bfloat16 elsewhere.
        quantize: ``4bit`` (CUDA with bitsandbytes), or ``None``.
        adapter: low-rank adapter to speak with; see ``backends.adapters``.

    Raises:
        UsageError: a setting that does not exist.
        PrerequisiteError: a device or library is missing.
        ModelError: the files cannot be loaded.
    """
    place = pick_device(device)
    kind = dtype or ("float32" if place == "cpu" else "bfloat16")
    if kind not in DTYPES:
        raise UsageError(f"no dtype {kind!r}: use {', '.join(DTYPES)}")
    tokenizer = ChatTokenizer.load(source.folder, source.dialogue)
    model = load_model(source, device=place, dtype=kind, quantize=quantize)
    parameters = int(model.num_parameters())
    if adapter is not None:
        from .adapter import apply

        model = apply(model, adapter)
    network = _proven(model, source)
    info = ModelInfo(
        model=source.name,
        revision=source.revision,
        backend="torch",
        device=place,
        dtype=kind,
        quantization="4-bit (nf4)" if quantize else source.quantization,
        architecture=str(source.config["model_type"]),
        layers=len(network.blocks),
        width=network.config.hidden_size,
        vocabulary=network.config.vocab_size,
        context=_context(network.config),
        weight_bytes=source.weight_bytes,
        chat_template=tokenizer.chat_template,
        template_hash=tokenizer.template_hash,
        adapter=adapter.name if adapter else "",
        adapter_revision=adapter.revision if adapter else "",
        heads=network.heads,
        head_width=network.head_width,
        parameters=parameters,
    )
    return TorchBackend(model, tokenizer, info, batch_size=batch_size)


def _proven(model: object, source: ModelSource) -> Network:
    """Find a model's parts, and hold what they compute against the model as a whole.

    Raises:
        ModelError: they are not found, or compute something else.
    """
    advice = measured.alternative(str(source.config["model_type"]), "torch")
    with loading(f"{source.name} was loaded but does not run", advice):
        network = Network.of(model)
        check_masks(network)
        network.verify()
        check_decoding(network)
    return network


class TorchBackend(Backend):
    """Runs a causal model of transformers behind the backend contract.

    Args:
        model: a transformers causal model, in eval mode, on its device.
        batch_size: rows that run together.
        prefill_chunk: prompt columns processed at a time.
        graphs: record decoding steps as CUDA graphs, where the model lies on one CUDA device.
    """

    def __init__(
        self,
        model: object,
        tokenizer: Tokenizer,
        info: ModelInfo,
        *,
        batch_size: int = 16,
        prefill_chunk: int = 2048,
        graphs: bool = True,
    ) -> None:
        self.tokenizer = tokenizer
        self.info = info
        self.batch_size = batch_size
        self.prefill_chunk = prefill_chunk
        self._network: Network | None = Network.of(model)
        self._graphs = Graphs.on(self._network) if graphs else None

    @property
    def network(self) -> Network:
        """Return the model's parts.

        Raises:
            UsageError: the backend is closed.
        """
        if self._network is None:
            raise UsageError(f"{self.info.model} has been closed: open it again")
        return self._network

    def _lens(self, rows: Float32, tokens: Sequence[int] | None) -> Iterator[Float32]:
        columns = None if tokens is None else torch.tensor(list(tokens), dtype=torch.long)
        for start in range(0, len(rows), _LOGIT_ROWS):
            yield self._looked_through(torch.from_numpy(rows[start : start + _LOGIT_ROWS]), columns)

    @torch.inference_mode()
    def _looked_through(self, rows: torch.Tensor, columns: torch.Tensor | None) -> Float32:
        home = self.network.anchor
        logits = self.network.logits(self.network.norm(rows.to(home.device, home.dtype)))
        logprobs = log_softmax(logits)
        found: Float32 = (logprobs if columns is None else logprobs[:, columns.to(logprobs.device)]).cpu().numpy()
        return found

    def memory(self) -> MemoryUse:
        kind = self.info.device.partition(":")[0]
        if kind == "cuda":
            return _cards_memory(sorted({str(part.device) for part in self.network.model.parameters()}))
        if kind == "mps":
            held = torch.mps.driver_allocated_memory()
            return MemoryUse(
                torch.mps.current_allocated_memory(), max(0, torch.mps.recommended_max_memory() - held), held
            )
        process = psutil.Process().memory_info()
        return MemoryUse(process.rss, psutil.virtual_memory().available, _peak(process.rss))

    def roofline(self) -> Roofline | None:
        return torch_roofline.measure(self.network, self.memory().free)

    def trainer(
        self,
        shape: AdapterShape,
        *,
        products: Products = "float32",
        directions: Float32 | None = None,
        discriminants: Float32 | None = None,
    ) -> AdapterTrainer:
        from .training import TorchTrainer

        return TorchTrainer(
            self.network, self.info, shape, products=products, directions=directions, discriminants=discriminants
        )

    def close(self) -> None:
        if self._network is None:
            return
        self._network = self._graphs = None
        gc.collect()
        self._release()

    def _exhausted(self, error: Exception) -> bool:
        # CUDA has a class for it; the CPU's and Apple's allocators raise what everything else raises.
        return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
            isinstance(error, RuntimeError) and any(sign in str(error) for sign in _EXHAUSTED)
        )

    def _release(self) -> None:
        if self._graphs is not None:
            self._graphs.forget()
        if self.info.device.startswith("cuda"):
            torch.cuda.empty_cache()
        elif self.info.device == "mps":
            torch.mps.empty_cache()

    def _generate(self, requests: Sequence[Request], on_token: OnToken | None) -> Iterator[Completion]:
        prompts = [request.prompt for request in requests]
        reader = self._reader(prompts)
        decoder = GraphDecoder(self.network, reader, prompts, self._graphs) if self._graphs else TorchDecoder(reader)
        return engine.run(requests, decoder, self.tokenizer, self.batch_size, on_token)

    def _capture(
        self,
        prompts: Sequence[Prompt],
        layers: tuple[int, ...],
        sites: tuple[Site, ...],
        positions: Sequence[tuple[int, ...]],
    ) -> Iterator[tuple[int, dict[Site, Float32], tuple[Proof, ...]]]:
        places = tuple(dict.fromkeys((layer, site) for site in sites for layer in layers))
        network = self.network
        columns = sum(self.info.size_of(site) for _, site in places)
        per_row = max(map(len, positions), default=0) * columns * network.dtype.itemsize
        rows = max(1, min(self.batch_size, _RECORD_BYTES // max(1, per_row)))
        for members in batched(range(len(prompts)), rows):
            batch = TorchBatch(network, [prompts[index] for index in members], chunk=self.prefill_chunk)
            recorder = Recorder(network, places)
            found = [
                {
                    site: np.empty((len(layers), len(positions[index]), self.info.size_of(site)), np.float32)
                    for site in sites
                }
                for index in members
            ]
            for start, stop in batch.chunks():
                wanted = [
                    (row, slot, column - start)
                    for row, index in enumerate(members)
                    for slot, column in enumerate(positions[index])
                    if start <= column < stop
                ]
                edits = recorder.edits([w[0] for w in wanted], [w[2] for w in wanted]) if wanted else None
                batch.read(start, stop, edits)
                for (layer, site), values in recorder.take().items():
                    for (row, slot, _), value in zip(wanted, values, strict=True):
                        for at in (at for at, other in enumerate(layers) if other == layer):
                            found[row][site][at, slot] = value
            for row, index in enumerate(members):
                yield index, found[row], batch.proofs(row)

    def _score(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[Sequence[int]]]
    ) -> Iterator[tuple[int, int, Float32, tuple[Proof, ...]]]:
        asked = [index for index, options in enumerate(continuations) if options]
        reader = self._reader([prompts[index] for index in asked])

        def start(some: Sequence[Prompt]) -> _Scorer:
            return _Scorer(self.network, reader.read(some))

        return scoring.run(prompts, continuations, start, batched(asked, self.batch_size), self.batch_size)

    @torch.inference_mode()
    def _next_token(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Float32, tuple[Proof, ...]]]:
        reader = self._reader(prompts)
        for members in batched(range(len(prompts)), self.batch_size):
            batch = reader.read([prompts[index] for index in members])
            rows = log_softmax(batch.logits).cpu().numpy()
            for row, index in enumerate(members):
                yield index, rows[row], batch.proofs(row)

    def _reader(self, prompts: Sequence[Prompt]) -> PromptReader:
        return PromptReader(self.network, prompts, chunk=self.prefill_chunk)


class _Scorer:
    """Scores a batch that has read its prompts; implements ``scoring.PromptScorer``."""

    def __init__(self, network: Network, batch: TorchBatch) -> None:
        self._network = network
        self._batch = batch

    def first(self, wanted: Sequence[Wanted]) -> list[float]:
        return _logprobs(self._batch.logits, [w.row for w in wanted], [w.token for w in wanted])

    @torch.inference_mode()
    def follow(
        self, rows: Sequence[int], tails: Sequence[Sequence[int]], wanted: Sequence[Wanted]
    ) -> tuple[list[float], list[tuple[Proof, ...]]]:
        twin = self._batch.fork(rows)
        hidden = twin.extend(tails)
        values: list[float] = []
        for part in batched(wanted, _LOGIT_ROWS):
            logits = self._network.logits(hidden[[w.row for w in part], [w.column for w in part]])
            values += _logprobs(logits, range(len(part)), [w.token for w in part])
        return values, [twin.proofs(row) for row in range(len(rows))]

    def proofs(self, row: int) -> tuple[Proof, ...]:
        return self._batch.proofs(row)


@torch.inference_mode()
def _logprobs(logits: torch.Tensor, rows: Sequence[int], tokens: Sequence[int]) -> list[float]:
    """Log-probabilities of tokens, from float32 logits (n, vocabulary)."""
    index = torch.tensor([rows, tokens], device=logits.device)
    values: list[float] = log_softmax(logits)[index[0], index[1]].tolist()
    return values


def _context(config: object) -> int:
    """Return how many positions a text model is right for; state spaces say no number."""
    longest = getattr(config, "max_position_embeddings", None) or 2**31 - 1
    # Llama 4 scales its queries by how many tokens a batch has read, the same for all rows; up to here by one.
    scaled = getattr(config, "floor_scale", None) if getattr(config, "attn_temperature_tuning", False) else None
    return min(longest, scaled - 1) if scaled else longest


def _cards_memory(cards: Sequence[str]) -> MemoryUse:
    """Memory of the cards that hold a model. The fullest one decides how much more its layers' caches may take."""
    used = [torch.cuda.memory_allocated(card) for card in cards]
    # What the allocator holds in reserve is free to this process.
    spare = [
        torch.cuda.mem_get_info(card)[0] + torch.cuda.memory_reserved(card) - mine
        for card, mine in zip(cards, used, strict=True)
    ]
    return MemoryUse(sum(used), len(cards) * min(spare), sum(torch.cuda.max_memory_allocated(card) for card in cards))


def _peak(resident: int) -> int:
    """Highest memory use of this process, in bytes."""
    try:
        import resource
    except ImportError:  # Windows
        return resident
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return max(resident, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
