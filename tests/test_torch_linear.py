"""Products from the weights' side, against ``nn.Linear`` in float64 and as models use them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from mlxintro.backends.machine.kind import device_kind
from mlxintro.backends.pytorch.backend import TorchBackend
from mlxintro.backends.pytorch.linear import apply, few_tokens, linears
from mlxintro.backends.registry import open_backend


@pytest.fixture(autouse=True)
def from_the_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")


@pytest.fixture
def by_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")


SHAPES = [(24, 40), (40, 24), (24, 24), (24, 1700)]
"""More outputs than inputs, fewer, as many, and more than one block of them."""


def layer(inputs: int, outputs: int, bias: bool) -> nn.Linear:
    torch.manual_seed(inputs + outputs)
    return nn.Linear(inputs, outputs, bias=bias)


@torch.inference_mode()
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("inputs", "outputs"), SHAPES)
@pytest.mark.parametrize("lead", [(1, 1), (2, 1), (15,), (3, 7), (128, 1), (2, 200)])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("place", ["self_attn", "mlp"])
def test_it_is_the_same_product(
    lead: tuple[int, ...], inputs: int, outputs: int, bias: bool, turned: bool, place: str
) -> None:
    module = layer(inputs, outputs, bias)
    wrapped = nn.ModuleDict({place: module})
    x = torch.randn(*lead, inputs)
    if turned:
        x = x.movedim(-1, 0).contiguous().movedim(0, -1)
    exact = nn.functional.linear(x.double(), module.weight.double(), module.bias.double() if bias else None)
    with few_tokens(linears(wrapped), x[..., 0].numel()):
        inside = module(x)
    # What is no part of an MLP may be looked at as complex numbers.
    assert inside.is_contiguous() or place == "mlp"
    for found in (inside, apply(module, x)):
        assert found.shape == (*lead, outputs)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)
    assert apply(module, x).is_contiguous()


def test_modules_are_what_they_were_also_after_an_error() -> None:
    module = layer(8, 8, True)
    seen: list[type[nn.Module]] = []
    module.register_forward_hook(lambda one, *_: seen.append(type(one)))
    before = {name: value.clone() for name, value in module.state_dict().items()}

    def fails() -> None:
        with few_tokens(linears(module), 4):
            module(torch.zeros(4, 8))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert type(module) is nn.Linear
    assert len(seen) == 1
    assert seen[0] is not nn.Linear
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_only_plain_modules_in_float32_are_taken_over() -> None:
    class Other(nn.Linear):
        pass

    plain = layer(4, 4, False)
    some = [plain, Other(4, 4), nn.Linear(4, 4, dtype=torch.bfloat16), nn.Linear(4, 4, device="meta")]
    assert list(linears(nn.ModuleList(some))) == [plain]


@torch.inference_mode()
@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma2"])
def test_a_model_says_the_same(family: str, tiny: Callable[[str], Path]) -> None:
    with open_backend(str(tiny(family)), "torch", device="cpu", dtype="float32") as opened:
        assert isinstance(opened, TorchBackend)
        network = opened.network
        assert len(network.linears) == 7 * len(network.blocks)
        ids = torch.randint(0, 50, (5, 9), generator=torch.Generator().manual_seed(1))
        expected = network.model(input_ids=ids).logits
        taken: set[type[nn.Module]] = set()
        for module in network.linears:
            module.register_forward_hook(lambda one, *_: taken.add(type(one)))
        with few_tokens(network.linears, ids.numel()):
            found = network.model(input_ids=ids).logits
        assert nn.Linear not in taken
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
@pytest.mark.usefixtures("by_inputs")
@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma2"])
def test_weights_that_lie_by_inputs_are_the_same_weights(family: str, tiny: Callable[[str], Path]) -> None:
    plain: Any = AutoModelForCausalLM.from_pretrained(tiny(family), dtype=torch.float32).eval()
    with open_backend(str(tiny(family)), "torch", device="cpu", dtype="float32") as opened:
        assert isinstance(opened, TorchBackend)
        network = opened.network
        assert not network.linears
        turned = [name for name, weight in network.model.named_parameters() if not weight.is_contiguous()]
        assert len(turned) == 7 * len(network.blocks)
        assert not any("embed" in name or "head" in name for name in turned)
        expected = plain.state_dict()
        for name, value in network.model.state_dict().items():
            torch.testing.assert_close(value, expected[name], rtol=0, atol=0)
        ids = torch.randint(0, 50, (5, 9), generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(
            network.model(input_ids=ids).logits, plain(input_ids=ids).logits, rtol=1e-4, atol=1e-4
        )


@pytest.mark.usefixtures("by_inputs")
def test_a_model_in_16_bits_lies_as_it_lay(tiny: Callable[[str], Path]) -> None:
    with open_backend(str(tiny("llama")), "torch", device="cpu", dtype="bfloat16") as opened:
        assert isinstance(opened, TorchBackend)
        assert all(weight.is_contiguous() for weight in opened.network.model.parameters())


def test_processors_with_other_instructions_are_of_another_kind(
    tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_backend(str(tiny("llama")), "torch", device="cpu") as opened:
        kinds = []
        for capability in ("AVX2", "AVX512"):
            monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda capability=capability: capability)
            kinds.append(device_kind(opened.info))
    first, second = kinds
    assert {name for name in first if first[name] != second[name]} == {"instructions"}
