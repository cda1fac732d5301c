"""What mlx-lm would load wrongly, or not at all, and what its models have no place for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from mlxintro.backends.base import Prompt, Request, Sampling
from mlxintro.backends.errors import ModelError, UsageError
from mlxintro.backends.mlxlm import backend as mlx_backend
from mlxintro.backends.mlxlm.backend import MLXBackend
from mlxintro.backends.mlxlm.cache import GroupedKVCache
from mlxintro.backends.mlxlm.patch import find_blocks
from mlxintro.backends.models.sources import resolve
from tests.gguf_files import write_gguf
from tests.mlx_models import blocks_of, injected, load


@pytest.fixture
def backend(tiny: Callable[[str], Path]) -> Iterator[MLXBackend]:
    with load(tiny("llama")) as opened:
        yield opened


def test_a_family_that_scales_its_branches_has_no_such_sites(
    tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with load(tiny("llama")) as backend:
        block = type(blocks_of(backend)[0])

        def scaled(self: Any, x: mx.array, mask: Any = None, cache: Any = None) -> mx.array:
            h = x + 0.22 * self.self_attn(self.input_layernorm(x), mask, cache)
            return h + 0.22 * self.mlp(self.post_attention_layernorm(h))

        monkeypatch.setattr(block, "__call__", scaled)
        with pytest.raises(ModelError, match="use the site resid_post"):
            backend.capture([Prompt((5, 6))], sites=["mlp_out"])


def test_a_model_without_a_list_of_blocks_is_named() -> None:
    class Recurrent(nn.Module):
        model_type = "strange"

    with pytest.raises(ModelError, match="strange"):
        find_blocks(Recurrent())


def test_heads_grouped_in_an_axis_of_their_own_get_a_mask_that_fits(tiny: Callable[[str], Path]) -> None:
    """mlx-lm's Gemma 2 broadcasts a mask per row over its heads; with two rows and two heads, silently."""
    with load(tiny("gemma2")) as backend:
        assert backend._network.padding is GroupedKVCache
        rows = [Request(Prompt(tuple(range(5, 5 + n))), Sampling(max_tokens=8)) for n in (9, 14)]
        together = {reply.index: reply.tokens for reply in backend.generate(rows)}
        alone = {index: next(iter(backend.generate([row]))).tokens for index, row in enumerate(rows)}
        assert together == alone


def edited(folder: Path, target: Path, **changes: Any) -> Path:
    """A copy of a model folder with config.json changed; ``None`` removes a key."""
    shutil.copytree(folder, target)
    config = json.loads((target / "config.json").read_text())
    config = {key: value for key, value in {**config, **changes}.items() if value is not None}
    (target / "config.json").write_text(json.dumps(config))
    return target


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_rotary_base_that_mlx_lm_would_not_read_is_refused(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    missing = refusal(edited(tiny("llama"), tmp_path / "missing", rope_theta=None))
    assert "no rope_theta" in missing
    assert '"rope_theta": 50000' in missing
    disagreeing = refusal(edited(tiny("qwen2"), tmp_path / "other", rope_theta=1e6))
    assert "rope_theta is 1000000" in disagreeing
    local = refusal(edited(tiny("gemma3"), tmp_path / "local", rope_local_base_freq=5e4))
    assert "rope_local_base_freq" in local


def test_a_rotary_scaling_that_mlx_lm_would_not_read_is_refused(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    scaled = {"rope_type": "linear", "factor": 4.0, "rope_theta": 50_000.0}
    assert "rope_scaling" in refusal(edited(tiny("llama"), tmp_path / "unread", rope_parameters=scaled))
    with load(edited(tiny("llama"), tmp_path / "read", rope_parameters=scaled, rope_scaling=scaled)) as backend:
        assert backend._network.blocks[0].self_attn.rope.scale == 0.25


def test_qwen3_reads_rope_parameters_by_itself(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    with load(edited(tiny("qwen3"), tmp_path / "nested", rope_theta=None)) as backend:
        assert backend._network.blocks[0].self_attn.rope.base == 50_000


def test_a_sliding_window_that_mlx_lm_ignores_bounds_the_context(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    with load(edited(tiny("mistral"), tmp_path / "mistral", sliding_window=32)) as backend:
        assert backend.info.context == 32
        with pytest.raises(UsageError, match="context of 32"):
            backend.capture([Prompt(tuple(range(40)))])
    with load(tiny("gemma3")) as backend:
        assert backend.info.context == 512


def test_what_mlx_lm_cannot_load_is_one_line(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    assert "nosuch" in refusal(edited(tiny("llama"), tmp_path / "type", model_type="nosuch"))
    assert "says 5 layers, its weights hold 4" in refusal(edited(tiny("llama"), tmp_path / "l", num_hidden_layers=5))
    assert "another form" in refusal(edited(tiny("llama"), tmp_path / "shape", intermediate_size=160))
    assert "'hidden_size'" in refusal(edited(tiny("llama"), tmp_path / "key", hidden_size=None))
    corrupt = edited(tiny("llama"), tmp_path / "corrupt")
    data = (corrupt / "model.safetensors").read_bytes()
    (corrupt / "model.safetensors").write_bytes(data[:100])
    assert "damaged or cut short" in refusal(corrupt)
    (corrupt / "model.safetensors").write_bytes(data[: len(data) // 2])
    assert "again" in refusal(corrupt)


def test_settings_that_do_not_exist_are_named(tiny: Callable[[str], Path]) -> None:
    for settings in ({"dtype": "int8"}, {"device": "tpu"}, {"quantize": "3bit"}):
        with pytest.raises(UsageError, match=str(next(iter(settings.values())))):
            load(tiny("llama"), **settings)


def test_a_model_stored_in_the_bits_that_are_asked_for_stays_as_it_is(
    tiny: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLXINTRO_HOME", str(tmp_path / "home"))
    source = resolve(str(write_gguf(tiny("qwen2"), tmp_path / "model.gguf", lambda _: "Q4_1")), "mlx")
    prompt = Prompt(tuple(range(5, 25)))
    with mlx_backend.load(source) as plain, mlx_backend.load(source, quantize="4bit") as asked:
        assert asked.info == plain.info
        assert asked.info.quantization == "4-bit (group 32)"
        one, other = (next(iter(backend.capture([prompt])))["resid_post"] for backend in (plain, asked))
        assert np.array_equal(one, other)
    with pytest.raises(UsageError, match=r"4-bit .* already: leave the quantisation out"):
        mlx_backend.load(source, quantize="8bit")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("quantize", [None, "4bit"])
def test_the_stream_has_the_dtype_that_was_asked_for(
    tiny: Callable[[str], Path], dtype: str, quantize: str | None
) -> None:
    with load(tiny("qwen2"), dtype=dtype, quantize=quantize) as backend:
        assert backend.info.dtype == dtype
        assert backend.info.quantization == ("4-bit (group 64)" if quantize else "none")
        [reply] = backend.generate([Request(injected(), Sampling(max_tokens=3))])
        assert reply.proofs[0].positions == reply.forwarded - 3
