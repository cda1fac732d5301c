"""Training of a low-rank adapter on PyTorch, through peft.

The adapter is put into the loaded model in place, so the backend's own ``generate``, ``score`` and ``capture`` speak
with it as long as the trainer is open. Injections during training are those of ``backends.pytorch.hooks``: the same
lanes, the same masks by absolute position, the same tallies.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache

from ..adapters.beginning import first_matrices
from ..base import Float32, ModelInfo, Proof
from ..errors import PrerequisiteError
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
from .hooks import Injector, hooked
from .model import Network


class TorchTrainer(AdapterTrainer):
    """Trains an adapter with PyTorch; implements ``AdapterTrainer``.

    Args:
        network: the loaded model; its weights stay as they are.
        products: see ``backends.training.Products``.
        directions, discriminants: see ``Backend.trainer``.
    """

    def __init__(
        self,
        network: Network,
        info: ModelInfo,
        shape: AdapterShape,
        *,
        products: Products = "float32",
        directions: Float32 | None = None,
        discriminants: Float32 | None = None,
    ) -> None:
        super().__init__(info, shape)
        self._network: Network | None = network
        self._products = products
        self._frozen = [(parameter, parameter.requires_grad) for parameter in network.model.parameters()]
        homes = {id(block): block for block in network.blocks[shape.first_layer :]}
        blocks = {path: module for path, module in network.model.named_modules() if id(module) in homes}
        self._wrapped = _put_in(network, shape, blocks)
        sizes = {path: (module.out_features, module.in_features) for path, module in self._wrapped.items()}
        gain = partial(_gain, network, info.width)
        self._take(first_matrices(shape, sizes, blocks, directions, discriminants, gain))
        self._parameters = {name: parameter for name, parameter in network.model.named_parameters() if ".lora_" in name}
        self._optimiser = torch.optim.AdamW(self._parameters.values(), betas=BETAS, weight_decay=0.0)

    def _take(self, matrices: Matrices) -> None:
        with torch.no_grad():
            for path, module in self._wrapped.items():
                for part, given in zip((module.lora_A, module.lora_B), matrices[path], strict=True):
                    part["default"].weight.copy_(torch.from_numpy(given))

    def state(self) -> dict[str, Float32]:
        found: dict[str, Float32] = {}
        for name, parameter in self._parameters.items():
            found[name] = _numpy(parameter)
            for moment, value in self._optimiser.state.get(parameter, {}).items():
                if moment != "step":
                    found[f"{name}/{moment}"] = _numpy(value)
        return found

    def _resume(self, state: Mapping[str, Float32], steps: int) -> None:
        self._optimiser.state.clear()
        for name, parameter in self._parameters.items():
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(state[name]))
            if steps:
                moments = {
                    moment: torch.from_numpy(state[f"{name}/{moment}"].copy()).to(parameter.device)
                    for moment in ("exp_avg", "exp_avg_sq")
                }
                self._optimiser.state[parameter] = {"step": torch.tensor(float(steps)), **moments}

    def matrices(self) -> Matrices:
        return {
            path: (_numpy(module.lora_A["default"].weight), _numpy(module.lora_B["default"].weight))
            for path, module in self._wrapped.items()
        }

    def close(self) -> None:
        if self._network is None:
            return
        for path, module in self._wrapped.items():
            _replace(self._network.model, path, module.base_layer)
        # peft leaves its settings on the model it was given.
        vars(self._network.model).pop("peft_config", None)
        for parameter, wanted in self._frozen:
            parameter.requires_grad_(wanted)
        self._network = None

    def _backward(self, groups: Sequence[Sequence[TrainingRow]]) -> tuple[float, list[tuple[Proof, ...]]]:
        self._optimiser.zero_grad(set_to_none=True)
        weights = sum(sum(row.weights) for group in groups for row in group)
        loss = 0.0
        proofs: list[tuple[Proof, ...]] = []
        with torch.enable_grad(), _products_in(self._products):
            for group in filter(None, groups):
                total, found = self._read(group)
                part = total / weights
                part.backward()  # type: ignore[no-untyped-call]
                loss += float(part.detach())
                proofs += found
        return loss, proofs

    def _update(self, rate: float) -> float:
        norm = nn.utils.clip_grad_norm_(self._parameters.values(), LARGEST_GRADIENT)
        for settings in self._optimiser.param_groups:
            settings["lr"] = rate
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        return float(norm)

    def _read(self, group: Sequence[TrainingRow]) -> tuple[Tensor, list[tuple[Proof, ...]]]:
        """Weighted sum of the cross-entropy of the answers of one group, and the proofs of its rows."""
        network = self._network
        assert network is not None, "closed"
        first = common_beginning(group)
        prompts = [row.whole for row in group]
        # States that layers carry are not shared between rows: there each row is read from its first token.
        first = 0 if network.carries else first
        cache = None if network.carries else DynamicCache()
        tokens, positions = table(group, first)
        if first and cache is not None:
            beginning = np.array([prompts[0].tokens[:first]])
            self._forward(network, beginning, np.arange(first)[None], cache)
            for layer in cache.layers:
                layer.keys = layer.keys.expand(len(group), -1, -1, -1)
                layer.values = layer.values.expand(len(group), -1, -1, -1)
        injector = Injector(network, prompts)
        lengths = np.array([len(prompt.tokens) for prompt in prompts])
        touched = torch.from_numpy(positions.astype(np.int64)).to(network.device)
        measured = injector.begin(touched, np.full(len(prompts), first), lengths)
        with hooked(network, measured.edits if measured else {}):
            hidden = self._forward(network, tokens, np.arange(first, first + tokens.shape[1])[None], cache)
        if measured:
            measured.settle()
        asked = asked_tokens(group, first)
        logits = network.logits(hidden[asked.rows, asked.columns])
        targets = torch.tensor(asked.tokens, device=logits.device)
        losses = nn.functional.cross_entropy(logits, targets, reduction="none")
        return losses @ losses.new_tensor(asked.weights), [injector.proofs(number) for number in range(len(group))]

    def _forward(self, network: Network, tokens: Any, columns: Any, cache: Any) -> Tensor:
        """Hidden states after the final norm of tokens (rows, n) in columns (1, n)."""
        ids, where = (torch.from_numpy(part).to(network.device) for part in (tokens, columns))
        return network.read(ids, where, int(columns[0, -1]) + 1, cache)


def _put_in(network: Network, shape: AdapterShape, blocks: Mapping[str, nn.Module]) -> dict[str, Any]:
    """Wrap every linear map of the chosen blocks; path -> peft's module."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise PrerequisiteError("training an adapter with torch needs peft: pip install peft") from error
    chosen = [
        f"{home}.{path}"
        for home, block in blocks.items()
        for path, module in block.named_modules()
        if isinstance(module, nn.Linear)
    ]
    settings: Any = LoraConfig  # peft says int for alpha and divides by it
    settings = settings(r=shape.rank, lora_alpha=shape.alpha, lora_dropout=0.0, target_modules=chosen)
    with torch.random.fork_rng(devices=[]):
        inject_adapter_in_model(settings, network.model)
    return {path: network.model.get_submodule(path) for path in chosen}


def _gain(network: Network, width: int, norm: nn.Module) -> Float32:
    with torch.no_grad():
        return _numpy(norm(torch.ones(1, width, device=network.device, dtype=network.dtype))[0])


def _replace(model: Any, path: str, module: nn.Module) -> None:
    home, _, name = path.rpartition(".")
    setattr(model.get_submodule(home), name, module)


def _numpy(tensor: Tensor) -> Float32:
    found: Float32 = tensor.detach().float().cpu().numpy().copy()
    return found


@contextlib.contextmanager
def _products_in(precision: Products) -> Iterator[None]:
    """Let oneDNN round the factors of float32 products, where that is asked for."""
    settings: Any = getattr(torch.backends.mkldnn, "matmul")  # noqa: B009  # made at run time
    before = settings.fp32_precision
    settings.fp32_precision = "bf16" if precision == "bfloat16" else before
    try:
        yield
    finally:
        settings.fp32_precision = before
