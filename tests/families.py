"""Tiny random models of many families, held against transformers' own forward pass and between the backends.

``python -m tests.families NAME`` prints one JSON line of findings; ``python docs/families_table.py`` runs them all and
writes the table of the documentation and the data that the MLX backend goes by.
"""

from __future__ import annotations

import contextlib
import copy
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.tiny import VOCABULARY, _tokenizer

LAYERS = 4
TOLERANCE = 2e-3
"""Nats between log-probabilities of the same tokens, in float32: rounding stays far below, a wrong formula above."""

BASE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
}
ROPE: dict[str, Any] = {"rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0}}
PLAIN = BASE | ROPE
SLIDING = {"sliding_window": 16, "layer_types": ["sliding_attention"] * 3 + ["full_attention"]}
LINEAR = {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "linear_conv_kernel_dim": 4,
    "layer_types": ["linear_attention"] * 3 + ["full_attention"],
}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 32}
ROUTED = EXPERTS | {
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
}
LATENT = {"kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16, "head_dim": 8}


def half(**more: Any) -> dict[str, Any]:
    """Rotary embedding over half of each head."""
    return BASE | {"rope_parameters": ROPE["rope_parameters"] | {"partial_rotary_factor": 0.5}} | more


def yarn(**more: Any) -> dict[str, Any]:
    return {
        "rope_parameters": {
            "rope_type": "yarn",
            "rope_theta": 10_000.0,
            "factor": 16.0,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "original_max_position_embeddings": 128,
            **more,
        }
    }


FAMILIES: dict[str, dict[str, Any]] = {
    "apertus": PLAIN,
    "bloom": {"vocab_size": VOCABULARY, "hidden_size": 64, "n_layer": LAYERS, "n_head": 4},
    "cohere": PLAIN | {"logit_scale": 0.0625, "pad_token_id": 0},
    "cohere2": PLAIN | SLIDING | {"logit_scale": 0.25, "pad_token_id": 0},
    "deepseek_v2": PLAIN | LATENT | ROUTED | {"q_lora_rank": None, "topk_method": "greedy", "num_key_value_heads": 4},
    "deepseek_v3": PLAIN | LATENT | ROUTED | {"q_lora_rank": 32, "num_key_value_heads": 4},
    "dots1": PLAIN | ROUTED,
    "ernie4_5": PLAIN,
    "exaone4": PLAIN | SLIDING,
    "falcon": ROPE
    | {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "multi_query": True,
        "alibi": False,
    },
    "falcon_h1": PLAIN
    | {
        "mamba_d_ssm": 128,
        "mamba_n_heads": 8,
        "mamba_d_head": 16,
        "mamba_d_state": 16,
        "mamba_n_groups": 1,
        "mamba_chunk_size": 16,
    },
    "gemma": PLAIN,
    "gemma2": PLAIN | SLIDING | {"query_pre_attn_scalar": 16, "sliding_window": 512},
    "gemma3_text": BASE | SLIDING | {"query_pre_attn_scalar": 16},
    "gemma4_text": BASE | SLIDING | {"hidden_size_per_layer_input": 0, "num_kv_shared_layers": 0},
    "glm": half(pad_token_id=0),
    "glm4": half(pad_token_id=0),
    "glm4_moe": half(**ROUTED),
    "gpt2": {"vocab_size": VOCABULARY, "n_embd": 64, "n_layer": LAYERS, "n_head": 4, "n_positions": 512},
    "gpt_neox": BASE | {"rope_parameters": ROPE["rope_parameters"] | {"partial_rotary_factor": 0.25}},
    "gpt_oss": BASE | yarn(truncate=False) | SLIDING | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "granite": PLAIN
    | {
        "embedding_multiplier": 12.0,
        "residual_multiplier": 0.22,
        "attention_multiplier": 0.0625,
        "logits_scaling": 8.0,
    },
    "granitemoe": PLAIN
    | {"num_local_experts": 4, "num_experts_per_tok": 2, "embedding_multiplier": 2.0, "logits_scaling": 2.0},
    "granitemoehybrid": PLAIN
    | {
        "num_local_experts": 0,
        "shared_intermediate_size": 128,
        "layer_types": ["mamba", "attention"] * 2,
        "mamba_n_heads": 8,
        "mamba_d_head": 16,
        "mamba_d_state": 16,
        "mamba_n_groups": 1,
    },
    "helium": PLAIN | {"pad_token_id": 0},
    "hunyuan_v1_dense": PLAIN | {"pad_token_id": 0},
    "lfm2": PLAIN
    | {
        "block_ff_dim": 128,
        "block_multiple_of": 32,
        "layer_types": ["conv", "conv", "full_attention", "conv"],
    },
    "llama": PLAIN,
    "llama4_text": PLAIN
    | {
        "num_local_experts": 4,
        "num_experts_per_tok": 1,
        "intermediate_size_mlp": 128,
        "interleave_moe_layer_step": 2,
        "attention_chunk_size": 64,
        "no_rope_layers": [1, 1, 1, 0],
        "pad_token_id": 0,
    },
    "mamba": {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "state_size": 8,
        "num_hidden_layers": LAYERS,
        "intermediate_size": 128,
        "time_step_rank": 4,
    },
    "mamba2": {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "state_size": 16,
        "num_hidden_layers": LAYERS,
        "num_heads": 8,
        "head_dim": 16,
        "expand": 2,
        "n_groups": 1,
        "chunk_size": 16,
    },
    "minimax": PLAIN
    | {
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "layer_types": ["linear_attention", "full_attention"] * 2,
        "block_size": 16,
    },
    "ministral": PLAIN | SLIDING,
    "ministral3": BASE | yarn(mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.1),
    "mistral": PLAIN | {"sliding_window": None},
    "mixtral": PLAIN | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "nemotron": PLAIN,
    "nemotron_h": BASE
    | {
        "hybrid_override_pattern": "M*M-",
        "mamba_num_heads": 8,
        "mamba_head_dim": 16,
        "ssm_state_size": 16,
        "n_groups": 1,
        "chunk_size": 16,
    },
    "olmo": PLAIN,
    "olmo2": PLAIN,
    "olmo3": PLAIN | SLIDING,
    "olmoe": PLAIN | {"num_experts": 4, "num_experts_per_tok": 2},
    "opt": {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "ffn_dim": 128,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
        "word_embed_proj_dim": 64,
    },
    "phi": half(),
    "phi3": PLAIN | {"pad_token_id": 0},
    "phimoe": PLAIN | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2": PLAIN,
    "qwen2_moe": PLAIN
    | EXPERTS
    | {"num_experts": 4, "shared_expert_intermediate_size": 64, "decoder_sparse_step": 1, "mlp_only_layers": []},
    "qwen3": PLAIN,
    "qwen3_5_text": half(**LINEAR),
    "qwen3_moe": PLAIN
    | EXPERTS
    | {"num_experts": 4, "decoder_sparse_step": 1, "norm_topk_prob": True, "mlp_only_layers": []},
    "qwen3_next": half(
        **LINEAR,
        **EXPERTS,
        num_experts=4,
        shared_expert_intermediate_size=32,
        decoder_sparse_step=1,
        norm_topk_prob=True,
        mlp_only_layers=[],
    ),
    "seed_oss": PLAIN,
    "smollm3": PLAIN | {"no_rope_layers": [1, 1, 1, 0], "pad_token_id": 0},
    "stablelm": half(),
    "starcoder2": PLAIN | {"sliding_window": None},
}
VISION = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
WRAPPERS: dict[str, dict[str, Any]] = {
    "gemma3": {"text_config": BASE | SLIDING | {"query_pre_attn_scalar": 16}, "vision_config": VISION},
    "mistral3": {
        "text_config": PLAIN | {"model_type": "mistral", "sliding_window": None},
        "vision_config": VISION | {"model_type": "pixtral", "head_dim": 16},
    },
}


def build(name: str, folder: Path) -> Any:
    """Write a tiny model of a family into a folder, in the form hub checkpoints have, and give it in eval mode."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, GenerationConfig

    tokenizer = _tokenizer(begins=False)
    tokenizer.save_pretrained(folder)
    end = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    config = AutoConfig.for_model(name, **copy.deepcopy((FAMILIES | WRAPPERS)[name]))
    for part in (config, config.get_text_config()):
        part.eos_token_id, part.bos_token_id, part.pad_token_id = end[0], None, end[1]
    known = type(config) in AutoModelForCausalLM._model_mapping
    model = (AutoModelForCausalLM if known else AutoModelForImageTextToText).from_config(config, dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, weight in model.named_parameters():
            if weight.ndim >= 2 and "norm" not in key and "A_log" not in key:
                weight.copy_(torch.randn(weight.shape, generator=generator) * weight.shape[-1] ** -0.5)
    model.generation_config = GenerationConfig(eos_token_id=end)
    model.save_pretrained(folder)
    path = folder / "config.json"
    written = json.loads(path.read_text())
    for part in (written, written.get("text_config") or {}):
        _spell_out(part)
    path.write_text(json.dumps(written))
    return model.eval()


def _spell_out(part: dict[str, Any]) -> None:
    """Add the keys that checkpoints on the hub carry, and that transformers 5 writes into ``rope_parameters``."""
    if str(part.get("model_type")).startswith("gemma4"):
        return  # Its checkpoints were written by transformers 5.
    rope = part.get("rope_parameters") or {}
    main = rope.get("full_attention", rope)
    if "sliding_attention" in rope:
        part["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        part["sliding_window_pattern"] = LAYERS
    for key in ("rope_theta", "partial_rotary_factor"):
        if key in main:
            part[key] = main[key]
    if "rotary_pct" in part or part.get("model_type") == "gpt_neox":
        part["rotary_pct"] = main.get("partial_rotary_factor", 0.25)
    if main.get("rope_type", "default") != "default":
        part["rope_scaling"] = main


def compare(name: str) -> dict[str, Any]:
    """Hold both backends against transformers' own forward pass over a tiny model of a family."""
    found: dict[str, Any] = {"family": name}
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        random = np.random.default_rng(1)
        prompts = [tuple(random.integers(4, 300, count).tolist()) for count in (40, 33, 25)]
        tails = [tuple(random.integers(4, 300, 6).tolist()) for _ in prompts]
        expected = _by_transformers(build(name, folder), prompts, tails)
        greedy = {}
        for backend in ("torch", "mlx"):
            found[backend], greedy[backend] = _by_backend(folder, backend, prompts, tails, expected)
        if all(greedy.values()):
            found["parity"] = greedy["torch"] == greedy["mlx"]
    return found


def _by_transformers(model: Any, prompts: list[Any], tails: list[Any]) -> list[Any]:
    import torch

    expected = []
    with torch.no_grad():
        for prompt, tail in zip(prompts, tails, strict=True):
            logits = model(input_ids=torch.tensor([prompt + tail]), use_cache=False).logits[0]
            logprobs = torch.log_softmax(logits.double(), -1)
            expected.append(np.array([logprobs[len(prompt) - 1 + at, token] for at, token in enumerate(tail)]))
    return expected


def _by_backend(
    folder: Path, name: str, prompts: list[Any], tails: list[Any], expected: list[Any]
) -> tuple[dict[str, Any], Any]:
    from mlxintro.backends.base import SITES, Injection, Prompt, Request, Sampling, Site
    from mlxintro.backends.errors import KnownError
    from mlxintro.backends.registry import open_backend

    try:
        with open_backend(str(folder), name, device="cpu", dtype="float32") as backend:
            scores = backend.score([Prompt(prompt) for prompt in prompts], [[tail] for tail in tails])
            nats = float(max(np.abs(score[0] - right).max() for score, right in zip(scores, expected, strict=True)))

            def replies(some: list[Any], injections: Any = ()) -> list[Any]:
                asked = [Request(Prompt(prompt, injections), Sampling(max_tokens=8)) for prompt in some]
                return [one.tokens for one in sorted(backend.generate(asked), key=lambda one: one.index)]

            together, alone = replies(prompts), [replies([prompt])[0] for prompt in prompts]
            vector = (random_direction(backend.info.width) * 4).astype(np.float32)
            replies(prompts, (Injection(1, vector, 20),))
            reached: list[Site] = ["resid_post"]
            groups: tuple[tuple[Site, ...], ...] = (("attn_out", "mlp_out"), ("head_out",))
            for some in groups:
                with contextlib.suppress(KnownError):
                    backend.capture([Prompt(prompts[0])], sites=some)
                    reached += some
            sites = "all" if len(reached) == len(SITES) else ", ".join(reached)
            works = nats <= TOLERANCE and together == alone
            return {"works": works, "nats": nats, "batched": together == alone, "sites": sites}, together
    except KnownError as error:
        return {"works": False, "refused": str(error).replace(str(folder), "FOLDER")}, None
    except BaseException as error:
        return {"works": False, "crash": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}, None


def random_direction(width: int) -> Any:
    vector = np.random.default_rng(2).normal(size=width)
    return vector / np.linalg.norm(vector)


if __name__ == "__main__":
    print("FOUND " + json.dumps(compare(sys.argv[1])))
