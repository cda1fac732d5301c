"""The embedded model against a forward pass written from scratch.

NumPy in float64, straight from the GGUF file, sharing no code with the backends: no transformers, no mlx-lm, no
conversion. In the file the rows of Q and K are ordered for rotating neighbouring pairs, so this one rotates those
pairs, where the converted model rotates halves.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from scipy.special import rel_entr, softmax

from mlxintro.backends.base import Backend, Injection, Prompt
from mlxintro.backends.models import embedded
from mlxintro.backends.registry import open_backend
from mlxintro.tools import dose
from mlxintro.vectors import impact

HEADS, KEY_HEADS, SIZE, LAYERS = 9, 3, 64, 30
QUESTION = "Do you notice an injected thought?"

pytestmark = pytest.mark.skipif(embedded.find_gguf() is None, reason="needs the embedded model: make installs it")


class Reference:
    """Llama's forward pass for one sequence."""

    def __init__(self) -> None:
        from gguf import GGUFReader
        from gguf.quants import dequantize

        self.tensors = {t.name: (t.data, t.tensor_type) for t in GGUFReader(embedded.find_gguf()).tensors}
        self.dequantize = dequantize

    def weight(self, name: str) -> np.ndarray:
        data, kind = self.tensors[f"{name}.weight"]
        return self.dequantize(data, kind).astype(np.float64)

    def run(self, tokens: list[int], added: dict[int, tuple[np.ndarray, int, int]]) -> tuple[np.ndarray, np.ndarray]:
        """Residuals after every block, (layers, tokens, width), and logits, (tokens, vocabulary).

        Args:
            added: layer -> (vector, start, stop).
        """
        embedding = self.weight("token_embd")
        x = embedding[tokens]
        angles = np.arange(len(tokens))[:, None] * 100_000.0 ** (-np.arange(0, SIZE, 2) / SIZE)
        residuals = []
        for layer in range(LAYERS):
            x = x + self.attention(layer, self.norm(x, f"blk.{layer}.attn_norm"), angles)
            x = x + self.mlp(layer, self.norm(x, f"blk.{layer}.ffn_norm"))
            if layer in added:
                vector, start, stop = added[layer]
                x = x.copy()
                x[start:stop] += vector.astype(np.float64)
            residuals.append(x)
        return np.stack(residuals), self.norm(x, "output_norm") @ embedding.T

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * self.weight(name)

    def attention(self, layer: int, x: np.ndarray, angles: np.ndarray) -> np.ndarray:
        def heads(name: str) -> np.ndarray:
            return (x @ self.weight(f"blk.{layer}.{name}").T).reshape(len(x), -1, SIZE).transpose(1, 0, 2)

        def rotated(z: np.ndarray) -> np.ndarray:
            even, odd = z[..., 0::2], z[..., 1::2]
            turned = np.empty_like(z)
            turned[..., 0::2] = even * np.cos(angles) - odd * np.sin(angles)
            turned[..., 1::2] = even * np.sin(angles) + odd * np.cos(angles)
            return turned

        q, k, v = rotated(heads("attn_q")), rotated(heads("attn_k")), heads("attn_v")
        k, v = (np.repeat(z, HEADS // KEY_HEADS, axis=0) for z in (k, v))
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(SIZE)
        scores[:, ~np.tri(len(x), dtype=bool)] = -np.inf
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (weights / weights.sum(-1, keepdims=True)) @ v
        return mixed.transpose(1, 0, 2).reshape(len(x), -1) @ self.weight(f"blk.{layer}.attn_output").T

    def mlp(self, layer: int, x: np.ndarray) -> np.ndarray:
        gate = x @ self.weight(f"blk.{layer}.ffn_gate").T
        up = x @ self.weight(f"blk.{layer}.ffn_up").T
        return (gate / (1 + np.exp(-gate)) * up) @ self.weight(f"blk.{layer}.ffn_down").T


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference()


@pytest.fixture(scope="module")
def backends() -> Iterator[tuple[Backend, Backend]]:
    with (
        open_backend("smollm2", "torch", dtype="float32") as torch,
        open_backend("smollm2", "mlx", dtype="float32") as mlx,
    ):
        yield torch, mlx


@pytest.mark.parametrize(
    "layers", [pytest.param((), marks=pytest.mark.slow), pytest.param((5,), marks=pytest.mark.slow), (12, 20, 28)]
)
def test_residuals_and_steered_log_probabilities(
    backends: tuple[Backend, Backend], reference: Reference, layers: tuple[int, ...]
) -> None:
    rendered, _ = (backend.tokenizer.render([{"role": "user", "content": QUESTION}]) for backend in backends)
    tokens = rendered.tokens
    answer = backends[0].tokenizer.encode("Yes, it is about the sea.").tokens
    noise = np.random.default_rng(3)
    start, stop = len(tokens) - 9, len(tokens) + 3
    added = {layer: (noise.standard_normal(576).astype(np.float32) * 2, start, stop) for layer in layers}
    prompt = Prompt(tokens, tuple(Injection(layer, vector, start, stop) for layer, (vector, _, _) in added.items()))

    residuals, logits = reference.run([*tokens, *answer], added)
    there = residuals[:, : len(tokens)]
    top = logits.max(-1, keepdims=True)
    logprobs = logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))
    wanted = logprobs[len(tokens) - 1 + np.arange(len(answer)), answer]
    for backend in backends:
        captured = backend.capture([prompt])[0]["resid_post"]
        relative = np.linalg.norm(captured - there, axis=-1) / np.linalg.norm(there, axis=-1)
        assert relative.max() < 1e-5, backend.info.backend
        scored = backend.score([prompt], [[answer]])[0][0]
        np.testing.assert_allclose(scored, wanted, atol=1e-4, err_msg=backend.info.backend)


@pytest.mark.parametrize("which", [0, pytest.param(1, marks=pytest.mark.slow)], ids=["torch", "mlx"])
def test_a_dose_is_the_divergence_of_whole_vocabularies(
    backends: tuple[Backend, Backend], reference: Reference, which: int
) -> None:
    """From the captured activations in float64; the pass that leads to them is held against the reference above."""
    backend = backends[which]
    tokens = backend.tokenizer.render([{"role": "user", "content": dose.QUESTIONS[0]}]).tokens
    vector = np.random.default_rng(5).standard_normal(576).astype(np.float32) * 2
    prompts = [Prompt(tokens), Prompt(tokens, (Injection(15, vector, 0),))]
    plain, steered = backend.next_token(prompts)
    assert plain.shape == (backend.info.vocabulary,)
    last = [
        one["resid_post"][0, 0].astype(np.float64)
        for one in backend.capture(prompts, layers=[LAYERS - 1], positions=[-1])
    ]
    direct = [softmax(reference.norm(x, "output_norm") @ reference.weight("token_embd").T) for x in last]
    wanted = rel_entr(direct[1], direct[0]).sum()
    assert wanted > 0.01
    assert impact.divergence(steered[None], plain[None])[0] == pytest.approx(wanted, abs=1e-5)
