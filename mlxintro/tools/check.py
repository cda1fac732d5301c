"""Is this model on this machine fit for an experiment? A short list of checks, each with its evidence.

Blueprint, phase 1: the model generates coherent text, activations can be read at any layer, memory is manageable.
Beyond that: an injection reaches exactly the positions it should, a zero-strength one changes nothing, nothing stays
behind.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from mlxintro.backends.base import Backend, Completion, Float32, Injection, Prompt, Request, Sampling
from mlxintro.backends.errors import InjectionError, KnownError
from mlxintro.grading.rules.coherence import read_coherence
from mlxintro.protocol.spelling import composed
from mlxintro.replies.text import fold

QUESTION = "What is the capital of France? Answer in one short sentence."
KNOWN_TEXT = (
    "The keeper lit the lamp at dusk, as he had done every evening for thirty years, and wrote the weather into the "
    "book: wind from the north-west, rain, and two ships on their way to the harbour."
)
STORY = "Write a short story about a lighthouse keeper."


@dataclass(frozen=True, slots=True)
class CheckLine:
    name: str
    passed: bool
    detail: str
    advice: str = ""
    """Words about what to do after a failure."""


class _Failed(Exception):
    """A check found something wrong: detail and advice."""


def run_checks(backend: Backend, *, deep: bool = False) -> Iterator[CheckLine]:
    """Run all checks, cheap ones first. A failing check does not stop the others.

    Args:
        deep: also compare with transformers' own forward pass over the same files.
    """
    checks: list[tuple[str, Callable[[Backend], str]]] = [
        ("model", _model),
        ("coherent text", _text),
        ("activations", _activations),
        ("strength 0", _zero),
        ("injection proof", _proof),
        ("left as it was", _restored),
        ("memory", _memory),
        ("speed", _speed),
        *([("transformers", _transformers)] if deep else []),
    ]
    for name, check in checks:
        try:
            yield CheckLine(name, True, check(backend))
        except _Failed as failure:
            detail, advice = failure.args
            yield CheckLine(name, False, detail, advice)
        except KnownError as error:
            yield CheckLine(name, False, str(error), "report this model and backend as a bug")


def _model(backend: Backend) -> str:
    info = backend.info
    return (
        f"{info.model} ({info.architecture}, {info.layers} layers, width {info.width}) on {info.backend} {info.device}"
        f", {info.dtype}, quantisation {info.quantization}, {info.weight_bytes / 1e9:.2f} GB"
        + ("" if info.chat_template else "; base model: plain dialogue format")
    )


def _text(backend: Backend) -> str:
    reply = _reply(backend, Prompt(_ask(backend, QUESTION)), 24)
    problem = read_coherence(composed(reply.text), fold(reply.text)).flaw
    if problem:
        raise _Failed(
            f"{problem}: {reply.text!r}",
            "the weights or their configuration (rope, template) are damaged, or the model is untrained: fetch it anew",
        )
    return repr(reply.text.strip())


def _activations(backend: Backend) -> str:
    tokens = _ask(backend, QUESTION)
    residual = backend.capture([Prompt(tokens)])[0]["resid_post"]
    expected = (backend.info.layers, len(tokens), backend.info.width)
    if residual.shape != expected:
        raise _Failed(f"shape {residual.shape}, expected {expected}", "report this architecture as a bug")
    if not np.isfinite(residual).all():
        bad = sorted({int(layer) for layer in np.argwhere(~np.isfinite(residual))[:, 0]})
        raise _Failed(f"NaN or infinity at layers {bad}", "use --dtype bfloat16 or float32: float16 overflows here")
    norms = np.linalg.norm(residual[:, -1], axis=-1)
    spread = ", ".join(f"L{layer} {norms[layer]:.3g}" for layer in _thirds(backend))
    return f"resid_post {residual.shape} (layers, tokens, width); norms at the last token: {spread}"


def _zero(backend: Backend) -> str:
    tokens = _ask(backend, QUESTION)
    zero = Injection(_late(backend), np.zeros(backend.info.width, np.float32), 0)
    plain, injected = _capture(backend, Prompt(tokens)), _capture(backend, Prompt(tokens, (zero,)))
    replies = [_reply(backend, Prompt(tokens, injections), 12).tokens for injections in ((), (zero,))]
    if not np.array_equal(plain, injected) or replies[0] != replies[1]:
        raise _Failed("an injection of strength 0 changes the model", "report this model and backend as a bug")
    return "residuals bit for bit and reply token for token as without injection"


def _proof(backend: Backend) -> str:
    tokens = _ask(backend, QUESTION)
    layer, start = _late(backend), len(tokens) // 2
    plain = _capture(backend, Prompt(tokens))
    vector = _direction(backend, float(np.linalg.norm(plain[layer], axis=-1)[start:].mean()) / 2)
    prompt = Prompt(tokens, (Injection(layer, vector, start),))
    try:
        reply = _reply(backend, prompt, 8)
    except InjectionError as error:
        raise _Failed(str(error), "do not use this model on this backend; report it as a bug") from None
    steered = _capture(backend, prompt)
    before = np.abs(steered[layer, :start] - plain[layer, :start]).max(initial=0.0)
    # bfloat16 keeps 8 bits: the sum of stream and vector is exact to half a unit in the last place of the stream.
    resolution = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 1.6e-2}[backend.info.dtype]
    wrong = np.linalg.norm(steered[layer, start:] - plain[layer, start:] - vector, axis=-1)
    if before > 0 or (wrong > resolution * np.linalg.norm(plain[layer, start:], axis=-1)).any():
        raise _Failed(
            f"the residual moved by {before:.2g} before the window and missed the vector by {wrong.max():.2g} in it",
            "do not use this model on this backend; report it as a bug",
        )
    proof = reply.proofs[0]
    return (
        f"layer {layer}: positions {proof.first} to {proof.last} touched ({proof.positions}), none before; the "
        f"residual moved by {proof.relative_change:.0%} of its norm, exactly along the vector"
    )


def _restored(backend: Backend) -> str:
    tokens = _ask(backend, QUESTION)
    plain = _capture(backend, Prompt(tokens))
    vector = _direction(backend, 10.0)
    for layer in _thirds(backend):
        _capture(backend, Prompt(tokens, (Injection(layer, vector, 0),)))
    if not np.array_equal(plain, _capture(backend, Prompt(tokens))):
        raise _Failed("the model computes something else after injections", "report this backend as a bug")
    return "after injections at three layers the model computes what it did before, bit for bit"


def _memory(backend: Backend) -> str:
    use = backend.memory()
    line = f"{use.used / 1e9:.2f} GB used (peak {use.peak / 1e9:.2f}), {use.free / 1e9:.2f} GB free"
    if use.free < 0.05 * (use.used + use.free):
        raise _Failed(line, "close other programs, or choose a smaller or quantised model (`mlxintro models list`)")
    return line


def _speed(backend: Backend) -> str:
    tokens = _ask(backend, STORY)
    _reply(backend, Prompt(tokens), 2)
    count = 24
    started = time.perf_counter()
    _reply(backend, Prompt(tokens), 1)
    prefill = time.perf_counter() - started
    started = time.perf_counter()
    done = len(_reply(backend, Prompt(tokens), count).tokens)
    decode = max(time.perf_counter() - started - prefill, 1e-9)
    rates = len(tokens) / prefill, max(done - 1, 1) / decode
    return f"prompt {rates[0]:.0f} tokens/s, reply {rates[1]:.1f} tokens/s, one row at a time"


def _transformers(backend: Backend) -> str:
    """Compare log-probabilities of a text with those of transformers' own forward pass, in float32 where that fits."""
    from mlxintro.backends.reference import reference_logprobs

    if backend.info.backend == "fake":
        return "a simulated subject has no weights to compare"
    tokens = (*_ask(backend, STORY), *backend.tokenizer.encode(KNOWN_TEXT).tokens)
    try:
        expected, how = reference_logprobs(backend.info.model, backend.info.backend, tokens)
    except KnownError as error:
        raise _Failed(f"not compared: {error}", "compare where the original model is at hand and fits twice") from None
    found = backend.score([Prompt(tokens[:1])], [[tokens[1:]]])[0][0]
    apart = np.abs(found - expected)
    line = (
        f"{len(expected)} tokens: log-probabilities {apart.mean():.2g} nats apart on average, {apart.max():.2g} at "
        f"most, from transformers {how}"
    )
    # Rounding to 16 bits moves a log-probability by some hundredths; a wrong formula by tenths and more.
    allowed = 1e-3 if backend.info.dtype == "float32" and backend.info.quantization == "none" else 0.1
    if not apart.mean() <= allowed:
        raise _Failed(line, "this backend computes another model than config.json says: use the other backend")
    return line


def _ask(backend: Backend, text: str) -> tuple[int, ...]:
    return backend.tokenizer.render([{"role": "user", "content": text}]).tokens


def _reply(backend: Backend, prompt: Prompt, tokens: int) -> Completion:
    return next(iter(backend.generate([Request(prompt, Sampling(max_tokens=tokens))])))


def _capture(backend: Backend, prompt: Prompt) -> Float32:
    return backend.capture([prompt])[0]["resid_post"]


def _late(backend: Backend) -> int:
    return backend.info.layer(2 / 3)


def _thirds(backend: Backend) -> list[int]:
    return sorted({0, backend.info.layers // 2, _late(backend)})


def _direction(backend: Backend, norm: float) -> Float32:
    vector = np.random.Generator(np.random.Philox(1)).standard_normal(backend.info.width)
    return (vector * norm / np.linalg.norm(vector)).astype(np.float32)
