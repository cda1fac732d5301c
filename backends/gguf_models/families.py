"""Configuration and tensor names of the families that load from GGUF: Llama and Qwen2, chat and base models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ModelError
from .container import GGUFContent, GGUFTensor

CLASSES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM"}
"""Architecture as llama.cpp calls it -> transformers' class."""

_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OTHER_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_FREQUENCIES = "rope_freqs.weight"
_LLAMA3_FACTORS = (8.0, 32.0)
"""How much Llama 3.1 and 3.2 stretch the rotary embedding; files hold the frequencies that come of it."""


def check(content: GGUFContent, name: str) -> None:
    """See that a file holds a model of these families.

    Raises:
        ModelError: it does not.
    """
    kind = content.architecture
    if kind not in CLASSES:
        raise ModelError(
            f"{name} is a GGUF file of the family {kind}: files of {' and '.join(CLASSES)} load; give another model's "
            "folder or hub id"
        )
    if content.get(f"{kind}.expert_count"):
        raise ModelError(f"{name} is a mixture of experts, which does not load from GGUF: give its folder or hub id")


def target_name(tensor: str) -> tuple[str, str]:
    """Return where a tensor goes: path in the model with ``.weight`` or ``.bias``, and what llama.cpp calls the module.

    Raises:
        ModelError: the families have no such tensor.
    """
    stem, _, suffix = tensor.rpartition(".")
    parts = stem.split(".")
    part = parts[-1]
    if parts[0] == "blk" and len(parts) == 3 and part in _LAYER_NAMES:
        return f"model.layers.{parts[1]}.{_LAYER_NAMES[part]}.{suffix}", part
    if stem in _OTHER_NAMES:
        return f"{_OTHER_NAMES[stem]}.{suffix}", stem
    raise ModelError(f"the file holds {tensor}, which a model of its family does not have: take another file")


def weight_tensors(content: GGUFContent) -> list[GGUFTensor]:
    """Return the tensors that are weights."""
    return [tensor for tensor in content.tensors if tensor.name != _FREQUENCIES]


def rotary_heads(content: GGUFContent, part: str) -> int | None:
    """Return the heads of a projection whose rows llama.cpp keeps in another order; ``None`` for all others.

    Files of the Llama family have the rotary pairs of each head side by side. Hugging Face and MLX keep the halves of a
    head apart. Qwen2's files are not reordered.
    """
    if content.architecture != "llama" or part not in ("attn_q", "attn_k"):
        return None
    field = "head_count" if part == "attn_q" else "head_count_kv"
    return int(content.get(f"llama.attention.{field}", content.get("llama.attention.head_count")))


def unpermuted(rows: Any, heads: int) -> Any:
    """Return the rows of a projection in the order of Hugging Face and MLX.

    Rows are whole output channels, so packed weights, scales, biases and vectors are reordered alike.
    """
    half = rows.shape[0] // heads // 2
    return np.ascontiguousarray(rows.reshape(heads, half, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape))


def configuration(content: GGUFContent) -> dict[str, Any]:
    """Return a ``config.json`` that says what the file says.

    Raises:
        ModelError: the file lacks a value, or stretches the rotary embedding in a way that cannot be expressed.
    """
    kind = content.architecture
    shapes = {tensor.name: tensor for tensor in content.tensors}

    def field(name: str) -> Any:
        found = content.get(f"{kind}.{name}")
        if found is None:
            raise ModelError(f"{content.path} does not say its {kind}.{name}: convert the model again with llama.cpp")
        return found

    width, heads = int(field("embedding_length")), int(field("attention.head_count"))
    theta = float(content.get(f"{kind}.rope.freq_base", 10_000.0))
    config: dict[str, Any] = {
        "architectures": [CLASSES[kind]],
        "model_type": kind,
        "hidden_size": width,
        "intermediate_size": int(field("feed_forward_length")),
        "num_hidden_layers": int(field("block_count")),
        "num_attention_heads": heads,
        "num_key_value_heads": int(content.get(f"{kind}.attention.head_count_kv", heads)),
        "head_dim": int(content.get(f"{kind}.attention.key_length", width // heads)),
        "vocab_size": int(shapes["token_embd.weight"].data.shape[0]),
        "max_position_embeddings": int(field("context_length")),
        "hidden_act": "silu",
        # Files hold the float32 nearest to 1e-5 or 1e-6.
        "rms_norm_eps": round(float(field("attention.layer_norm_rms_epsilon")), 9),
        "attention_bias": "blk.0.attn_q.bias" in shapes,
        "mlp_bias": "blk.0.ffn_up.bias" in shapes,
        "tie_word_embeddings": "output.weight" not in shapes,
        "dtype": "float32",
        **_special_ids(content),
    }
    if kind == "qwen2":
        config["use_sliding_window"] = False
    stretched = _stretching(content, shapes.get(_FREQUENCIES), theta, config["head_dim"])
    # mlx-lm reads the first and the third, transformers 5 the second.
    config |= {"rope_theta": theta, "rope_parameters": {"rope_theta": theta, **(stretched or {"rope_type": "default"})}}
    return config | ({"rope_scaling": stretched} if stretched else {})


def _special_ids(content: GGUFContent) -> dict[str, int]:
    found = {}
    for role, name in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
        value = content.get(f"tokenizer.ggml.{name}_token_id")
        if value is not None:
            found[f"{role}_token_id"] = int(value)
    return found


def _stretching(
    content: GGUFContent, frequencies: GGUFTensor | None, theta: float, head_dim: int
) -> dict[str, Any] | None:
    """Return how the rotary embedding is stretched, as transformers and mlx-lm are told; ``None`` where it is not."""
    kind = content.architecture
    if frequencies is not None:
        return _llama3(np.asarray(frequencies.data, np.float32).ravel(), theta, head_dim)
    how = content.get(f"{kind}.rope.scaling.type", "none")
    factor = content.get(f"{kind}.rope.scaling.factor")
    if how == "none" or (how == "linear" and factor in (None, 0.0, 1.0)):
        return None
    if how == "linear":
        return {"rope_type": "linear", "factor": float(factor)}
    raise ModelError(
        f"the file stretches its rotary embedding by {how}, which is not read from GGUF: give the model's folder or "
        "hub id"
    )


def _llama3(found: Any, theta: float, head_dim: int) -> dict[str, Any]:
    """The setting of Llama 3.1 and later that gives these divisors of the frequencies."""
    for factor in _LLAMA3_FACTORS:
        setting = {
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        }
        expected = llama3_divisors(setting, theta, head_dim)
        if len(found) == len(expected) and np.allclose(found, expected, rtol=1e-4):
            return setting
    raise ModelError("the file holds rotary frequencies of a kind that is not known: give the model's folder or hub id")


def llama3_divisors(setting: Mapping[str, Any], theta: float, head_dim: int) -> Sequence[float]:
    """Return by what Llama 3.1 divides each rotary frequency (its technical report, and transformers' ``llama3``)."""
    whole = setting["original_max_position_embeddings"]
    low, high, factor = setting["low_freq_factor"], setting["high_freq_factor"], setting["factor"]
    divisors = []
    for at in range(0, head_dim, 2):
        wavelength = 2 * np.pi * theta ** (at / head_dim)
        # 0 where waves are long against the context, 1 where they are short.
        smooth = float(np.clip((whole / wavelength - low) / (high - low), 0.0, 1.0))
        divisors.append(1.0 / ((1 - smooth) / factor + smooth))
    return divisors
