"""Injected trials through one model on one card: mlxintro, plain hooks and nnsight, asked for the same tokens.

``benchmarks.gpu`` runs it on random weights in 7B shapes; any folder and device will do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

WINDOW = 30
ROWS = 64
NOT_RUN = {
    "vLLM-Lens": "needs a vLLM of its own, which pins another torch: not run here",
    "EasySteer": "is a fork of vLLM, which pins another torch: not run here",
}


@dataclass(frozen=True)
class CardWork:
    """Trials over one prompt, all at one layer, so that hooks can take them in a batch."""

    folder: Path
    device: str
    dtype: str
    prompt: tuple[int, ...]
    layer: int
    vectors: NDArray[np.float32]
    """(trials, width)."""
    new: int


Replies = list[list[int]]


def ours(work: CardWork) -> Callable[[Sequence[int]], Replies]:
    from mlxintro.backends.base import Injection, Prompt, Request, Sampling
    from mlxintro.backends.models.sources import read_folder
    from mlxintro.backends.pytorch.backend import load

    source = read_folder(work.folder, name="random", repository=str(work.folder))
    backend = load(source, device=work.device, dtype=work.dtype, batch_size=ROWS)
    start = len(work.prompt) - WINDOW

    def run(trials: Sequence[int]) -> Replies:
        prompts = [Prompt(work.prompt, (Injection(work.layer, work.vectors[trial], start),)) for trial in trials]
        found = backend.generate([Request(prompt, Sampling(max_tokens=work.new)) for prompt in prompts])
        return [list(reply.tokens) for reply in sorted(found, key=lambda reply: reply.index)]

    return run


def hooks(work: CardWork) -> Callable[[Sequence[int]], Replies]:
    """A forward hook on one block under transformers' ``generate``, with a vector per row."""
    import torch

    model = _model(work)
    prompt = torch.tensor([work.prompt], device=work.device)

    def run(trials: Sequence[int]) -> Replies:
        vectors = torch.from_numpy(work.vectors[list(trials)])[:, None].to(work.device, model.dtype)

        def hook(module: Any, inputs: Any, output: Any) -> Any:
            stream = (output[0] if isinstance(output, tuple) else output).clone()
            stream[:, -WINDOW:] += vectors
            return (stream, *output[1:]) if isinstance(output, tuple) else stream

        handle = model.model.layers[work.layer].register_forward_hook(hook)
        try:
            rows = prompt.expand(len(trials), -1)
            with torch.inference_mode():
                found = model.generate(
                    rows,
                    attention_mask=torch.ones_like(rows),
                    max_new_tokens=work.new,
                    do_sample=False,
                    pad_token_id=0,
                )
        finally:
            handle.remove()
        return [row[prompt.shape[1] :] for row in found.tolist()]

    return run


def nnsight(work: CardWork) -> Callable[[Sequence[int]], Replies]:
    import torch
    from nnsight import LanguageModel

    model = LanguageModel(str(work.folder), device_map=work.device, dispatch=True, dtype=getattr(torch, work.dtype))
    prompt = torch.tensor([work.prompt])

    def run(trials: Sequence[int]) -> Replies:
        [trial] = trials
        vector = torch.from_numpy(work.vectors[trial]).to(work.device, getattr(torch, work.dtype))
        with torch.no_grad(), model.generate(prompt, max_new_tokens=work.new, do_sample=False) as tracer:
            for _ in tracer.iter[: work.new]:
                model.model.layers[work.layer].output[:, -WINDOW:] += vector
            tokens = tracer.result.save()
        return [tokens[0, len(work.prompt) :].tolist()]

    return run


def table(work: CardWork) -> str:
    """Trials per second of everybody who is installed, once all is warm, and whose replies agree with ours."""
    trials = len(work.vectors)
    people: list[tuple[str, Callable[[CardWork], Callable[[Sequence[int]], Replies]], int, int]] = [
        ("plain hooks", hooks, 1, min(4, trials)),
        (f"plain hooks, {trials} rows", hooks, trials, trials),
        *([("nnsight", nnsight, 1, min(4, trials))] if find_spec("nnsight") else []),
        ("**mlxintro**, 1 row", ours, 1, min(4, trials)),
        (f"**mlxintro**, {trials} rows", ours, trials, trials),
    ]
    measured = [(title, *_timed(make(work), rows, count)) for title, make, rows, count in people]
    expected = measured[-1][2]
    slowest, batched = measured[0][1], measured[1][1]
    lines = [
        "| contestant | trials/s | times plain hooks | times batched hooks | same tokens |",
        "|---|---|---|---|---|",
    ]
    for title, rate, found in measured:
        # A reply that has ended is filled up by some.
        same = sum(one[: len(other)] == other[: len(one)] for one, other in zip(found, expected, strict=False))
        lines.append(f"| {title} | {rate:.2f} | {rate / slowest:.2f} | {rate / batched:.2f} | {same} of {len(found)} |")
    absent = NOT_RUN if find_spec("nnsight") else {"nnsight": "is not installed", **NOT_RUN}
    return "\n".join([*lines, "", *(f"{name} {why}." for name, why in absent.items())])


def _timed(run: Callable[[Sequence[int]], Replies], rows: int, count: int) -> tuple[float, Replies]:
    """Trials per second and replies; the first batch is run twice, and only then timed."""
    batches = [range(first, min(first + rows, count)) for first in range(0, count, rows)]
    run(batches[0])
    begun = time.perf_counter()
    # Tokens come to the host, so nothing is left running when the last reply is there.
    found = [reply for batch in batches for reply in run(batch)]
    return count / (time.perf_counter() - begun), found


def _model(work: CardWork) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    found: Any = AutoModelForCausalLM.from_pretrained(work.folder, dtype=getattr(torch, work.dtype))
    return found.to(work.device).eval()
