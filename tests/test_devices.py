"""Where a model goes and what it takes there: cards, drivers, Apple's working set. No GPU is needed for any of it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mlxintro.backends import registry
from mlxintro.backends.errors import KnownError, PrerequisiteError
from mlxintro.backends.machine import lock, memory, nvidia
from mlxintro.backends.models.sources import read_folder
from mlxintro.backends.pytorch import devices
from tests.cli import Call

VERSION = """NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Fri Aug 25 12:34:56 UTC 2023
GCC version:  gcc version 11.4.0 (Ubuntu 11.4.0-1ubuntu1~22.04)
"""


def test_the_driver_is_read_from_what_the_kernel_module_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    file = tmp_path / "version"
    assert nvidia.driver(file) is None
    file.write_text(VERSION.format("535.183.01"))
    assert nvidia.driver(file) == "535.183.01"
    file.write_text(VERSION.replace("Kernel Module ", "Open Kernel Module for x86_64").format("580.65.06"))
    assert nvidia.driver(file) == "580.65.06"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert nvidia.driver(file) is None


def test_without_that_file_nvidia_smi_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 551.23\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert nvidia.driver(tmp_path / "none") == "551.23"
    program.write_text("#!/bin/sh\necho NVIDIA-SMI has failed; exit 9\n")
    assert nvidia.driver(tmp_path / "none") is None


@pytest.mark.parametrize("device", [None, "cuda", "cuda:0"])
@pytest.mark.parametrize(
    ("version", "mends"), [("535.183.01", "pip install --force-reinstall torch --index-url"), ("470.82", "update the")]
)
def test_a_gpu_that_torch_cannot_use_is_never_left_aside_in_silence(
    monkeypatch: pytest.MonkeyPatch, device: str | None, version: str, mends: str
) -> None:
    monkeypatch.setattr(nvidia, "driver", lambda: version)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(PrerequisiteError) as raised:
        devices.pick_device(device)
    said = str(raised.value)
    assert version in said
    assert mends in said
    assert "--device cpu" in said
    assert "\n" not in said
    assert devices.pick_device("cpu") == "cpu"


def test_where_there_is_no_gpu_the_cpu_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "driver", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert devices.pick_device(None) == "cpu"


def test_mlx_does_not_compute_on_the_cpu_of_a_cuda_machine_unless_told_to(
    tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlx.core")
    monkeypatch.setattr(nvidia, "driver", lambda: "580.65.06")
    monkeypatch.setattr(sys, "platform", "linux")
    folder = str(tiny("llama"))
    for device in (None, "gpu"):
        with pytest.raises(PrerequisiteError, match="--backend torch"):
            registry.open_backend(folder, "mlx", device=device)
    with registry.open_backend(folder, "mlx", device="cpu") as backend:
        assert backend.info.device == "cpu"


def cards(monkeypatch: pytest.MonkeyPatch, free: list[int]) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(free))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda card=0: (free[card], 80 * 10**9))


def test_a_model_goes_to_the_emptiest_card_and_is_spread_only_if_it_fits_on_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cards(monkeypatch, [3 * 10**9, 70 * 10**9, 50 * 10**9])
    assert devices.card_for("cuda", 40 * 10**9) == "cuda:1"
    assert devices.card_for("cuda", 90 * 10**9) == "cuda"
    assert devices.card_for("cuda:0", 90 * 10**9) == "cuda:0"
    assert devices.card_for("cpu", 1) == "cpu"
    # One card's memory is that card's; only a model on all of them has all of it.
    assert memory.room("cuda:2").free == 50 * 10**9
    assert memory.room("cuda").free == 123 * 10**9
    cards(monkeypatch, [10**9])
    assert devices.card_for("cuda", 40 * 10**9) == "cuda:0"


def test_weights_do_not_pass_through_main_memory_that_is_too_small(
    tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    cards(monkeypatch, [70 * 10**9])
    source = read_folder(tiny("llama"), name="tiny", repository="tiny")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert devices.placement("cuda", source, "bfloat16", None) is None
    monkeypatch.setattr(memory, "machine", lambda: memory.Room("cpu", 10**5, 10**5))
    with pytest.raises(PrerequisiteError, match=r"mlxintro\[cuda\]"):
        devices.placement("cuda", source, "bfloat16", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert devices.placement("cuda", source, "bfloat16", None) == {"": "cuda:0"}


QWEN = {
    "7B": {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28},
    "14B": {"hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 48, "num_attention_heads": 40},
    "32B": {"hidden_size": 5120, "intermediate_size": 27648, "num_hidden_layers": 64, "num_attention_heads": 40},
}
"""Sizes of Qwen2.5, whose config.json also says the following."""
COMMON = {"vocab_size": 152064, "tie_word_embeddings": False, "dtype": "bfloat16", "model_type": "qwen2"}


@pytest.mark.parametrize("size", QWEN)
@pytest.mark.parametrize("quantize", [None, "4bit"])
@pytest.mark.parametrize("backend", ["torch", "mlx"])
def test_predicted_weights_are_those_of_a_model_without_memory_added_up(
    size: str, quantize: str | None, backend: Any
) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = {**COMMON, **QWEN[size], "num_key_value_heads": 4 if size == "7B" else 8}
    settings = {key: value for key, value in config.items() if key not in ("model_type", "dtype")}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model("qwen2", **settings), dtype=torch.bfloat16)
    stored = sum(parameter.numel() for parameter in model.parameters()) * 2
    # bitsandbytes takes the linear layers but the head's; MLX the head's and the embedding too. Half a bit of scales.
    kinds = (nn.Linear,) if backend == "torch" else (nn.Linear, nn.Embedding)
    quantised = [
        module.weight.numel()
        for name, module in model.named_modules()
        if isinstance(module, kinds) and (backend == "mlx" or name != "lm_head")
    ]
    truth = stored - sum(quantised) * (2 - 4.5 / 8) if quantize else stored
    found = memory.loaded_bytes(stored, config, quantize=quantize, backend=backend)
    assert found == pytest.approx(truth, rel=0.05)


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("qwen3_moe", {"num_hidden_layers": 8, "num_experts": 32}),
        ("mixtral", {"num_hidden_layers": 6}),
        ("glm4_moe", {"num_hidden_layers": 6, "n_routed_experts": 32}),
    ],
)
def test_experts_stay_as_wide_as_they_are_in_4_bits_on_cuda(family: str, settings: dict[str, int]) -> None:
    """transformers holds the experts of a layer in one array, and bitsandbytes takes linear layers only."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(family, **settings)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    stored = sum(parameter.numel() for parameter in model.parameters()) * 2
    linear = [module.weight.numel() for module in model.modules() if type(module) is nn.Linear]
    quantised = sum(linear) - model.get_output_embeddings().weight.numel()
    truth = stored - quantised * (2 - 4.5 / 8)
    written = {**config.to_dict(), "dtype": "bfloat16"}
    assert memory.loaded_bytes(stored, written, quantize="4bit", backend="torch") == pytest.approx(truth, rel=0.05)
    assert truth > 0.8 * stored


