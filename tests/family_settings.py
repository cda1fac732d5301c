"""Settings of tiny models of many families: four layers, a width of 64, all that is peculiar to a family kept."""

from __future__ import annotations

from typing import Any

from tests.tiny import VOCABULARY

LAYERS = 4

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
    "biogpt": BASE,
    "codegen": {"vocab_size": VOCABULARY, "n_embd": 64, "n_layer": LAYERS, "n_head": 4, "n_positions": 512}
    | {"rotary_dim": 8},
    "gpt_bigcode": {"vocab_size": VOCABULARY, "n_embd": 64, "n_layer": LAYERS, "n_head": 4, "n_positions": 512},
    "gptj": {
        "vocab_size": VOCABULARY,
        "n_embd": 64,
        "n_layer": LAYERS,
        "n_head": 4,
        "n_positions": 512,
        "rotary_dim": 8,
    },
    "internlm3": PLAIN | {"qkv_bias": True, "bias": True},
    "jetmoe": {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": 2,
        "kv_channels": 16,
        "intermediate_size": 128,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
    },
    "mpt": {"vocab_size": VOCABULARY, "d_model": 64, "n_layers": LAYERS, "n_heads": 4, "max_seq_len": 512},
    "nanochat": PLAIN,
    "persimmon": half(num_key_value_heads=4, qk_layernorm=True),
    "recurrent_gemma": PLAIN | {"lru_width": 64, "attention_window_size": 32},
    "vaultgemma": PLAIN
    | SLIDING
    | {"attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0, "query_pre_attn_scalar": 16},
    "xglm": {
        "vocab_size": VOCABULARY,
        "d_model": 64,
        "num_layers": LAYERS,
        "attention_heads": 4,
        "ffn_dim": 128,
        "max_position_embeddings": 512,
    },
    "gpt_neo": {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "num_layers": LAYERS,
        "num_heads": 4,
        "max_position_embeddings": 512,
        "attention_types": [[["global", "local"], 2]],
        "window_size": 16,
    },
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

STATES = {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16, "mamba_n_groups": 1, "mamba_chunk_size": 16}
FAMILIES |= {
    "arcee": PLAIN,
    "bamba": PLAIN | STATES | {"attn_layer_indices": [1, 3]},
    "bitnet": PLAIN,
    "diffllama": PLAIN,
    "doge": PLAIN,
    "ernie4_5_moe": PLAIN | EXPERTS | {"moe_num_experts": 4, "moe_k": 2, "moe_num_shared_experts": 1},
    "exaone_moe": PLAIN | ROUTED | {"num_experts": 4},
    "falcon_mamba": FAMILIES["mamba"],
    "flex_olmo": PLAIN | {"num_experts": 4, "num_experts_per_tok": 2},
    "gemma3n_text": BASE
    | SLIDING
    | {
        "hidden_size_per_layer_input": 16,
        "vocab_size_per_layer_input": VOCABULARY,
        "num_kv_shared_layers": 0,
        "laurel_rank": 8,
        "activation_sparsity_pattern": [0.0] * LAYERS,
    },
    "glm4_moe_lite": PLAIN | LATENT | ROUTED | {"q_lora_rank": 32, "num_key_value_heads": 4},
    "jamba": PLAIN
    | {
        "mamba_d_state": 8,
        "mamba_dt_rank": 4,
        "num_experts": 2,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
        "use_mamba_kernels": False,
    },
    "lfm2_moe": PLAIN
    | EXPERTS
    | {"num_experts": 4, "num_dense_layers": 1, "layer_types": ["conv", "conv", "full_attention", "conv"]},
    "olmo_hybrid": PLAIN
    | {
        "layer_types": LINEAR["layer_types"],
        "linear_num_value_heads": 4,
        "linear_num_key_heads": 4,
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
    },
    "zamba2": PLAIN
    | STATES
    | {
        "mamba_expand": 2,
        "mamba_ngroups": 1,
        "n_mamba_heads": 8,
        "mamba_headdim": 16,
        "layers_block_type": ["mamba", "hybrid"] * 2,
        "num_mem_blocks": 1,
    },
}
VISION = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
WRAPPERS: dict[str, dict[str, Any]] = {
    "gemma3": {"text_config": BASE | SLIDING | {"query_pre_attn_scalar": 16}, "vision_config": VISION},
    "mistral3": {
        "text_config": PLAIN | {"model_type": "mistral", "sliding_window": None},
        "vision_config": VISION | {"model_type": "pixtral", "head_dim": 16},
    },
}


def _rotated(*sections: int, **more: Any) -> dict[str, Any]:
    """Rotary embedding by place in an image; text has one position for all sections."""
    return BASE | {"rope_parameters": ROPE["rope_parameters"] | {"mrope_section": list(sections)} | more}


_EYES = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 64}
WRAPPERS |= {
    "gemma4": {"text_config": FAMILIES["gemma4_text"]},
    "qwen2_5_vl": {"text_config": _rotated(2, 3, 3), "vision_config": _EYES},
    "qwen3_5": {"text_config": half(**LINEAR), "vision_config": _EYES},
    "qwen3_vl": {
        "text_config": _rotated(4, 2, 2, mrope_interleaved=True),
        "vision_config": _EYES | {"deepstack_visual_indexes": [0]},
    },
}
