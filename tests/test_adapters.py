"""A low-rank adapter is the same change of the model on PyTorch and on MLX, and part of the subject's identity."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from mlxintro.backends.adapters import low_rank, peft_folder
from mlxintro.backends.adapters import sources as adapters
from mlxintro.backends.base import Backend, Float32, Injection, Prompt, Request, Sampling
from mlxintro.backends.errors import KnownError, ModelError, UsageError
from mlxintro.backends.mlxlm import backend as mlx_backend
from mlxintro.backends.models import embedded
from mlxintro.backends.models.sources import read_folder, resolve
from mlxintro.backends.pytorch import backend as torch_backend
from mlxintro.backends.training import AdapterShape
from mlxintro.protocol.study_file import NamedSubject, parse
from mlxintro.protocol.trials import model_key
from tests.matrix import in_slow_tests

FAMILIES = ("llama", "qwen2", "gemma3")


def matrices(source: Any, *, rank: int = 3, seed: int = 0) -> dict[str, tuple[Float32, Float32]]:
    """Random matrices for every linear map of a tiny model's blocks."""
    with torch_backend.load(source, device="cpu", dtype="float32") as backend:
        maps = {
            name: module.weight.shape
            for name, module in backend.network.model.named_modules()
            if isinstance(module, torch.nn.Linear) and ".layers." in name
        }
    rng = np.random.default_rng(seed)
    return {
        name: (
            (0.15 * rng.standard_normal((rank, inputs))).astype(np.float32),
            (0.15 * rng.standard_normal((outputs, rank))).astype(np.float32),
        )
        for name, (outputs, inputs) in maps.items()
    }


def observed(backend: Backend) -> tuple[Float32, list[str]]:
    """Residual streams and greedy replies, with and without an injection."""
    vector = np.random.default_rng(5).standard_normal(backend.info.width).astype(np.float32)
    tokens = tuple(np.random.default_rng(6).integers(5, 390, 20).tolist())
    prompts = [Prompt(tokens), Prompt(tokens, (Injection(1, vector, 7),))]
    streams = np.stack([found["resid_post"] for found in backend.capture(prompts)])
    requests = [Request(prompt, Sampling(max_tokens=12)) for prompt in prompts]
    replies = sorted(backend.generate(requests), key=lambda one: one.index)
    return streams, [str(reply.tokens) for reply in replies]


def far(a: Float32, b: Float32) -> float:
    """Largest distance of two streams relative to the norm of the first, over layers and positions."""
    return float((np.linalg.norm(a - b, axis=-1) / np.linalg.norm(a, axis=-1)).max())