def test_4_bits_of_bitsandbytes_are_four_and_a_half() -> None:
    """Its own layer says so: half a byte for each weight, and a float32 for every 64."""
    bnb = pytest.importorskip("bitsandbytes")
    layer = bnb.nn.Linear4bit(256, 128, bias=False, compress_statistics=False, quant_type="nf4")
    layer.load_state_dict({"weight": torch.randn(128, 256)})
    weight = layer.to("cpu").weight
    held = weight.nbytes + weight.quant_state.absmax.nbytes
    assert 8 * held == 4.5 * 128 * 256


def test_a_loading_model_on_a_card_is_named_and_a_loaded_one_is_in_nobodys_way(
    tiny: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "LARGE", 1)
    monkeypatch.setattr(lock, "lock_folder", lambda: tmp_path)
    monkeypatch.setattr(registry, "place_of", lambda backend, device: "cuda:0")
    monkeypatch.setattr(registry, "_scopes", lambda place: ["cuda-GPU-1", "cuda-GPU-2"])
    monkeypatch.setattr(memory, "room", lambda place="cpu": memory.Room(place, 10**10, 10**10))
    folder = str(tiny("llama"))
    with (
        registry.open_backend(folder, "torch", device="cpu"),
        registry.open_backend(folder, "torch", device="cpu"),
        lock.hold("other", 2, scope="cuda-GPU-2") as loading,  # type: ignore[union-attr]
    ):
        assert loading
        with pytest.raises(KnownError, match=r"is loading other onto the same GPU: try .* again"):
            registry.open_backend(folder, "torch", device="cpu")
    with registry.open_backend(folder, "torch", device="cpu"):
        pass


@pytest.mark.parametrize(("gigabytes", "usable"), [(8, 16 / 3), (16, 32 / 3), (36, 24), (64, 48), (128, 96)])
def test_of_a_macs_memory_a_model_may_have_what_metal_recommends(gigabytes: int, usable: float) -> None:
    assert memory.apple_working_set(gigabytes * 2**30) == pytest.approx(usable * 2**30, rel=0.01)


def test_an_apple_gpu_has_its_working_set_whatever_other_programs_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    mx = pytest.importorskip("mlx.core")
    psutil = pytest.importorskip("psutil")

    class Memory:
        total, available, wired = 16 * 2**30, 2 * 2**30, 3 * 2**30

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(mx, "device_info", lambda: {"max_recommended_working_set_size": 12 * 2**30})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory)
    assert memory.room("gpu") == memory.Room("gpu", 12 * 2**30, 12 * 2**30)
    Memory.wired = 9 * 2**30
    assert memory.room("gpu").free == 7 * 2**30


@pytest.mark.parametrize(("size", "best"), [("8GB", "8b|7b|3b"), ("16GB", "14b|8b|9b"), ("64", "72b|70b|32b")])
def test_models_list_advises_for_a_machine_that_one_has_not_got(call: Call, size: str, best: str) -> None:
    done = call("models", "list", "--backend", "mlx", "--memory", size, "--json")
    assert done.code == 0
    budget = memory.apple_working_set(int(size.removesuffix("GB")) * 2**30)
    for row in done.lines:
        assert row["fits"] == (row["needed_bytes"] <= budget)
    largest = max((row for row in done.lines if row["fits"]), key=lambda row: row["needed_bytes"])["name"]
    said = call("models", "list", "--backend", "mlx", "--memory", size)
    assert f"the largest that fits is {largest}" in said.err


@pytest.mark.parametrize("size", ["much", "0", "-4GB", "16TB"])
def test_a_size_that_is_none_is_one_line(call: Call, size: str) -> None:
    done = call("models", "list", f"--memory={size}")
    assert done.code == 2
    assert "is no size: give gigabytes, e.g. 16GB" in done.err
