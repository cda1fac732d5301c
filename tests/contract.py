"""Requests that differ in everything that may differ, and a backend beside the independent truth about its model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from mlxintro.backends.base import (
    Backend,
    Completion,
    Float32,
    Injection,
    Prompt,
    Request,
    Sampling,
)
from tests.matrix import some_families
from tests.reference import Reference
from tests.tiny import VOCABULARY

WIDTH, LAYERS, HEADS, HEAD_WIDTH = 64, 4, 4, 16

of_the_loop = pytest.mark.parametrize("subject", some_families("torch", "mlx"), indirect=True)
"""For claims about the decode loop rather than about a family's block."""


@dataclass(frozen=True)
class Subject:
    """A backend and the independent truth about the model in it."""

    name: str
    backend: Backend
    reference: Reference
    said: dict[float, list[Completion]] = field(default_factory=dict)
    """What the backend said to the mixture, by temperature: computed once, compared with by many."""

    def replies(self, temperature: float = 0.0) -> list[Completion]:
        if temperature not in self.said:
            self.said[temperature] = together(self.backend, mixture(temperature))
        return self.said[temperature]

    def rechunked(self, chunk: int, batch_size: int = 16) -> Backend:
        """Return the loaded model with prompts read in small pieces."""
        backend: Any = self.backend
        rebuilt: Backend = type(backend)(
            backend._network.model, backend.tokenizer, backend.info, batch_size=batch_size, prefill_chunk=chunk
        )
        return rebuilt

    def state(self) -> tuple[str, bytes]:
        """Everything about the model that a call could leave changed: weights, structure, and what it computes."""
        model: Any = self.backend._network.model  # type: ignore[attr-defined]
        digest = hashlib.sha256()
        ids = [[5, 6, 7, 8]]
        if self.name == "torch":
            import torch

            for name, weight in sorted(model.state_dict().items()):
                digest.update(name.encode() + weight.numpy().tobytes())
            hooks = [
                (name, len(part._forward_hooks), len(part._forward_pre_hooks)) for name, part in model.named_modules()
            ]
            digest.update(repr(hooks).encode())
            with torch.no_grad():
                logits = model(torch.tensor(ids)).logits.numpy()
        else:
            import mlx.core as mx
            from mlx.utils import tree_flatten

            for name, weight in sorted(tree_flatten(model.parameters())):
                digest.update(name.encode() + np.array(weight).tobytes())
            digest.update(repr([(name, type(part)) for name, part in sorted(model.named_modules())]).encode())
            logits = np.array(model(mx.array(ids)))
        return digest.hexdigest(), logits.tobytes()


def tokens(length: int, seed: int = 0) -> tuple[int, ...]:
    return tuple(np.random.default_rng(seed).integers(4, VOCABULARY, length).tolist())


def vector(seed: int, scale: float = 1.0) -> Float32:
    return (np.random.default_rng(1000 + seed).normal(size=WIDTH) * scale).astype(np.float32)


def by_position(seed: int, positions: int, size: int) -> Float32:
    return np.random.default_rng(2000 + seed).normal(size=(positions, size)).astype(np.float32)


def mixture(temperature: float = 0.0) -> list[Request]:
    """Rows that differ in everything a row may differ in, most of them with a beginning in common."""
    head = tokens(24)
    prompts = [
        Prompt(head + tokens(2, 1)),
        Prompt(head + tokens(17, 2), (Injection(1, vector(2), start=26),)),
        Prompt(head + tokens(9, 3), (Injection(2, vector(3), start=25, stop=36, operation="ablate"),)),
        Prompt(head + tokens(30, 4), (Injection(0, vector(4), start=50, stop=58, operation="replace"),)),
        Prompt(
            head + tokens(5, 5),
            (
                Injection(3, vector(5), start=27, stop=28),
                Injection(3, vector(6), start=24, site="mlp_out"),
                Injection(3, vector(7), start=26, stop=31, operation="ablate"),
                Injection(1, vector(8, 3.0), start=31, stop=33, site="attn_out", operation="replace"),
            ),
        ),
        Prompt(
            head + tokens(8, 7),
            (
                # Everything that may be touched by head and by position, at one layer.
                Injection(2, vector(10, 2.0), start=25, site="head_out"),
                Injection(2, vector(11, 2.0)[:HEAD_WIDTH], start=26, stop=33, site="head_out", head=3),
                Injection(2, by_position(12, 4, HEAD_WIDTH), 27, 31, "head_out", "replace", head=1),
                Injection(2, by_position(13, 5, WIDTH), 25, 30, "resid_post", "replace"),
                Injection(1, by_position(14, 3, WIDTH), 26, 29, "mlp_out"),
                Injection(1, by_position(15, 6, HEAD_WIDTH), 24, 30, "head_out", "ablate", head=0),
            ),
        ),
        Prompt(tokens(3, 6), (Injection(2, vector(9, 2.0), start=0),)),
    ]
    return [
        Request(
            prompt, Sampling(max_tokens=6 + 2 * row, temperature=temperature, top_p=0.8 if row % 2 else 1.0, seed=row)
        )
        for row, prompt in enumerate(prompts)
    ]


def unanswered() -> list[Prompt]:
    """The prompts of the mixture for calls that generate nothing: without what is injected into replies."""
    return [
        replace(p, injections=tuple(i for i in p.injections if i.start < len(p.tokens)))
        for p in (request.prompt for request in mixture())
    ]


def together(backend: Backend, requests: list[Request]) -> list[Completion]:
    return sorted(backend.generate(requests), key=lambda completion: completion.index)


def one_by_one(backend: Backend, requests: list[Request]) -> list[Completion]:
    return [replace(next(backend.generate([request])), index=index) for index, request in enumerate(requests)]


def same(ours: list[Completion], theirs: list[Completion]) -> bool:
    return [(c.tokens, c.text, c.finish, c.forwarded) for c in ours] == [
        (c.tokens, c.text, c.finish, c.forwarded) for c in theirs
    ]
