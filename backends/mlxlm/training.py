"""Training of a low-rank adapter on MLX, with mlx-lm's LoRA layers and MLX's AdamW.

The layers are put into the loaded model in place, so the backend's own ``generate``, ``score`` and ``capture`` speak
with the adapter as long as the trainer is open. Injections during training are those of ``mlxlm.patch``: the same
lanes, the same masks by absolute position, the same tallies. Quantised maps keep their packed weights and get float32
matrices beside them (Dettmers et al. 2023, arXiv 2305.14314, QLoRA).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from mlx_lm.tuner.lora import LoRALinear

from ..adapters.beginning import first_matrices
from ..base import Float32, ModelInfo, Proof
from ..errors import UsageError
from ..training import (
    BETAS,
    LARGEST_GRADIENT,
    AdapterShape,
    AdapterTrainer,
    Matrices,
    Products,
    TrainingRow,
    asked_tokens,
    common_beginning,
    table,
)
from . import cache as mlx_cache
from .batch import MLXNetwork
from .numeric import confirm, log_softmax
from .patch import Interventions, patched

_PARTS = ("lora_a", "lora_b")
_MOMENTS = ("m", "v")

_Parameters = dict[str, mx.array]
"""``PATH.lora_a`` of shape (inputs, rank) and ``PATH.lora_b`` of shape (rank, outputs)."""


class MLXTrainer(AdapterTrainer):
    """Trains an adapter with MLX; implements ``AdapterTrainer``. Use it from the thread that loaded the model.

    Args:
        network: the loaded model; its weights stay as they are.
        products: see ``backends.training.Products``.
        directions, discriminants: see ``Backend.trainer``.

    Raises:
        UsageError: products in another precision than the model's.
    """

    def __init__(
        self,
        network: MLXNetwork,
        info: ModelInfo,
        shape: AdapterShape,
        *,
        products: Products = "float32",
        directions: Float32 | None = None,
        discriminants: Float32 | None = None,
    ) -> None:
        super().__init__(info, shape)
        if products != "float32":
            raise UsageError(f"{products} products are PyTorch's on a CPU: use --dtype {products} with MLX")
        self._network: MLXNetwork | None = network
        self._gradients: _Parameters = {}
        # Caches that cannot pad carry states, or are quantised: there every row is read from its first token.
        self._shares = mlx_cache.can_pad(network.caches())
        with network.scope():
            blocks = _blocks(network, shape)
            self._layers = _put_in(network.model, shape, blocks)
            sizes = {path: (layer.lora_b.shape[1], layer.lora_a.shape[0]) for path, layer in self._layers.items()}
            self._optimiser = optim.AdamW(0.0, betas=list(BETAS), weight_decay=0.0, bias_correction=True)
            gain = partial(_gain, width=info.width)
            self._take(first_matrices(shape, sizes, blocks, directions, discriminants, gain))
            self._optimiser.init(self._parameters)

    def state(self) -> dict[str, Float32]:
        found = {name: np.array(value) for name, value in self._parameters.items()}
        for name in self._parameters:
            for moment in _MOMENTS:
                found[f"{name}/{moment}"] = np.array(self._optimiser.state[name][moment])
        return found

    def matrices(self) -> Matrices:
        return {
            path: (
                np.ascontiguousarray(np.array(self._parameters[f"{path}.lora_a"]).T),
                np.ascontiguousarray(np.array(self._parameters[f"{path}.lora_b"]).T),
            )
            for path in self._layers
        }

    def close(self) -> None:
        if self._network is None:
            return
        modules = dict(self._network.model.named_modules())
        for path, layer in self._layers.items():
            _replace(modules, path, layer.linear)
        self._network = None
        mx.clear_cache()

    def _take(self, matrices: Matrices) -> None:
        self._set(
            {
                f"{path}.{part}": mx.array(np.ascontiguousarray(given.T))
                for path in self._layers
                for part, given in zip(_PARTS, matrices[path], strict=True)
            }
        )

    def _resume(self, state: Mapping[str, Float32], steps: int) -> None:
        self._set({name: mx.array(state[name]) for name in self._parameters})
        self._optimiser.init(self._parameters)
        self._optimiser.state["step"] = mx.array(steps, mx.uint64)
        for name in self._parameters if steps else ():
            self._optimiser.state[name] = {moment: mx.array(state[f"{name}/{moment}"]) for moment in _MOMENTS}

    def _backward(self, groups: Sequence[Sequence[TrainingRow]]) -> tuple[float, list[tuple[Proof, ...]]]:
        network = self._network
        assert network is not None, "closed"
        weights = sum(sum(row.weights) for group in groups for row in group)
        loss = 0.0
        proofs: list[tuple[Proof, ...]] = []
        self._gradients = {}
        with network.scope():
            for group in filter(None, groups):
                injected = Interventions(network.blocks, [row.whole for row in group], network.sizes)

                def share(parameters: _Parameters) -> mx.array:
                    self._set(parameters)
                    return self._read(network, group, injected) / weights  # noqa: B023  # called at once

                parameters = self._parameters
                try:
                    part, gradients = mx.value_and_grad(share)(parameters)
                finally:
                    self._set(parameters)
                self._gradients = {
                    name: self._gradients[name] + gradient if self._gradients else gradient
                    for name, gradient in gradients.items()
                }
                # Evaluated group by group: what one needs for its gradient is free before the next begins.
                mx.eval(part, self._gradients, injected.pending())
                confirm()
                loss += float(np.array(part))
                proofs += [injected.proofs(number) for number in range(len(group))]
        return loss, proofs

    def _update(self, rate: float) -> float:
        assert self._network is not None, "closed"
        with self._network.scope():
            gradients, norm = optim.clip_grad_norm(self._gradients, LARGEST_GRADIENT)
            self._gradients = {}
            self._optimiser.learning_rate = rate
            self._set(self._optimiser.apply_gradients(gradients, self._parameters))
            mx.eval(self._parameters, self._optimiser.state, norm)
            mx.clear_cache()
        return float(np.array(norm))

    def _read(self, network: MLXNetwork, group: Sequence[TrainingRow], injected: Interventions) -> mx.array:
        """Weighted sum of the cross-entropy of the answers of one group."""
        first = common_beginning(group) if self._shares else 0
        caches = None
        if first:
            # The adapter speaks in the common beginning too, so the gradient goes through its keys and values.
            single = network.caches()
            network.model(mx.array([group[0].prompt.tokens[:first]]), cache=single)
            caches = mlx_cache.forked(single, len(group))
        tokens, positions = table(group, first)
        asked = asked_tokens(group, first)
        rows, columns = mx.array(asked.rows), mx.array(asked.columns)

        def pick(stream: mx.array) -> mx.array:
            """Let the unembedding see nothing but what is asked for, as a text of its own."""
            return stream[rows, columns][None]

        with injected.at(positions), patched([(network.blocks[-1], pick)]):
            logits = network.model(mx.array(tokens.astype(np.int32)), cache=caches)
        chosen = mx.take_along_axis(log_softmax(logits[0]), mx.array(asked.tokens)[:, None], axis=-1)[:, 0]
        return -(chosen * mx.array(asked.weights)).sum()

    def _set(self, parameters: _Parameters) -> None:
        self._parameters = parameters
        for path, layer in self._layers.items():
            for part in _PARTS:
                setattr(layer, part, parameters[f"{path}.{part}"])


def _blocks(network: MLXNetwork, shape: AdapterShape) -> dict[str, nn.Module]:
    """Path -> block of those that are adapted."""
    chosen = {id(block): block for block in network.blocks[shape.first_layer :]}
    paths = {id(module): path for path, module in network.model.named_modules() if id(module) in chosen}
    return {paths[key]: block for key, block in chosen.items()}


def _put_in(model: nn.Module, shape: AdapterShape, blocks: Mapping[str, nn.Module]) -> dict[str, Any]:
    """Wrap every linear map of the chosen blocks; path -> mlx-lm's layer."""
    modules = dict(model.named_modules())
    found: dict[str, Any] = {}
    for home, block in blocks.items():
        # MLX lists the modules of a block from its last to its first.
        for name, module in sorted(block.named_modules()):
            if isinstance(module, (nn.Linear, nn.QuantizedLinear)):
                path = f"{home}.{name}"
                layer = LoRALinear.from_base(module, r=shape.rank, scale=shape.alpha / shape.rank)
                _replace(modules, path, layer)
                found[path] = layer
    return found


def _replace(modules: Mapping[str, Any], path: str, module: nn.Module) -> None:
    home, _, name = path.rpartition(".")
    setattr(modules[home], name, module)


def _gain(norm: nn.Module, width: int) -> Float32:
    found: Float32 = np.array(norm(mx.ones((1, width)))[0].astype(mx.float32))
    return found
