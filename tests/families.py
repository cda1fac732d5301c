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

from tests.family_settings import FAMILIES, LAYERS, WRAPPERS
from tests.tiny import _tokenizer

TOLERANCE = 2e-3
"""Nats between log-probabilities of the same tokens, in float32: rounding stays far below, a wrong formula above."""


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
    # What is no matrix (a decay, a bias of steps) is drawn by the configuration's own rules.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kind = AutoModelForCausalLM if known else AutoModelForImageTextToText
        model = kind.from_config(config, dtype=torch.float32)
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