@pytest.mark.parametrize("family", ["gemma3", *(in_slow_tests(family) for family in FAMILIES if family != "gemma3")])
def test_both_backends_speak_with_a_peft_folder_and_with_an_mlx_folder_as_with_merged_weights(
    family: str, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    source = read_folder(tiny(family), name=family, repository="tiny")
    chosen = matrices(source)
    shape = AdapterShape(rank=3, alpha=4.5)
    peft_folder.write(tmp_path / "peft", chosen, shape, family)
    # Written in float16: what both backends read is what the file holds.
    kept = {path: (a.astype(np.float16), b.astype(np.float16)) for path, (a, b) in chosen.items()}
    mlx = tmp_path / "mlx"
    mlx.mkdir()
    settings = {"fine_tune_type": "lora", "num_layers": -1, "lora_parameters": {"rank": 3, "scale": 1.5}}
    (mlx / "adapter_config.json").write_text(json.dumps(settings))
    tensors = {}
    for path, (down, up) in kept.items():
        tensors[f"{path}.lora_a"], tensors[f"{path}.lora_b"] = down.T.copy(), up.T.copy()
    save_file(tensors, mlx / "adapters.safetensors")

    # Independent of both: the sum written into the weights by hand.
    with torch_backend.load(source, device="cpu", dtype="float32") as backend:
        plain, _ = observed(backend)
        with torch.no_grad():
            for path, (down, up) in kept.items():
                delta = 1.5 * torch.from_numpy(up.astype(np.float32) @ down.astype(np.float32))
                backend.network.model.get_submodule(path).weight.add_(delta)
        merged, said = observed(backend)
    assert far(plain, merged) > 0.05
    for folder in (tmp_path / "peft", mlx):
        adapter = adapters.resolve(str(folder))
        for load in (torch_backend.load, mlx_backend.load):
            with load(source, device="cpu", dtype="float32", adapter=adapter) as backend:
                streams, replies = observed(backend)
                assert backend.info.adapter_revision == adapter.revision
            assert far(merged, streams) < 1e-5
            assert replies == said


def test_an_adapter_runs_beside_weights_of_16_bits_instead_of_being_rounded_into_them(
    tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    source = read_folder(tiny("llama"), name="llama", repository="tiny")
    small = {path: (a, 2e-4 * b) for path, (a, b) in matrices(source).items()}
    peft_folder.write(tmp_path / "small", small, AdapterShape(rank=3, alpha=3.0), "llama")
    adapter = adapters.resolve(str(tmp_path / "small"))
    with torch_backend.load(source, device="cpu", dtype="bfloat16", adapter=adapter) as backend:
        names = [name for name, _ in backend.network.model.named_parameters() if ".lora_B" in name]
    assert len(names) == len(small)


def test_an_adapter_is_part_of_the_models_identity_by_content_not_by_place(
    tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    source = read_folder(tiny("llama"), name="llama", repository="tiny")
    shape = AdapterShape(rank=3)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        peft_folder.write(tmp_path / name, matrices(source, seed=seed), shape, "llama")
    first, same, other = (adapters.resolve(str(tmp_path / name)) for name in "abc")
    assert first.revision == same.revision != other.revision
    with torch_backend.load(source, device="cpu", adapter=first) as backend:
        info = backend.info
    plain = replace(info, adapter="", adapter_revision="")
    assert len({model_key(plain), model_key(info), model_key(replace(info, adapter_revision=other.revision))}) == 3


def test_one_changed_byte_of_the_weights_is_another_adapter(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    source = read_folder(tiny("llama"), name="llama", repository="tiny")
    peft_folder.write(tmp_path / "a", matrices(source), AdapterShape(rank=3), "llama")
    before = adapters.resolve(str(tmp_path / "a")).revision
    file = tmp_path / "a" / adapters.WEIGHTS
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)
    assert adapters.resolve(str(tmp_path / "a")).revision != before


def broken(folder: Path, what: str) -> None:
    """Spoil a good adapter in one way."""
    config, weights = folder / adapters.CONFIG, folder / adapters.WEIGHTS
    settings, tensors = json.loads(config.read_text()), load_file(weights)
    match what:
        case "pickle":
            weights.rename(folder / "adapter_model.bin")
        case "cut short":
            weights.write_bytes(weights.read_bytes()[:-100])
        case "nan":
            tensors[next(iter(tensors))][0, 0] = np.nan
        case "one half":
            del tensors[next(iter(tensors))]
        case "other model":
            tensors = {name.replace("layers.0.", "layers.99."): tensor for name, tensor in tensors.items()}
        case "other width":
            tensors = {n: t[:, :-1].copy() if "lora_A" in n else t for n, t in tensors.items()}
        case "other kind":
            settings["peft_type"] = "IA3"
        case "no config":
            config.unlink()
            return
        case "config":
            config.write_text("[1, 2")
            return
    if what not in ("pickle", "cut short"):
        save_file(tensors, weights)
        config.write_text(json.dumps(settings))


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("pickle", "never opened"),
        ("cut short", "cannot be read"),
        ("nan", "NaN"),
        ("one half", "lacks|one of the two"),
        ("other model", "adapter of this model"),
        ("other width", "adapter of this model"),
        ("other kind", "IA3"),
        ("no config", "holds no adapter_config.json"),
        ("config", "cannot be read"),
    ],
)
def test_an_adapter_that_cannot_be_applied_whole_is_refused_in_one_line_by_both_backends(
    what: str, said: str, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    source = read_folder(tiny("llama"), name="llama", repository="tiny")
    peft_folder.write(tmp_path / "a", matrices(source), AdapterShape(rank=3), "llama")
    broken(tmp_path / "a", what)
    for load in (torch_backend.load, mlx_backend.load):
        with pytest.raises(ModelError, match=said) as caught:
            load(source, device="cpu", dtype="float32", adapter=adapters.resolve(str(tmp_path / "a")))
        assert "\n" not in str(caught.value)


def test_mlx_refuses_what_it_would_leave_out(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    source = read_folder(tiny("llama"), name="llama", repository="tiny")
    peft_folder.write(tmp_path / "a", matrices(source), AdapterShape(rank=3), "llama")
    config = tmp_path / "a" / adapters.CONFIG
    for key, value in (("use_dora", True), ("bias", "all"), ("modules_to_save", ["lm_head"])):
        config.write_text(json.dumps({**json.loads(config.read_text()), key: value}))
        with pytest.raises(ModelError, match="low-rank matrices alone"):
            mlx_backend.load(source, device="cpu", adapter=adapters.resolve(str(tmp_path / "a")))


def test_the_scale_follows_rank_alpha_and_pefts_patterns(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    source = read_folder(tiny("llama"), name="llama", repository="tiny")
    peft_folder.write(tmp_path / "a", matrices(source, rank=4), AdapterShape(rank=4, alpha=8.0), "llama")
    config = tmp_path / "a" / adapters.CONFIG
    settings = json.loads(config.read_text())
    config.write_text(json.dumps({**settings, "use_rslora": True, "alpha_pattern": {"q_proj": 2}}))
    maps = low_rank.read(adapters.resolve(str(tmp_path / "a")))
    scales = {path.rpartition(".")[2]: one.scale for path, one in maps.items()}
    assert scales["q_proj"] == 1.0
    assert scales["k_proj"] == 4.0


@pytest.mark.parametrize("name", ["./nowhere", "no such adapter", "a/b/c"])
def test_an_adapter_that_is_nowhere_is_a_line_that_names_the_ways(name: str) -> None:
    with pytest.raises(UsageError, match="give a folder, a hub id"):
        adapters.resolve(name)


def test_a_study_lists_subjects_with_and_without_an_adapter() -> None:
    found = parse('models = ["x", {model = "x", adapter = "control"}]', "study.toml", Path())
    assert found.subjects == (NamedSubject("x"), NamedSubject("x", "control"))
    for wrong in ('[{adapter = "a"}]', '[{model = "x", adaptor = "a"}]', '[{model = "x", adapter = 3}]', "[3]"):
        with pytest.raises(KnownError, match=r"study.toml.*models"):
            parse(f"models = {wrong}", "study.toml", Path())


@pytest.mark.slow
@pytest.mark.skipif(embedded.find_gguf() is None, reason="needs the embedded model: make installs it")
@pytest.mark.parametrize("name", sorted(adapters.shipped()))
def test_an_adapter_that_ships_is_the_same_subject_on_both_backends_and_leaves_the_layers_below_it_alone(
    name: str,
) -> None:
    source = resolve("smollm2", "mlx", dtype="float32")
    adapter = adapters.resolve(name)
    with torch_backend.load(source, device="cpu", dtype="float32") as backend:
        plain, _ = observed(backend)
    with torch_backend.load(source, device="cpu", dtype="float32", adapter=adapter) as backend:
        streams, said = observed(backend)
    with mlx_backend.load(source, device="cpu", dtype="float32") as backend:
        plain_others, _ = observed(backend)
    with mlx_backend.load(source, device="cpu", dtype="float32", adapter=adapter) as backend:
        others, also = observed(backend)
    first = min(adapter.config["layers_to_transform"])
    assert np.array_equal(plain[:, :first], streams[:, :first])
    assert far(plain[:, first:], streams[:, first:]) > 0.01
    # Relative to the whole stream, as everywhere; and so is every position, or it is as near as without an adapter.
    assert np.linalg.norm(streams - others) < 1e-5 * np.linalg.norm(streams)
    assert far(streams, others) < max(1e-5, 1.1 * far(plain, plain_others))
    assert said == also
