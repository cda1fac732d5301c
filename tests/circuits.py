"""Tiny models whose report of an injected direction depends, by construction, on one head, on one MLP, or on nothing.

Every block adds nothing to the stream except the planted part. That part looks for ``DIRECTION`` and writes what tells
the token YES from NO; the direction itself says nothing of either. So whoever looks where the report comes from has to
find that place and no other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from mlxintro.backends.base import Float32
from tests.tiny import _write_rope_twice, make_tiny

Circuit = Literal["head", "mlp", "none"]
LAYER, HEAD = 2, 1
WIDTH, HEAD_WIDTH = 64, 16
YES, NO = 7, 9
DIRECTION: Float32 = np.eye(WIDTH, dtype=np.float32)[3]
_WRITTEN = 60
"""The dimension that tells YES from NO."""


def make_circuit(folder: Path, circuit: Circuit) -> Path:
    """Write such a model into a folder."""
    import torch
    from transformers import AutoModelForCausalLM

    make_tiny("llama", folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for block in model.model.layers:
            block.self_attn.o_proj.weight.zero_()
            block.mlp.down_proj.weight.zero_()
        # Tokens differ in dimensions that are neither the direction nor what is written.
        table = torch.randn(model.model.embed_tokens.weight.shape, generator=generator)
        table[:, [3, _WRITTEN]] = 0.0
        model.model.embed_tokens.weight.copy_(table)
        head = torch.randn(model.lm_head.weight.shape, generator=generator) * 0.1
        head[:, 3] = 0.0
        head[:, _WRITTEN] = 0.0
        head[NO] = head[YES]
        head[YES, _WRITTEN], head[NO, _WRITTEN] = 2.0, -2.0
        model.lm_head.weight.copy_(head)
        block = model.model.layers[LAYER]
        if circuit == "head":
            attention = block.self_attn
            # Looks at all positions alike, and takes the direction's share of them.
            attention.q_proj.weight.zero_()
            attention.v_proj.weight.zero_()
            group = HEAD // (model.config.num_attention_heads // model.config.num_key_value_heads)
            attention.v_proj.weight[group * HEAD_WIDTH, 3] = 1.0
            attention.o_proj.weight[_WRITTEN, HEAD * HEAD_WIDTH] = 4.0
        elif circuit == "mlp":
            block.mlp.gate_proj.weight.zero_()
            block.mlp.up_proj.weight.zero_()
            block.mlp.gate_proj.weight[0, 3] = block.mlp.up_proj.weight[0, 3] = 1.0
            block.mlp.down_proj.weight[_WRITTEN, 0] = 4.0
    model.save_pretrained(folder)
    _write_rope_twice(folder / "config.json")
    return folder


def concepts(count: int) -> list[Float32]:
    """Vectors that have the direction in common and nothing else."""
    generator = np.random.default_rng(11)
    found = []
    for _ in range(count):
        other = generator.normal(size=WIDTH).astype(np.float32) * 0.3
        other[[3, _WRITTEN]] = 0.0
        found.append((6.0 * DIRECTION + other).astype(np.float32))
    return found
