"""Everything that only a CUDA machine can show, in one file: is it right there, and how fast.

    python -m benchmarks.gpu [--write gpu.md] [--layers 28]

It runs the tests of the contract on the GPU, the decoding step as a CUDA graph against the eager one on a random model
with the shapes of a 7B one, injected trials through it against plain hooks and nnsight, ``mlxintro bench``, and the
libraries of ``benchmarks.peers`` that are installed. Without a
CUDA device it is one line.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TESTS = ("tests/test_backend_contract.py", "tests/test_backend_measures.py", "tests/test_backend_edges.py")
SEVEN_BILLION = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152_064,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}
"""Shapes of Qwen2.5-7B."""
ROWS = (1, 16, 64)
NEW = 64
PROMPT = 128


def ran(title: str, command: list[str], **environment: str) -> str:
    """A section with what a command printed, its last lines."""
    begun = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = done.stdout.strip().splitlines()[-60:]
    spent = time.perf_counter() - begun
    body = "\n".join(lines)
    return f"## {title}\n\n`{' '.join(command)}`: exit code {done.returncode}, {spent:.0f} s\n\n```\n{body}\n```\n"


def random_model(folder: Path, layers: int) -> None:
    """Write a model of 7B shapes with random weights, straight to disk in bfloat16."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from tests.tiny import _tokenizer

    _tokenizer(begins=False).save_pretrained(folder)
    config = AutoConfig.for_model("qwen2", num_hidden_layers=layers, **SEVEN_BILLION)
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    del model
    torch.cuda.empty_cache()


def replies(backend: Any, rows: int) -> tuple[list[tuple[int, ...]], float]:
    """Tokens of so many injected rows, and seconds per step; the second of two runs, when all is warm."""
    import numpy as np
    import torch

    from mlxintro.backends.base import Injection, Prompt, Request, Sampling

    rng = np.random.default_rng(0)
    tokens = tuple(rng.integers(4, 400, PROMPT).tolist())
    width, layers = backend.info.width, backend.info.layers
    requests = [
        Request(
            Prompt(tokens, (Injection(row % layers, rng.normal(size=width).astype(np.float32), PROMPT - 30),)),
            Sampling(max_tokens=NEW),
        )
        for row in range(rows)
    ]
    backend.batch_size = rows
    found: list[Any] = []
    seconds = 0.0
    for _ in range(2):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        found = sorted(backend.generate(requests), key=lambda reply: reply.index)
        torch.cuda.synchronize()
        seconds = time.perf_counter() - begun
    return [reply.tokens for reply in found], seconds / NEW


def graphs(folder: Path) -> str:
    """The table of graph against eager steps."""
    from mlxintro.backends.models.sources import read_folder
    from mlxintro.backends.pytorch.backend import TorchBackend, load

    lines = ["| rows | eager, ms a step | graph, ms a step | times | rows with equal tokens |", "|---|---|---|---|---|"]
    with load(read_folder(folder, name="random-7b", repository=str(folder)), device="cuda:0") as graphed:
        eager = TorchBackend(graphed.network.model, graphed.tokenizer, graphed.info, graphs=False)
        for rows in ROWS:
            expected, slow = replies(eager, rows)
            found, fast = replies(graphed, rows)
            same = sum(a == b for a, b in zip(found, expected, strict=True))
            lines.append(f"| {rows} | {1e3 * slow:.2f} | {1e3 * fast:.2f} | {slow / fast:.2f} | {same} of {rows} |")
        trusted = graphed._graphs is not None and graphed._graphs.trusted
    return "\n".join([*lines, "", f"Graphs still trusted afterwards: {'yes' if trusted else 'NO, see the log above'}."])


def work(folder: Path) -> Any:
    """Return 64 trials over the model, at its second layer."""
    import numpy as np

    from benchmarks.gpu_peers import ROWS as TRIALS
    from benchmarks.gpu_peers import CardWork

    random = np.random.default_rng(0)
    width = int(SEVEN_BILLION["hidden_size"])
    vectors = random.standard_normal((TRIALS, width)).astype(np.float32)
    prompt = tuple(random.integers(4, 400, PROMPT).tolist())
    return CardWork(folder, "cuda:0", "bfloat16", prompt, 1, vectors, NEW)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, default=Path("gpu.md"))
    parser.add_argument("--layers", type=int, default=28)
    arguments = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        print("no CUDA device that torch can use: run this on a machine with an NVIDIA GPU and its driver")
        return 1
    cards = [torch.cuda.get_device_name(card) for card in range(torch.cuda.device_count())]
    parts = [
        f"# On a GPU\n\n{', '.join(cards)}; torch {torch.__version__}, CUDA {torch.version.cuda}, "
        f"Python {platform.python_version()}\n"
    ]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "random-7b"
        folder.mkdir()
        pytest = [sys.executable, "-m", "pytest", "-q"]
        parts.append(ran("The contract on CUDA", [*pytest, *TESTS, "-k", "torch"], MLXINTRO_TEST_DEVICE="cuda:0"))
        parts.append(ran("Tests that need CUDA", [*pytest, "-m", "cuda"]))
        random_model(folder, arguments.layers)
        parts.append(f"## CUDA graphs against eager steps, 7B shapes in bfloat16\n\n{graphs(folder)}\n")
        from benchmarks.gpu_peers import table

        parts.append(f"## Injected trials against hooks and nnsight, 7B shapes in bfloat16\n\n{table(work(folder))}\n")
        bench = [sys.executable, "-m", "mlxintro", "bench", "--backend", "torch", "-m", str(folder)]
        parts.append(ran("mlxintro bench, 7B shapes", bench))
        parts.append(ran("Other libraries", [sys.executable, "-m", "benchmarks.peers", "--quick"]))
    arguments.write.write_text("\n".join(parts), "utf-8")
    print(f"written to {arguments.write}")
    return 0 if all("exit code 0" in part or "exit code" not in part for part in parts) else 1


if __name__ == "__main__":
    sys.exit(main())
