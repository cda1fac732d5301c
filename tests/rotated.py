"""A model and a rotated copy of it: the same function, its residual stream turned by a known orthogonal matrix."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np


def make_rotated(folder: Path, copy: Path, *, seed: int = 1) -> Any:
    """Write the rotated copy of a tiny Qwen2 into another folder.

    Norms scale by dimension and do not commute with a rotation, so their weights go into what reads them first, in both
    models alike.

    Returns:
        float64 (width, width): stream of the copy = stream of the model @ this.
    """
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    width = model.config.hidden_size
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))
    rotation = torch.tensor(turn, dtype=torch.float64)

    def readers(norm: Any, *linears: Any) -> None:
        for linear in linears:
            linear.weight.copy_(linear.weight.double() * norm.weight.double() @ rotation)
        norm.weight.fill_(1.0)

    def writer(linear: Any) -> None:
        linear.weight.copy_(rotation.T @ linear.weight.double())

    with torch.no_grad():
        body = model.model
        body.embed_tokens.weight.copy_(body.embed_tokens.weight.double() @ rotation)
        for block in body.layers:
            attention, mlp = block.self_attn, block.mlp
            readers(block.input_layernorm, attention.q_proj, attention.k_proj, attention.v_proj)
            readers(block.post_attention_layernorm, mlp.gate_proj, mlp.up_proj)
            writer(attention.o_proj)
            writer(mlp.down_proj)
        readers(body.norm, model.lm_head)
    shutil.copytree(folder, copy)
    # A file of its own: the folder's would be written through where it is a link.
    (copy / "model.safetensors").unlink()
    model.save_pretrained(copy)
    shutil.copy(folder / "config.json", copy / "config.json")
    return turn
