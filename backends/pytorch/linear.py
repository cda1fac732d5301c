"""Products of few tokens with the model's weights, on the CPU in float32.

BLAS libraries are tuned for ``tokens x weights`` with many tokens. What helps with the few of a decoding step depends
on the processor, and is settled by its instructions alone, so that a machine always adds in the same order:

- AVX2 and others: the same product from the other side, ``weights x tokens``, keeps the weights in the order they lie
  in and is up to twice as fast. ``few_tokens`` sees to it during a pass.
- AVX-512: weights that lie by inputs instead of by outputs are 1.4 to 1.7 times as fast at 64 to 128 tokens, and no
  slower at other numbers. ``lay_out`` turns their memory once, when a model is loaded: shapes and values stay.

The sums are those of ``nn.Linear``, in another order.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

_TOKENS = range(2, 257)
"""How many make it pay. One is a product with a vector; many are what libraries are tuned for."""
_COLUMN_MAJOR = 16
"""Below this many tokens a product with an input that lies in column-major order is slow."""
_MLP = re.compile(r"(^|\.)(\w*mlp|feed_forward|experts)\.")
_BLOCK = 768
"""Outputs that are turned to row-major order at a time, while they are in the processor's cache."""


def _by_inputs() -> bool:
    """Tell whether this processor is fastest with weights that lie by inputs."""
    return torch.backends.cpu.get_cpu_capability() == "AVX512"


@torch.no_grad()
def lay_out(model: Any) -> None:
    """Turn the memory of a model's weights, embedding and head aside, where this processor wants them by inputs.

    One weight at a time is held twice. A head is so wide that turning it makes it slower, and an embedding that is tied
    to it is read by rows.

    Args:
        model: a transformers model that nobody else uses.
    """
    tables = {id(part.weight) for part in (model.get_input_embeddings(), model.get_output_embeddings()) if part}
    for module in model.modules() if _by_inputs() else ():
        if _is_plain(module) and id(module.weight) not in tables:
            module.weight.data = module.weight.T.contiguous().T


class _FromTheLeft(nn.Linear):
    """Computes ``nn.Linear`` for few tokens. The instance stays what it was in all but its class."""

    def forward(self, input: Tensor) -> Tensor:
        return _product(input, self.weight, self.bias)


class _Inwards(_FromTheLeft):
    """Leads into an MLP. Its outputs are left in column-major order: they are dealt with number by number, and the next
    product takes them as they lie. Attention may want its own outputs row-major (complex numbers in DeepSeek-V2)."""

    def forward(self, input: Tensor) -> Tensor:
        return _transposed(_table(input), self.weight, self.bias).T.view(*input.shape[:-1], -1)


def apply(module: nn.Module, x: Tensor) -> Tensor:
    """Return what a module makes of tokens; from the left when it is one of ``linears`` and they are few.

    Args:
        x: (..., inputs).

    Returns:
        (..., outputs), row-major.
    """
    # Under autograd every block that is written would copy the whole gradient again.
    few = x[..., 0].numel() in _TOKENS and not (torch.is_grad_enabled() and x.requires_grad)
    return _product(x, module.weight, module.bias) if few and _suits(module) else module(x)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    table = _table(x)
    found = table.new_empty(len(table), len(weight))
    for first in range(0, len(weight), _BLOCK):
        part = slice(first, first + _BLOCK)
        found[:, part] = _transposed(table, weight[part], None if bias is None else bias[part]).T
    return found.view(*x.shape[:-1], -1)


def _transposed(table: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(outputs, tokens)."""
    return weight @ table.T if bias is None else torch.addmm(bias[:, None], weight, table.T)


def _table(x: Tensor) -> Tensor:
    """(tokens, inputs)."""
    table = x.reshape(-1, x.shape[-1])
    return table.contiguous() if len(table) < _COLUMN_MAJOR else table


def _suits(module: nn.Module) -> TypeGuard[nn.Linear]:
    return not _by_inputs() and _is_plain(module)


def _is_plain(module: nn.Module) -> TypeGuard[nn.Linear]:
    # A subclass may do something of its own.
    if type(module) is not nn.Linear:
        return False
    return module.weight.device.type == "cpu" and module.weight.dtype == torch.float32


def linears(model: nn.Module) -> dict[nn.Linear, type[nn.Linear]]:
    """Return the modules that ``few_tokens`` can take over, and as what: plain ones, in float32 on the CPU.

    None where the processor is faster without.
    """
    return {
        module: _Inwards if _MLP.search(name) and module.out_features > module.in_features else _FromTheLeft
        for name, module in model.named_modules()
        if _suits(module)
    }


@contextlib.contextmanager
def few_tokens(modules: Mapping[nn.Linear, type[nn.Linear]], tokens: int) -> Iterator[None]:
    """Let a forward pass over so many tokens, all rows together, multiply from the left where that pays.

    MLX's backend swaps the class of a patched block in the same way: identity, parameters and hooks stay.
    """
    if tokens not in _TOKENS:
        yield
        return
    try:
        for module, kind in modules.items():
            module.__class__ = kind
        yield
    finally:
        for module in modules:
            module.__class__ = nn.Linear
