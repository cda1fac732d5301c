"""The MLX backend: mlx-lm models, quantised or not, under the contract of ``backends.base``.

Loads what lies in a local folder and nothing else; refuses a folder that mlx-lm would load but run wrongly. All MLX
work happens on the thread that calls: load and use a backend from one thread.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import psutil
from mlx_lm.utils import get_total_parameters, maybe_set_recommended_wired_limit

from .. import engine, scoring
from ..adapters.sources import AdapterSource
from ..base import (
    SITES,
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
from ..models.foreign import told
from ..models.sources import ModelSource
from ..models.tokenizer import ChatTokenizer
from ..training import AdapterShape, AdapterTrainer, Products
from . import cache as mlx_cache
from . import guard
from . import model as mlx_model
from . import roofline as mlx_roofline
from .adapter import apply
from .batch import Chunk, MLXBatch, MLXNetwork
from .decode import MLXDecoder
from .numeric import LOGITS_AT_ONCE, confirm, log_softmax
from .packed import multiply_in_float32
from .patch import Hook, find_blocks, patched
from .reader import MLXPromptReader
from .score import MLXScorer

_EXHAUSTED = ("malloc]", "Insufficient Memory")


def load(
    source: ModelSource,
    *,
    device: str | None = None,
    dtype: str | None = None,
    quantize: str | None = None,
    kv_bits: int | None = None,
    batch_size: int = 16,
    adapter: AdapterSource | None = None,
) -> MLXBackend:
    """Load a model with mlx-lm.

    Args:
        source: a resolved local folder.
        device: ``gpu`` or ``cpu``; MLX's default when ``None``.
        dtype: ``float32``, ``bfloat16`` or ``float16`` for weights that are not quantised and for the scales of those
            that are, and so for the residual stream; as stored when ``None``. A narrower dtype than stored rounds the
            scales, which costs a quantised model much more than it costs the stream.
        quantize: ``4bit`` or ``8bit`` to quantise unquantised weights, in groups of 64, while loading.
        kv_bits: 4 or 8 to keep keys and values quantised, in groups of 64 or 32. Rows of different lengths then run
            in batches of their own.
        batch_size: most rows decoded together.
        adapter: low-rank adapter to speak with; see ``backends.adapters``.

    Raises:
        UsageError: no such device, dtype or quantisation, or not for this model.
        ModelError: mlx-lm cannot run this model, or would run it wrongly.
    """
    if dtype is not None and dtype not in mlx_model.DTYPES:
        raise UsageError(f"dtype {dtype} is unknown: choose {', '.join(mlx_model.DTYPES)}")
    where = mlx_model.find_device(device)
    tokenizer = ChatTokenizer.load(source.folder, source.dialogue)
    settings = source.config.get("text_config") or source.config
    guard.check_settings(settings if settings.get("model_type") else source.config)
    model = mlx_model.build(source)
    parameters = int(get_total_parameters(model))
    with told(f"{source.name} was loaded but does not run", mlx_model.advice(source)):
        blocks = find_blocks(model)
        quantization = _adjust(model, source, settings, where, dtype, quantize, adapter)
        caches = mlx_cache.maker(model, kv_bits)
        with mx.stream(where or mx.default_device()):
            sizes = mlx_model.measure(model, blocks, settings)
    info = ModelInfo(
        model=source.name,
        revision=source.revision,
        backend="mlx",
        device=(where or mx.default_device()).type.name,
        quantization=f"{quantization}, keys and values {kv_bits}-bit" if kv_bits else quantization,
        architecture=str(source.config.get("model_type")),
        layers=len(blocks),
        context=mlx_model.usable_context(settings, model),
        weight_bytes=source.weight_bytes,
        chat_template=tokenizer.chat_template,
        template_hash=tokenizer.template_hash,
        adapter=adapter.name if adapter else "",
        adapter_revision=adapter.revision if adapter else "",
        parameters=parameters,
        **dataclasses.asdict(sizes),
    )
    return MLXBackend(model, tokenizer, info, batch_size=batch_size, device=where, caches=caches)


def _adjust(
    model: nn.Module,
    source: ModelSource,
    settings: Mapping[str, Any],
    device: Any,
    dtype: str | None,
    quantize: str | None,
    adapter: AdapterSource | None,
) -> str:
    """Check a built model and give its weights the dtype, quantisation and adapter that were asked for.

    Returns:
        The quantisation it has then, as ``ModelInfo`` names it.
    """
    mlx_model.check_rope(settings, model)
    guard.check_layers(settings, model)
    quantization = source.quantization
    if dtype is not None:
        model.set_dtype(mlx_model.DTYPES[dtype])
    if quantize is not None:
        quantization = mlx_model.quantise(model, quantize, source)
    if adapter is not None:
        apply(model, adapter)
    multiply_in_float32(model, device or mx.default_device())
    mx.eval(model.parameters())
    return quantization


class MLXBackend(Backend):
    """Runs an mlx-lm model under the contract. Use it from the thread that loaded it."""

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Tokenizer,
        info: ModelInfo,
        *,
        batch_size: int = 16,
        prefill_chunk: int = 2048,
        device: Any = None,
        caches: mlx_cache.Maker | None = None,
    ) -> None:
        """
        Args:
            model: an mlx-lm model, evaluated.
            batch_size: most rows decoded together.
            prefill_chunk: positions per forward call while a prompt is read.
            device: MLX device to run on, the default one when ``None``.
            caches: makes the model's caches; plain ones when ``None``.
        """
        self.info = info
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        sizes = {site: info.size_of(site) for site in SITES}
        self._open: MLXNetwork | None = MLXNetwork(
            model, find_blocks(model), sizes, prefill_chunk, caches or mlx_cache.maker(model, None), device
        )
        self._wired: int | None = None
        if mx.default_device() == mx.gpu and device is None:
            # Large weights stay resident between steps; without it macOS may page them out.
            self._wired = maybe_set_recommended_wired_limit()

    @property
    def _network(self) -> MLXNetwork:
        if self._open is None:
            raise UsageError(f"{self.info.model} has been closed: open the backend again")
        return self._open

    def _generate(self, requests: Sequence[Request], on_token: OnToken | None) -> Iterator[Completion]:
        network = self._network
        decoder = MLXDecoder(network, [request.prompt for request in requests])
        return engine.run(requests, decoder, self.tokenizer, self.batch_size, on_token)

    def _capture(
        self,
        prompts: Sequence[Prompt],
        layers: tuple[int, ...],
        sites: tuple[Site, ...],
        positions: Sequence[tuple[int, ...]],
    ) -> Iterator[tuple[int, dict[Site, Float32], tuple[Proof, ...]]]:
        network = self._network
        with network.scope():
            plan = network.plan([len(prompt.tokens) for prompt in prompts], self.batch_size)
        for members in plan:
            with network.scope():
                captured = self._capture_batch(
                    [prompts[index] for index in members], layers, sites, [positions[index] for index in members]
                )
            for index, (found, proof) in zip(members, captured, strict=True):
                yield index, found, proof

    def _capture_batch(
        self,
        prompts: Sequence[Prompt],
        layers: tuple[int, ...],
        sites: tuple[Site, ...],
        positions: Sequence[tuple[int, ...]],
    ) -> list[tuple[dict[Site, Float32], tuple[Proof, ...]]]:
        batch = MLXBatch(self._network, prompts)
        found = [
            {site: np.empty((len(layers), len(p), self.info.size_of(site)), np.float32) for site in sites}
            for p in positions
        ]

        def observe(chunk: Chunk) -> None:
            spots = chunk.find(positions)
            if not spots:
                return
            rows, columns = mx.array([spot.row for spot in spots]), mx.array([spot.column for spot in spots])
            picked = {place: stream[rows, columns].astype(mx.float32) for place, stream in chunk.seen.items()}
            mx.eval(picked)
            for depth, layer in enumerate(layers):
                for site in sites:
                    for spot, value in zip(spots, np.array(picked[layer, site]), strict=True):
                        found[spot.row][site][depth, spot.slot] = value

        places = [(layer, site) for layer in layers for site in sites]
        batch.read([prompt.tokens for prompt in prompts], places=places, observe=observe, final=True)
        captured = [(arrays, batch.proofs(row)) for row, arrays in enumerate(found)]
        confirm()
        return captured

    def _score(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[Sequence[int]]]
    ) -> Iterator[tuple[int, int, Float32, tuple[Proof, ...]]]:
        network = self._network
        asked = [index for index, options in enumerate(continuations) if options]
        reader = MLXPromptReader(network, [prompts[index] for index in asked])
        with network.scope():
            plan = reader.plan([prompts[index] for index in asked], self.batch_size)
        batches = [[asked[at] for at in members] for members in plan]
        return scoring.run(
            prompts, continuations, lambda some: MLXScorer(network, some, reader), batches, self.batch_size
        )

    def _next_token(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Float32, tuple[Proof, ...]]]:
        network = self._network
        reader = MLXPromptReader(network, prompts)
        with network.scope():
            plan = reader.plan(prompts, self.batch_size)
        for members in plan:
            scorer = MLXScorer(network, [prompts[index] for index in members], reader)
            for row, (index, logprobs) in enumerate(zip(members, scorer.everything(), strict=True)):
                yield index, logprobs, scorer.proofs(row)

    def _lens(self, rows: Float32, tokens: Sequence[int] | None) -> Iterator[Float32]:
        """See ``Backend.lens``.

        The last block's output is replaced by the residuals and the model's own code does the rest, with every scale
        and cap its family has. What comes before the last block is not evaluated, MLX being lazy.
        """
        network = self._network
        kept = None if tokens is None else mx.array(list(tokens), mx.int32)
        most = min(network.prefill_chunk, max(1, LOGITS_AT_ONCE // self.info.vocabulary))
        for start in range(0, len(rows), most):
            with network.scope():
                part = mx.array(rows[start : start + most])[None]
                with patched([(network.blocks[-1], _replacement(part))]):
                    logits = network.model(mx.zeros(part.shape[:2], mx.int32))
                logprobs = log_softmax(logits[0])
                found = np.array(logprobs if kept is None else mx.take(logprobs, kept, axis=-1))
                confirm()
            yield found

    def memory(self) -> MemoryUse:
        """Return the bytes in use by MLX.

        On Apple Silicon ``free`` is bounded by what Metal may hold and by the system.
        """
        used, available = mx.get_active_memory(), psutil.virtual_memory().available
        limit = mx.device_info().get("max_recommended_working_set_size")
        if self.info.device == "gpu" and limit is not None:
            available = min(available, max(0, int(limit) - used))
        return MemoryUse(used=used, free=available, peak=mx.get_peak_memory())

    def roofline(self) -> Roofline | None:
        network = self._network
        with network.scope():
            return mlx_roofline.measure(network, self.memory().free, mlx_model.DTYPES[self.info.dtype])

    def trainer(
        self,
        shape: AdapterShape,
        *,
        products: Products = "float32",
        directions: Float32 | None = None,
        discriminants: Float32 | None = None,
    ) -> AdapterTrainer:
        from .training import MLXTrainer

        return MLXTrainer(
            self._network, self.info, shape, products=products, directions=directions, discriminants=discriminants
        )

    def close(self) -> None:
        if self._open is None:
            return
        self._open = None
        # A reply that was abandoned may still be computing, and the limit must not change under it.
        mx.synchronize()
        mx.clear_cache()
        if self._wired is not None:
            mx.set_wired_limit(self._wired)

    def _exhausted(self, error: Exception) -> bool:
        # MLX has no class for it: "[malloc] Unable to allocate", "[metal::malloc] ...", "Insufficient Memory".
        return isinstance(error, MemoryError) or (
            isinstance(error, RuntimeError) and any(sign in str(error) for sign in _EXHAUSTED)
        )

    def _release(self) -> None:
        mx.clear_cache()


def _replacement(value: mx.array) -> Hook:
    return lambda stream: value.astype(stream.dtype)
