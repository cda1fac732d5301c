"""Tiny random models of several families, as folders that PyTorch and MLX both load.

They are complete: configuration, float32 weights, tokenizer with a chat template, generation settings. Weights are
drawn larger than a trainer would, so that a random model has opinions: its greedy tokens change from step to step and
differ clearly from the second-best, which is what tests of equality need.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

FAMILIES = ("llama", "qwen2", "qwen3", "mistral", "gemma2", "gemma3")

VOCABULARY = 448
"""Rows of the embedding; the tokenizer knows fewer ids, as Qwen's does."""

CONTEXT = 512

TORCH_DEVICE = os.environ.get("MLXINTRO_TEST_DEVICE", "cpu")
"""Where the contract is held on PyTorch; `make gpu` says cuda:0."""

_BEGIN, _END, _START = "<|begin|>", "<|im_end|>", "<|im_start|>"
_TEMPLATE = (
    "{{ bos_token or '' }}"
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_CORPUS = (
    "I do not detect an injected thought. Yes, I notice a thought about the ocean. "
    "You are an interpretability researcher. Tell me about the bread, the mountains, the music and the silence. "
    "The quick brown fox jumps over the lazy dog while thinking about something else entirely. "
    "On each trial there is a chance that I will inject a thought into your activations. Ok. Trial 1: do you notice it?"
)


def make_tiny(
    family: str,
    folder: Path,
    *,
    seed: int = 0,
    layers: int = 4,
    width: int = 64,
    sliding_window: int | None = None,
) -> Path:
    """Write a random model of a family into a folder.

    Args:
        family: one of ``FAMILIES``.
        folder: made if missing.
        sliding_window: for ``mistral``, ``gemma2``, ``gemma3``. By default Gemma 3 alternates layers with a window of
            32 and full ones, Gemma 2 has a window nothing reaches (mlx-lm ignores it), and Mistral has none.

    Returns:
        The folder.
    """
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(begins=family not in ("qwen2", "qwen3"))
    tokenizer.save_pretrained(folder)
    end = tokenizer.convert_tokens_to_ids([_END, "<|endoftext|>"])
    config = _config(family, layers, width, sliding_window)
    config.bos_token_id, config.eos_token_id, config.pad_token_id = tokenizer.bos_token_id, end[0], end[1]
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    _initialise(model, seed)
    model.generation_config = GenerationConfig(eos_token_id=end, bos_token_id=tokenizer.bos_token_id)
    model.save_pretrained(folder)
    _write_rope_twice(folder / "config.json")
    return folder


def _config(family: str, layers: int, width: int, sliding_window: int | None) -> Any:
    from transformers import AutoConfig

    common = {
        "vocab_size": VOCABULARY,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": width // 4,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-6,
    }
    alternating = ["full_attention" if i % 2 else "sliding_attention" for i in range(layers)]
    rope = {"rope_type": "default", "rope_theta": 50_000.0}
    special: dict[str, Any]
    if family == "llama":
        special = {"rope_parameters": rope, "tie_word_embeddings": True}
    elif family == "qwen2":
        special = {"rope_parameters": rope, "tie_word_embeddings": False, "use_sliding_window": False}
    elif family == "qwen3":
        special = {"rope_parameters": rope, "tie_word_embeddings": True, "use_sliding_window": False}
    elif family == "mistral":
        special = {"rope_parameters": rope, "tie_word_embeddings": False, "sliding_window": sliding_window}
    elif family == "gemma2":
        special = {
            "rope_parameters": rope,
            "sliding_window": sliding_window or CONTEXT,
            "layer_types": alternating,
            "query_pre_attn_scalar": width // 4,
            # Low caps, so that leaving one out changes the text.
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 3.0,
        }
    elif family == "gemma3":
        special = {
            "rope_parameters": {
                "full_attention": {"rope_type": "default", "rope_theta": 1_000_000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
            },
            "sliding_window": sliding_window or 32,
            "layer_types": alternating,
            "query_pre_attn_scalar": width // 4,
        }
    else:
        raise ValueError(f"no tiny model of family {family}; there are {', '.join(FAMILIES)}")
    return AutoConfig.for_model("gemma3_text" if family == "gemma3" else family, **common, **special)


def _initialise(model: Any, seed: int) -> None:
    import torch

    generator = torch.Generator().manual_seed(seed)
    gemma = model.config.model_type.startswith("gemma")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name:
                # Signs at random in the final norm: otherwise tied embeddings repeat the token just read, forever.
                scale = noise if name.endswith("model.norm.weight") else 1 + 0.1 * noise
                parameter.copy_(scale - 1 if gemma else scale)  # Gemma's norms scale by 1 + weight.
            elif name.endswith("bias"):
                parameter.copy_(0.1 * noise)
            else:
                parameter.copy_(noise * parameter.shape[-1] ** -0.5)


def _write_rope_twice(path: Path) -> None:
    """Add the top-level spelling of the rotary base: mlx-lm reads that one, transformers 5 writes only the other."""
    config = json.loads(path.read_text())
    rope = config["rope_parameters"]
    if "full_attention" in rope:
        config["rope_theta"] = rope["full_attention"]["rope_theta"]
        config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        config["sliding_window_pattern"] = 2
    else:
        config["rope_theta"] = rope["rope_theta"]
    path.write_text(json.dumps(config, indent=2))


def _tokenizer(*, begins: bool) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    specials = ["<|endoftext|>", _START, _END, *([_BEGIN] if begins else [])]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=specials,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    core.train_from_iterator([_CORPUS], trainer)
    if begins:
        core.post_processor = processors.TemplateProcessing(
            single=f"{_BEGIN} $A", special_tokens=[(_BEGIN, core.token_to_id(_BEGIN))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=_BEGIN if begins else None,
        eos_token=_END,
        pad_token="<|endoftext|>",
        chat_template=_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
