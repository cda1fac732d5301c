"""Small GGUF files for tests, written from a tiny model's folder by the gguf package."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter
from gguf.quants import quantize
from safetensors import safe_open

from mlxintro.backends.models.embedded import find_gguf

Kind = Callable[[str], str]

_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_RULES = {"llama": "gpt-2", "qwen2": "gpt-2"}

__all__ = ["blocks", "find_gguf", "write_gguf"]


def gguf_name(name: str) -> str:
    """llama.cpp's name of a Hugging Face tensor."""
    stem, _, suffix = name.rpartition(".")
    other = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    if stem in other:
        return f"{other[stem]}.{suffix}"
    _, _, number, module = stem.split(".", 3)
    return f"blk.{number}.{_NAMES[module]}.{suffix}"


def blocks(kind: str, rows: int, columns: int, seed: int) -> np.ndarray:
    """Rows of random blocks with ordinary scales: any bytes are quants, but not any are finite scales."""
    size, width = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, 256, (rows, columns // size, width), np.uint8)
    raw[..., :2] = _halves(rng.uniform(0.001, 0.02, raw.shape[:2]))
    if kind.endswith(("_1", "_K")):
        raw[..., 2:4] = _halves(rng.uniform(-0.02, 0.02, raw.shape[:2]))
    return raw.reshape(rows, -1)


def _halves(values: np.ndarray) -> np.ndarray:
    return values.astype("<f2")[..., None].view(np.uint8)


def write_gguf(
    folder: Path,
    target: Path,
    kind: Kind,
    *,
    extra: Mapping[str, Any] | None = None,
    only: Callable[[int], bool] = lambda number: True,
    metadata: bool = True,
    rule: str | None = "gpt-2",
    template: bool = True,
) -> Path:
    """Write a tiny Llama or Qwen2 folder as a GGUF file.

    Args:
        kind: how a tensor of that name is stored.
        extra: more metadata, by key.
        only: which tensors, by number, go into this file.
        metadata: whether settings and tokenizer do.
        rule: how the tokenizer splits text, as llama.cpp calls it.
        template: whether the chat template is written.
    """
    config = json.loads((folder / "config.json").read_text())
    family = config["model_type"]
    writer = GGUFWriter(target, family)
    if metadata:
        _settings(writer, config, family)
        _tokenizer(writer, folder, rule, template)
    for name, value in (extra or {}).items():
        if isinstance(value, str):
            writer.add_string(name, value)
        elif isinstance(value, float):
            writer.add_float32(name, value)
        else:
            writer.add_uint32(name, value)
    with safe_open(folder / "model.safetensors", "np") as file:
        for number, name in enumerate(sorted(file.keys())):
            if only(number):
                _add(writer, gguf_name(name), file.get_tensor(name), config, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def _add(writer: GGUFWriter, name: str, array: np.ndarray, config: Mapping[str, Any], kind: Kind) -> None:
    part = name.split(".")[-2]
    if config["model_type"] == "llama" and part in ("attn_q", "attn_k"):
        # llama.cpp keeps the two numbers of a rotary pair side by side.
        heads = config["num_attention_heads" if part == "attn_q" else "num_key_value_heads"]
        array = array.reshape(heads, 2, -1, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)
    if array.ndim == 1:
        writer.add_tensor(name, array)
        return
    wanted = GGMLQuantizationType[kind(name)]
    if wanted.name in ("Q4_K", "Q5_K"):
        packed = blocks(wanted.name, array.shape[0], array.shape[1], seed=len(name))
    else:
        packed = quantize(np.ascontiguousarray(array), wanted)
    if wanted.name == "F32":
        writer.add_tensor(name, packed)
    else:
        writer.add_tensor(name, packed, raw_dtype=wanted)


def _settings(writer: GGUFWriter, config: Mapping[str, Any], family: str) -> None:
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])


def _tokenizer(writer: GGUFWriter, folder: Path, rule: str | None, template: bool) -> None:
    data = json.loads((folder / "tokenizer.json").read_text())
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    special = {token["content"] for token in data["added_tokens"]}
    vocabulary = data["model"]["vocab"]
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    writer.add_tokenizer_model("gpt2")
    if rule is not None:
        writer.add_tokenizer_pre(rule)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in data["model"]["merges"]])
    writer.add_eos_token_id(vocabulary[settings["eos_token"]])
    writer.add_pad_token_id(vocabulary[settings["pad_token"]])
    begin = settings.get("bos_token")
    if begin:
        writer.add_bos_token_id(vocabulary[begin])
    writer.add_add_bos_token(bool(begin))
    if template:
        written = folder / "chat_template.jinja"
        writer.add_chat_template(written.read_text() if written.exists() else settings["chat_template"])
