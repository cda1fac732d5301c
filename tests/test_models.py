"""Names become folders, sizes become verdicts, and every refusal names a way out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from mlxintro.backends.errors import ModelError, UsageError
from mlxintro.backends.machine import memory
from mlxintro.backends.models import aliases, folders, sources, support


def write_model(folder: Path, *, seed: int = 0, **config: object) -> Path:
    """The files of a model, small; its weights mean nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    (folder / "tokenizer.json").write_text("{}")
    noise = np.random.default_rng(seed)
    save_file({"w": noise.standard_normal((64, 64)).astype(np.float32)}, folder / "model.safetensors")
    return folder


def test_the_customers_models_have_short_names_for_both_backends() -> None:
    for name, torch, mlx in (
        ("qwen2.5-3b", "Qwen/Qwen2.5-3B-Instruct", "mlx-community/Qwen2.5-3B-Instruct-4bit"),
        ("qwen2.5-7b", "Qwen/Qwen2.5-7B-Instruct", "mlx-community/Qwen2.5-7B-Instruct-4bit"),
        ("qwen2.5-14b", "Qwen/Qwen2.5-14B-Instruct", "mlx-community/Qwen2.5-14B-Instruct-4bit"),
        ("qwen2.5-32b", "Qwen/Qwen2.5-32B-Instruct", "mlx-community/Qwen2.5-32B-Instruct-4bit"),
        ("llama-3.2-3b", "meta-llama/Llama-3.2-3B-Instruct", "mlx-community/Llama-3.2-3B-Instruct-4bit"),
        ("mistral-7b", "mistralai/Mistral-7B-Instruct-v0.3", "mlx-community/Mistral-7B-Instruct-v0.3-4bit"),
        ("gemma-2-9b", "google/gemma-2-9b-it", "mlx-community/gemma-2-9b-it-4bit"),
    ):
        assert sources.locate(name, "torch") == ("hub", torch)
        assert sources.locate(name.upper(), "mlx") == ("hub", mlx)


LITERATURE = """
qwen2.5-coder-32b qwen3-4b qwen3-8b qwen3-14b qwen3-32b gemma-3-4b gemma-3-12b gemma-3-27b llama-3.1-8b llama-3.1-70b
olmo-3-7b-base olmo-3-7b-sft olmo-3-7b-dpo olmo-3-7b gpt-oss-20b mistral-small
"""


def test_the_literatures_subjects_have_short_names() -> None:
    for name in LITERATURE.split():
        alias = aliases.find(name)
        assert alias is not None, name
        assert alias.licence
        assert sources.locate(name, "torch") == ("hub", alias.torch)
        assert alias.weight_bytes("mlx") <= alias.weight_bytes("torch")
        # Sizes are those of the names, embeddings included.
        if found := re.search(r"(\d+)b\b", name):
            assert alias.parameters == pytest.approx(float(found[1]), rel=0.12), name
    assert len({alias.name for alias in aliases.ALIASES}) == len(aliases.ALIASES)


def test_where_no_conversion_exists_mlx_gets_the_original_at_its_own_size() -> None:
    base = aliases.find("olmo-3-7b-base")
    assert base is not None
    assert sources.locate("olmo-3-7b-base", "mlx") == ("hub", "allenai/Olmo-3-1025-7B")
    assert base.weight_bytes("mlx") == base.weight_bytes("torch") == 14_600_000_000


def test_an_original_repository_may_be_asked_for_on_mlx() -> None:
    assert sources.locate("Qwen/Qwen2.5-7B-Instruct", "mlx") == ("hub", "Qwen/Qwen2.5-7B-Instruct")
    assert sources.locate("acme/model@v1.0", "torch") == ("hub", "acme/model@v1.0")


