"""GGUF files as models: numbers, order of rows and tokens, each against transformers' or gguf's own reading."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader
from gguf.quants import dequantize

from mlxintro.backends.base import Prompt, Request, Sampling
from mlxintro.backends.errors import ModelError, UsageError
from mlxintro.backends.gguf_models import container, convert, families, packing
from mlxintro.backends.gguf_models.container import GGUFTensor
from mlxintro.backends.models import sources
from mlxintro.backends.models.tokenizer import ChatTokenizer
from tests.gguf_files import blocks, write_gguf
from tests.tiny import make_tiny

TOKENS = (7, 60, 111, 42, 300, 18, 9, 250)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLXINTRO_HOME", str(tmp_path / "home"))


def mixed(name: str) -> str:
    """As llama.cpp mixes: the embedding in eight bits, some maps in five, the head of its own kind."""
    if name.startswith("token_embd"):
        return "Q8_0"
    if name.startswith("output"):
        return "F16"
    return {"attn_v": "Q5_0", "ffn_down": "Q5_1", "attn_k": "Q4_0"}.get(name.split(".")[2], "Q4_1")


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@pytest.mark.filterwarnings("ignore")
def test_logits_equal_those_of_transformers_own_gguf_reader(
    tiny: Callable[[str], Path], tmp_path: Path, family: str
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    file = write_gguf(tiny(family), tmp_path / "model.gguf", mixed)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=file.name, dtype=torch.float32).eval()
    source = sources.resolve(str(file), "torch")
    ours = AutoModelForCausalLM.from_pretrained(source.folder, dtype=torch.float32).eval()
    for name in ("hidden_size", "num_attention_heads", "num_key_value_heads", "rms_norm_eps", "tie_word_embeddings"):
        assert getattr(ours.config, name) == pytest.approx(getattr(theirs.config, name), rel=1e-6), name
    with torch.no_grad():
        mine = ours(torch.tensor([TOKENS])).logits
        torch.testing.assert_close(mine, theirs(torch.tensor([TOKENS])).logits, rtol=1e-5, atol=1e-5)
        # Not all the same anyway: another order of one projection's rows changes the outcome.
        weight = ours.model.layers[0].self_attn.q_proj.weight
        weight.copy_(weight.flip(0))
        assert not torch.allclose(ours(torch.tensor([TOKENS])).logits, mine, atol=1e-3)


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_both_backends_speak_alike_with_one_file(tiny: Callable[[str], Path], tmp_path: Path, family: str) -> None:
    pytest.importorskip("mlx.core")
    from mlxintro.backends.registry import open_backend

    file = write_gguf(tiny(family), tmp_path / "model.gguf", mixed)
    said: list[Any] = []
    for backend in ("torch", "mlx"):
        with open_backend(str(file), backend, device="cpu") as opened:
            tokens = opened.tokenizer.encode("Tell me about the ocean").tokens
            request = Request(Prompt(tokens), Sampling(max_tokens=12, temperature=0.0))
            said.append(next(iter(opened.generate([request]))).tokens)
            said.append(opened.capture([Prompt(tokens)])[0]["resid_post"])
            if backend == "mlx":
                assert opened.info.quantization == "4-bit (group 32)"
                assert opened.info.dtype == "float32"
    assert said[0] == said[2]
    np.testing.assert_allclose(said[1], said[3], rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", sorted(packing.AFFINE))
def test_mlx_holds_every_affine_kind_without_rounding(kind: str) -> None:
    mx = pytest.importorskip("mlx.core")
    data = blocks(kind, 24, 512, seed=3)
    expected = dequantize(data, GGMLQuantizationType[kind])
    affine = packing.repacked(GGUFTensor("blk.0.ffn_up.weight", kind, data))
    assert affine is not None
    with mx.stream(mx.cpu):
        found = mx.dequantize(
            mx.array(affine.packed),
            mx.array(affine.scales),
            mx.array(affine.biases),
            group_size=32,
            bits=packing.AFFINE[kind],
        )
    # One multiplication and one addition in float32 on either side, in one or two roundings.
    np.testing.assert_allclose(np.array(found), expected, rtol=0, atol=1e-7 * np.abs(expected).max())
    assert len(np.unique(expected)) > 1000


def test_what_is_not_affine_in_groups_of_32_stays_float32_on_mlx(tmp_path: Path) -> None:
    folder = make_tiny("llama", tmp_path / "wide", layers=1, width=256)
    kinds = {"attn_q": "Q4_K", "attn_k": "Q5_K", "ffn_up": "F16"}
    file = write_gguf(folder, tmp_path / "model.gguf", lambda name: kinds.get(name.split(".")[-2], "Q8_0"))
    source = sources.resolve(str(file), "mlx")
    settings = source.config["quantization"]
    assert settings["bits"] == 8
    assert settings["model.layers.0.self_attn.q_proj"]["bits"] == 4
    assert settings["model.layers.0.self_attn.k_proj"]["bits"] == 5
    assert settings["model.layers.0.mlp.up_proj"] is False


def test_a_model_in_several_files_is_the_one_in_a_single_file(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    whole = write_gguf(tiny("llama"), tmp_path / "whole.gguf", mixed)
    for part in (0, 1):
        write_gguf(
            tiny("llama"),
            tmp_path / f"cut-0000{part + 1}-of-00002.gguf",
            mixed,
            only=lambda number, part=part: number % 2 == part,  # type: ignore[misc]
            metadata=part == 0,
        )
    data = whole.read_bytes()
    for number, start in enumerate(range(0, len(data), 60_000), 1):
        (tmp_path / f"pieces.gguf.part{number}").write_bytes(data[start : start + 60_000])
    assert (tmp_path / "pieces.gguf.part3").exists()
    one, *others = (
        sources.resolve(str(tmp_path / name), "torch").folder
        for name in ("whole.gguf", "cut-00001-of-00002.gguf", "cut-00002-of-00002.gguf", "pieces.gguf.part2")
    )
    for other in others:
        assert (other / "config.json").read_bytes() == (one / "config.json").read_bytes()
        for name, array in weights(one).items():
            np.testing.assert_array_equal(weights(other)[name], array)
    (tmp_path / "cut-00002-of-00002.gguf").unlink()
    with pytest.raises(ModelError, match="holds 1 of the 2 parts of cut"):
        sources.resolve(str(tmp_path / "cut-00001-of-00002.gguf"), "torch")
    (tmp_path / "pieces.gguf.part2").unlink()
    with pytest.raises(ModelError, match=r"parts of pieces\.gguf"):
        sources.resolve(str(tmp_path / "pieces.gguf.part1"), "torch")


def weights(folder: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return {name: array for file in folder.glob("model*.safetensors") for name, array in load_file(file).items()}


def test_large_models_are_written_in_several_files(
    tiny: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_gguf(tiny("llama"), tmp_path / "model.gguf", mixed)
    whole = weights(sources.resolve(str(file), "torch").folder)
    monkeypatch.setattr(convert, "_SHARD", 100_000)
    source = sources.read_folder(
        convert.folder_of(container.files_of(file), "float32", cache=tmp_path / "small"), name="m", repository="m"
    )
    assert len(list(source.folder.glob("model-*-of-*.safetensors"))) > 3
    for name, array in weights(source.folder).items():
        np.testing.assert_array_equal(whole[name], array)


def test_the_tokenizer_and_template_are_those_the_file_was_made_from(
    tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    for family in ("llama", "qwen2"):
        file = write_gguf(tiny(family), tmp_path / f"{family}.gguf", mixed)
        ours = ChatTokenizer.load(sources.resolve(str(file), "torch").folder)
        theirs = ChatTokenizer.load(tiny(family))
        messages = [{"role": "user", "content": "Tell me about 2048 naïve oceans\n\n don't"}]
        rendered, expected = (one.render(messages) for one in (ours, theirs))
        assert (rendered.text, rendered.tokens, rendered.offsets) == (expected.text, expected.tokens, expected.offsets)
        assert ours.end_tokens == theirs.end_tokens
        assert ours.encode("I do not detect it.").tokens == theirs.encode("I do not detect it.").tokens


def test_a_base_model_without_a_template_gets_the_plain_dialogue(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    file = write_gguf(tiny("qwen2"), tmp_path / "base.gguf", mixed, template=False)
    tokenizer = ChatTokenizer.load(sources.resolve(str(file), "torch").folder)
    assert not tokenizer.chat_template
    assert tokenizer.render([{"role": "user", "content": "Hi"}]).text.startswith("Human: Hi")


def test_a_folder_that_holds_one_gguf_model_is_that_model(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    home = tmp_path / "models"
    home.mkdir()
    file = write_gguf(tiny("llama"), home / "one.gguf", mixed)
    assert sources.locate(str(home), "torch") == ("gguf", str(file))
    shutil.copy(file, home / "two.gguf")
    with pytest.raises(ModelError, match="holds 2 GGUF models"):
        sources.locate(str(home), "torch")


def test_identity_follows_the_content_and_not_the_name(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    file = write_gguf(tiny("llama"), tmp_path / "one.gguf", mixed)
    same = Path(shutil.copy(file, tmp_path / "two.gguf"))
    other = write_gguf(tiny("llama"), tmp_path / "three.gguf", lambda name: "Q8_0")
    first, second, third = (sources.resolve(str(path), "torch").revision for path in (file, same, other))
    assert first == second != third
    assert first.startswith("sha256:")


def test_a_llama_3_file_keeps_how_its_rotary_embedding_is_stretched() -> None:
    """Against transformers' own frequencies."""
    import torch
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    setting = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    config = LlamaConfig(hidden_size=512, num_attention_heads=4, rope_parameters={"rope_theta": 500_000.0, **setting})
    stretched, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    plain = 500_000.0 ** (-np.arange(0, 128, 2) / 128)
    np.testing.assert_allclose(families.llama3_divisors(setting, 500_000.0, 128), plain / stretched.numpy(), rtol=1e-5)
    assert families._llama3(plain / stretched.numpy(), 500_000.0, 128) == setting


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut short", "cannot be read|cannot be converted|tensors"),
        ("not gguf", "is not a GGUF file"),
        ("another family", "of the family gemma2"),
        ("unknown rule", "splits text by the rule 'made-up'"),
        ("no rule", "splits text by the rule None"),
        ("stretched", "stretches its rotary embedding by yarn"),
    ],
)
def test_what_cannot_be_read_rightly_is_refused_in_one_line(
    tiny: Callable[[str], Path], tmp_path: Path, how: str, message: str
) -> None:
    file = tmp_path / "model.gguf"
    extra: dict[str, Any] = {"llama.rope.scaling.type": "yarn"} if how == "stretched" else {}
    rule = {"unknown rule": "made-up", "no rule": None}.get(how, "gpt-2")
    write_gguf(tiny("llama"), file, mixed, extra=extra, rule=rule)
    if how == "cut short":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    elif how == "not gguf":
        file.write_bytes(b"nonsense")
    elif how == "another family":
        file.write_bytes(file.read_bytes().replace(b"\x05\0\0\0\0\0\0\0llama", b"\x06\0\0\0\0\0\0\0gemma2", 1))
    with pytest.raises(ModelError, match=message) as error:
        sources.resolve(str(file), "torch")
    assert "\n" not in str(error.value)
    assert not [path for path in (tmp_path / "home" / "cache").glob("*") if path.is_dir()], "something was left behind"


def test_another_kind_of_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(UsageError, match="no GGUF model"):
        sources.locate(str(tmp_path / "model.bin"), "torch")


def test_a_written_file_is_read_by_gguf_as_it_was_meant(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    file = write_gguf(tiny("llama"), tmp_path / "model.gguf", mixed)
    kinds = {tensor.name: tensor.tensor_type.name for tensor in GGUFReader(file).tensors}
    assert kinds["blk.0.attn_v.weight"] == "Q5_0"
    assert json.loads((tiny("llama") / "config.json").read_text())["model_type"] == "llama"
