"""The trials every contestant runs, and what a contestant is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlxintro.tools.bench import STORY, WINDOW

__all__ = ["LARGEST", "LAYER", "NEW", "WINDOW", "Contestant", "Run", "Trial", "Work", "folder", "prepare", "read"]

NEW = 60
"""Tokens of a reply."""
LAYER = 20
"""Layer of the first trial, and of all trials where a batch can inject at one layer only."""
LARGEST = 128

Run = Callable[[Sequence["Trial"], int], list[list[int]]]
"""Runs trials and returns so many new tokens of each."""


@dataclass(frozen=True)
class Trial:
    layer: int
    vector: NDArray[np.float32]
    """(width,)."""


@dataclass(frozen=True)
class Work:
    prompt: list[int]
    trials: list[Trial]
    expected: list[list[int]]
    """mlxintro's tokens of every trial, from one batch on PyTorch."""
    plain: list[int]
    """Tokens without any injection."""
    operations: float
    """Multiplications and additions no engine can do without, per trial: see ``prepare``."""
    matmul: float
    """Operations per second of a large float32 matrix product in PyTorch."""

    @property
    def start(self) -> int:
        return len(self.prompt) - WINDOW


@dataclass(frozen=True)
class Contestant:
    title: str
    packages: tuple[str, ...]
    make: Callable[[Work], Run]
    rows: int = 1
    """Trials that run together."""
    trials: int = 2
    injected: bool = True
    one_layer: bool = False
    """Whether all trials of a batch must inject at the same layer."""
    everywhere: bool = False
    """Whether it can inject at every position only, prompt and reply: as much work, but other tokens."""


def prepare(path: Path, count: int = LARGEST, new: int = NEW) -> None:
    """Lay out ``count`` trials of ``new`` tokens.

    Their vectors are a third as long as the stream at their layer, in directions of their own.

    Those whose reply ends before its last token are left out, because not every library can be made to go on. A trial's
    operations are those of the window and the reply, through blocks and head; the rest of the prompt is the same in all
    trials and need be read only once.
    """
    from mlxintro.backends.base import Injection, Prompt, Request, Sampling
    from mlxintro.backends.registry import open_backend

    candidates = count * 5 // 4
    with open_backend("smollm2", "torch", dtype="float32", batch_size=candidates) as model:
        roofline = model.roofline()
        assert roofline is not None, "the embedded model is a plain transformer"
        prompt = model.tokenizer.render([{"role": "user", "content": STORY}]).tokens
        start = len(prompt) - WINDOW
        residual = model.capture([Prompt(prompt)])[0]["resid_post"]
        norms = np.linalg.norm(residual[:, start:], axis=-1).mean(axis=-1)
        layers = [(LAYER + number) % model.info.layers for number in range(candidates)]
        directions = np.random.default_rng(0).standard_normal((candidates, model.info.width))
        lengths = norms[layers] / 3 / np.linalg.norm(directions, axis=1)
        vectors = (directions * lengths[:, None]).astype(np.float32)
        prompts = [Prompt(prompt, (Injection(layers[at], vectors[at], start),)) for at in range(candidates)]
        sampling = Sampling(max_tokens=new)
        replies = {c.index: c.tokens for c in model.generate([Request(one, sampling) for one in prompts])}
        [plain] = model.generate([Request(Prompt(prompt), sampling)])
        roofline = max(roofline, model.roofline() or roofline, key=lambda one: one.matmul)
    kept = [at for at in range(candidates) if len(replies[at]) == new and replies[at] != plain.tokens]
    # The batch that injects at one layer shares its first trial with everybody.
    kept.sort(key=lambda at: (layers[at] != LAYER, at))
    kept = [kept[0], *sorted(kept[1:])][:count]
    if len(kept) < count or layers[kept[0]] != LAYER or len(plain.tokens) != new:
        raise SystemExit(
            f"only {len(kept)} of {candidates} replies are {new} tokens long and differ from the plain one"
        )
    operations = 2 * ((WINDOW + new - 1) * roofline.block_parameters + new * roofline.head_parameters)
    np.savez(
        path,
        prompt=prompt,
        layers=[layers[at] for at in kept],
        vectors=vectors[kept],
        expected=[replies[at] for at in kept],
        plain=plain.tokens,
        operations=operations,
        matmul=roofline.matmul,
    )


def read(path: Path) -> Work:
    with np.load(path) as found:
        trials = [Trial(int(layer), vector) for layer, vector in zip(found["layers"], found["vectors"], strict=True)]
        return Work(
            found["prompt"].tolist(),
            trials,
            found["expected"].tolist(),
            found["plain"].tolist(),
            float(found["operations"]),
            float(found["matmul"]),
        )


def folder(framework: Any) -> str:
    """Where the embedded model lies, in float32."""
    from mlxintro.backends.models.sources import resolve

    return str(resolve("smollm2", framework, dtype="float32").folder)