@pytest.mark.parametrize(
    ("typed", "meant"), [("qwen2.5-7", "qwen2.5-7b"), ("smolm2", "smollm2"), ("gemma-9b", "gemma")]
)
def test_a_misspelt_name_is_answered_with_what_was_meant(typed: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean .*{meant}.*models list"):
        sources.locate(typed, "torch")


@pytest.mark.parametrize("path", ["./nowhere", "/nowhere/at/all", "~/nowhere", "some/deep/path"])
def test_a_path_that_is_not_there_is_not_looked_up_on_the_hub(path: str) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        sources.locate(path, "torch")


def test_a_file_is_answered_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"weights")
    with pytest.raises(UsageError, match="give the folder"):
        sources.locate(str(tmp_path / "weights.bin"), "torch")


def test_a_local_folder_is_described(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    source = sources.resolve(str(folder), "torch")
    assert source.folder == folder.resolve()
    assert source.weight_bytes == (folder / "model.safetensors").stat().st_size
    assert source.quantization == "none"
    assert source.config["model_type"] == "llama"
    assert source.revision.startswith("sha256:")


def test_the_revision_of_a_folder_follows_its_content_not_its_place(tmp_path: Path) -> None:
    first, same = write_model(tmp_path / "a"), write_model(tmp_path / "b")
    tuned, configured = write_model(tmp_path / "c", seed=1), write_model(tmp_path / "d", rope_theta=1e6)
    revisions = [sources.resolve(str(folder), "torch").revision for folder in (first, same, tuned, configured)]
    assert revisions[0] == revisions[1]
    assert len(set(revisions)) == 3


def test_a_large_file_is_told_apart_from_one_of_the_same_size(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(noise.bytes(33 * 2**20))
    assert folders.content_hash(tmp_path / "a") != folders.content_hash(tmp_path / "b")


@pytest.mark.parametrize(
    ("missing", "said"),
    [("config.json", "config.json"), ("model.safetensors", "safetensors"), ("tokenizer.json", "tokenizer")],
)
def test_an_incomplete_folder_says_what_is_missing(tmp_path: Path, missing: str, said: str) -> None:
    folder = write_model(tmp_path / "model")
    (folder / missing).unlink()
    with pytest.raises(ModelError, match=f"holds no .*{said}"):
        sources.resolve(str(folder), "torch")


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    index = {"weight_map": {"w": "model.safetensors", "v": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"lacks 1 of 2 weight files \(model-2.safetensors\)"):
        sources.resolve(str(folder), "torch")


def test_a_damaged_configuration_is_named(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "config.json").write_text('{"model_type": ')
    with pytest.raises(ModelError, match=r"config\.json cannot be read"):
        sources.resolve(str(folder), "torch")


def test_weights_quantised_for_mlx_are_refused_on_torch(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", quantization={"bits": 4, "group_size": 64})
    assert sources.resolve(str(folder), "mlx").quantization == "4-bit (group 64)"
    with pytest.raises(ModelError, match="use --backend mlx"):
        sources.resolve(str(folder), "torch")
    with pytest.raises(ModelError, match="google/gemma-2-9b-it"):
        support.check_weights("mlx-community/gemma-2-9b-it-4bit", {"quantization": {"bits": 4}}, "torch")


def test_bitsandbytes_weights_are_refused_on_mlx(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", quantization_config={"quant_method": "bitsandbytes"})
    with pytest.raises(ModelError, match="bitsandbytes, which mlx-lm cannot read"):
        sources.resolve(str(folder), "mlx")


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "mistral", "gemma2", "gemma3_text"])
def test_the_families_of_the_project_are_known_to_both_libraries(kind: str) -> None:
    for backend in ("torch", "mlx"):
        support.check_architecture("some/model", {"model_type": kind}, backend)


def test_a_model_without_a_text_generator_is_refused() -> None:
    for backend in ("torch", "mlx"):
        with pytest.raises(ModelError, match="clip"):
            support.check_architecture("some/model", {"model_type": "clip"}, backend)


def test_needed_memory_is_counted_by_hand() -> None:
    config = {
        "dtype": "bfloat16",
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "hidden_size": 3584,
    }
    # Qwen2.5-7B: 128 wide heads; keys and values of 28 layers and 4 heads in 2 bytes are 57 344 bytes per position.
    assert memory.cache_bytes(config, 2) == 57_344
    weights = 15_230_000_000
    assert memory.needed(weights, config) == int(weights * 1.05) + memory.POSITIONS * 57_344 + 300_000_000
    # Twice the bytes in float32, for weights and cache alike.
    assert memory.needed(weights, config, dtype="float32") == (
        int(2 * weights * 1.05) + memory.POSITIONS * 2 * 57_344 + 300_000_000
    )
    # 4.5 of 16 bits.
    four = memory.needed(weights, config, quantize="4bit") - memory.POSITIONS * 57_344 - 300_000_000
    assert four == pytest.approx(weights * 1.05 * 4.5 / 16, rel=1e-6)
    # Weights that are quantised already are taken as they are.
    assert memory.needed(10**9, {**config, "quantization": {"bits": 4}}, dtype="float32") < 2 * 10**9


def test_the_estimate_holds_for_a_model_that_is_loaded(tiny: Callable[[str], Path]) -> None:
    """Against the tensors themselves rather than file sizes."""
    import torch
    from transformers import AutoModelForCausalLM

    source = sources.resolve(str(tiny("llama")), "torch")
    model = AutoModelForCausalLM.from_pretrained(source.folder, dtype=torch.bfloat16)
    held = sum(p.numel() * p.element_size() for p in model.parameters())
    estimate = memory.needed(source.weight_bytes, source.config, dtype="bfloat16")
    assert held <= estimate - 300_000_000
    cache = model.config.num_hidden_layers * 2 * model.config.num_key_value_heads * model.config.head_dim * 2
    assert memory.cache_bytes(source.config, 2) == cache


def test_a_model_that_does_not_fit_is_refused_with_ones_that_do() -> None:
    verdict = memory.fits(65_520_000_000, free=24_000_000_000)
    with pytest.raises(
        ModelError, match=r"qwen2.5-32b does not fit on cuda: it needs about 69\.1 GB, 24\.0 GB"
    ) as said:
        memory.check_fits("qwen2.5-32b", verdict, backend="torch", device="cuda")
    suggested = str(said.value).rpartition("fit: ")[2].split(", ")
    assert suggested
    for name in suggested:
        alias = aliases.find(name)
        assert alias is not None
        assert memory.fits(alias.weight_bytes("torch"), free=24_000_000_000).fits
    # Larger ones do not.
    largest = max(alias.parameters for alias in aliases.ALIASES if alias.name in suggested)
    for alias in aliases.ALIASES:
        if alias.parameters > largest:
            assert not memory.fits(alias.weight_bytes("torch"), free=24_000_000_000).fits


def test_where_nothing_fits_the_embedded_model_is_left() -> None:
    with pytest.raises(ModelError, match="smollm2"):
        memory.check_fits("qwen2.5-7b", memory.fits(15 * 10**9, free=10**9), backend="torch", device="cpu")


def test_a_sixteen_gigabyte_mac_holds_the_default_model_but_not_the_largest() -> None:
    free = 11_000_000_000
    fitting = {alias.name for alias in aliases.ALIASES if memory.fits(alias.weight_bytes("mlx"), free=free).fits}
    assert {"qwen2.5-3b", "qwen2.5-7b", "llama-3.2-3b", "mistral-7b", "gemma-2-9b"} <= fitting
    assert "qwen2.5-32b" not in fitting


def test_a_containers_limit_counts(tmp_path: Path) -> None:
    outside = memory.machine(tmp_path / "no control group")
    assert 0 < outside.free <= outside.total
    (tmp_path / "memory.max").write_text("1000000000\n")
    (tmp_path / "memory.current").write_text("700000000\n")
    (tmp_path / "memory.stat").write_text("anon 400000000\nfile 300000000\n")
    inside = memory.machine(tmp_path)
    assert (inside.total, inside.free) == (1_000_000_000, 600_000_000)
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.machine(tmp_path).total == outside.total
