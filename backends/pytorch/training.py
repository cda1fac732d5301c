"""Training of a low-rank adapter on PyTorch, through peft.

The adapter is put into the loaded model in place, so the backend's own ``generate``, ``score`` and ``capture`` speak
with it as long as the trainer is open. Injections during training are those of ``backends.pytorch.hooks``: the same
lanes, the same masks by absolute position, the same tallies.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache

from ..base import Float32, ModelInfo, Prompt, Proof
from ..errors import PrerequisiteError, UsageError
from ..training import READING, AdapterShape, AdapterTrainer, Products, TrainingRow, common_beginning, reading_rows
from .hooks import Injector, hooked
from .model import Network

_BETAS = (0.9, 0.98)
_LARGEST_GRADIENT = 1.0


class TorchTrainer(AdapterTrainer):
    """Trains an adapter with PyTorch; implements ``AdapterTrainer``.

    Args:
        network: the loaded model; its weights stay as they are.
        products: see ``backends.training.Products``.
        directions: see ``Backend.trainer``.
    """

    def __init__(
        self,
        network: Network,
        info: ModelInfo,
        shape: AdapterShape,
        *,
        products: Products = "float32",
        directions: Float32 | None = None,
    ) -> None:
        super().__init__(info, shape)
        self._network: Network | None = network
        self._products = products
        self._frozen = [(parameter, parameter.requires_grad) for parameter in network.model.parameters()]
        self._wrapped = _put_in(network, shape)
        if directions is not None:
            _aim(network, shape, directions)
        self._parameters = {name: parameter for name, parameter in network.model.named_parameters() if ".lora_" in name}
        self._optimiser = torch.optim.AdamW(self._parameters.values(), betas=_BETAS, weight_decay=0.0)

    def begin_with(self, matrices: Mapping[str, tuple[Float32, Float32]]) -> None:
        own = self.matrices()
        fits = set(own) == set(matrices) and all(
            part.shape == given.shape for path in own for part, given in zip(own[path], matrices[path], strict=True)
        )
        if not fits:
            raise UsageError("the adapter to start from has another rank, or lies in other layers")
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

    def restore(self, state: Mapping[str, Float32], steps: int) -> None:
        held = {name for name in state if "/" not in name}
        if held != set(self._parameters) or any(
            state[name].shape != tuple(parameter.shape) for name, parameter in self._parameters.items()
        ):
            raise UsageError("the checkpoint is of an adapter of another shape: train into another folder")
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

    def matrices(self) -> dict[str, tuple[Float32, Float32]]:
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
        weights = sum(row.weight * len(row.answer) for group in groups for row in group)
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
        norm = nn.utils.clip_grad_norm_(self._parameters.values(), _LARGEST_GRADIENT)
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
        if first and cache is not None:
            self._forward(network, [Prompt(prompts[0].tokens[:first])], 0, cache, None)
            for layer in cache.layers:
                layer.keys = layer.keys.expand(len(group), -1, -1, -1)
                layer.values = layer.values.expand(len(group), -1, -1, -1)
        injector = Injector(network, prompts)
        hidden = self._forward(network, prompts, first, cache, injector)
        rows: list[int] = []
        columns: list[int] = []
        targets: list[int] = []
        weights: list[float] = []
        for number, row in enumerate(group):
            start = len(row.prompt.tokens) - 1 - first
            rows += [number] * len(row.answer)
            columns += range(start, start + len(row.answer))
            targets += row.answer
            weights += [row.weight] * len(row.answer)
        logits = network.logits(hidden[rows, columns])
        losses = nn.functional.cross_entropy(logits, torch.tensor(targets, device=logits.device), reduction="none")
        return losses @ losses.new_tensor(weights), [injector.proofs(number) for number in range(len(group))]

    def _forward(
        self, network: Network, prompts: Sequence[Prompt], first: int, cache: Any, injector: Injector | None
    ) -> Tensor:
        """Hidden states after the final norm, from column ``first`` on."""
        lengths = np.array([len(prompt.tokens) for prompt in prompts])
        width = int(lengths.max())
        tokens = np.zeros((len(prompts), width - first), np.int64)
        for number, prompt in enumerate(prompts):
            tokens[number, : lengths[number] - first] = prompt.tokens[first:]
        columns = np.arange(first, width)
        positions = np.where(columns < lengths[:, None], columns, -1)
        ids, touched = torch.from_numpy(np.stack([tokens, positions])).to(network.device)
        where = torch.from_numpy(columns).to(network.device)[None]
        measured = None
        if injector is not None:
            measured = injector.begin(touched, np.full(len(prompts), first), lengths)
        with hooked(network, measured.edits if measured else {}):
            hidden = network.read(ids, where, width, cache)
        if measured:
            measured.settle()
        return hidden


def _put_in(network: Network, shape: AdapterShape) -> dict[str, Any]:
    """Wrap every linear map of the chosen blocks; path -> peft's module."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise PrerequisiteError("training an adapter with torch needs peft: pip install peft") from error
    blocks = {id(block) for block in network.blocks[shape.first_layer :]}
    homes = [path for path, module in network.model.named_modules() if id(module) in blocks]
    chosen = [
        f"{home}.{path}"
        for home in homes
        for path, module in network.model.get_submodule(home).named_modules()
        if isinstance(module, nn.Linear)
    ]
    settings: Any = LoraConfig  # peft says int for alpha and divides by it
    settings = settings(r=shape.rank, lora_alpha=shape.alpha, lora_dropout=0.0, target_modules=chosen)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(shape.seed)
        inject_adapter_in_model(settings, network.model)
    return {path: network.model.get_submodule(path) for path in chosen}


def _aim(network: Network, shape: AdapterShape, directions: Float32) -> None:
    """Let the maps that read the residual stream begin with what will be injected into it."""
    adapted: list[Any] = list(network.blocks[shape.first_layer :])
    for turn, block in enumerate(adapted):
        second = getattr(block, "pre_feedforward_layernorm", None) or block.post_attention_layernorm
        for norm, home in ((block.input_layernorm, block.self_attn), (second, block.mlp)):
            with torch.no_grad():
                gain = norm(torch.ones(1, directions.shape[1], device=network.device))[0]
                rows = torch.from_numpy(reading_rows(directions, _numpy(gain), shape.rank, turn, len(adapted)))
                for name in READING:
                    if hasattr(home, name):
                        weight = getattr(home, name).lora_A["default"].weight
                        weight.copy_(rows.to(weight.device, weight.dtype))


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
