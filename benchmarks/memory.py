"""Predicted against measured memory of a batch, each batch in a process of its own. Linux.

    python -m benchmarks.memory [--backends torch,mlx] [--rows 8,16,32,64,128] [--prompts 121,400] [--new 8]

What is measured is the peak beyond what the process holds after a first reply of one row: its resident memory on
PyTorch's CPU, and what MLX's allocator handed out on MLX, whose freed buffers are free to it. What is predicted is
``backends.machine.footprint.predict``, beside the weights.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

from mlxintro.backends.base import Backend, Prompt, Request, Sampling
from mlxintro.backends.machine.footprint import predict
from mlxintro.backends.prefix import shared_prefix
from mlxintro.backends.registry import open_backend
from mlxintro.tools import bench


def requests_of(backend: Backend, rows: int, prompt_tokens: int, new: int) -> list[Request]:
    """The benchmark's trials, their prompt cut or lengthened at its beginning."""

    def fitted(request: Request) -> Request:
        tokens = request.prompt.tokens
        tokens = (tokens * -(-prompt_tokens // len(tokens)))[-prompt_tokens:]
        start = max(0, prompt_tokens - bench.WINDOW)
        return Request(
            Prompt(tokens, tuple(replace(one, start=start) for one in request.prompt.injections)),
            Sampling(new, temperature=1.0, seed=request.sampling.seed),
        )

    return [fitted(one) for one in bench.batch(backend, rows, tokens=new, injected=True)]


def held(backend: Backend) -> int:
    """Bytes at this moment; from here on the peak counts."""
    if backend.info.backend == "mlx":
        import mlx.core as mx

        mx.clear_cache()
        mx.reset_peak_memory()
        return mx.get_active_memory()
    Path("/proc/self/clear_refs").write_text("5")
    return _resident("VmRSS")


def peak(backend: Backend) -> int:
    return backend.memory().peak if backend.info.backend == "mlx" else _resident("VmHWM")


def _resident(name: str) -> int:
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1]) * 1024


def measure(kind: str, model: str, rows: int, prompt_tokens: int, new: int) -> str:
    with open_backend(model, kind, dtype="float32", batch_size=rows) as backend:
        assert backend.shape is not None, "its configuration says what it takes"
        list(backend.generate(requests_of(backend, 1, 121, 2)))
        requests = requests_of(backend, rows, prompt_tokens, new)
        before = held(backend)
        longest = max(len(completion.tokens) for completion in backend.generate(requests))
        found = peak(backend) - before
        said = predict(
            backend.shape,
            rows=rows,
            prompt_tokens=prompt_tokens,
            new_tokens=longest,
            shared_prefix=len(shared_prefix([one.prompt for one in requests])),
        )
    off = said.work / found - 1
    parts = f"cache {said.cache / 1e6:.0f}, logits {said.logits / 1e6:.0f}, activations {said.activations / 1e6:.0f}"
    figures = kind, rows, prompt_tokens, longest, f"{found / 1e6:.0f}", f"{said.work / 1e6:.0f}", f"{off:+.0%}", parts
    return f"| {' | '.join(map(str, figures))} |"


def lines(chosen: argparse.Namespace) -> Iterator[str]:
    yield "| backend | rows | prompt | reply | measured MB | predicted MB | off | of which, MB |"
    yield "|---|---:|---:|---:|---:|---:|---:|---|"
    numbers = [[int(one) for one in text.split(",")] for text in (chosen.prompts, chosen.rows)]
    for kind, prompt, rows in product(chosen.backends.split(","), *numbers):
        single = ["--single", kind, str(rows), str(prompt), "--new", str(chosen.new), "--model", chosen.model]
        done = subprocess.run([sys.executable, "-m", "benchmarks.memory", *single], capture_output=True, text=True)
        yield done.stdout.strip() or f"{kind}, {rows} rows: {done.stderr.strip().splitlines()[-1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", default="torch,mlx")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--rows", default="8,16,32,64,128")
    parser.add_argument("--prompts", default="121,400")
    parser.add_argument("--new", type=int, default=8)
    parser.add_argument("--single", nargs=3, metavar=("BACKEND", "ROWS", "PROMPT"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.single:
        kind, rows, prompt = chosen.single
        print(measure(kind, chosen.model, int(rows), int(prompt), chosen.new))
        return
    for line in lines(chosen):
        print(line, flush=True)


if __name__ == "__main__":
    main()
